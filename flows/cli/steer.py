"""`motherlode pause` and `resume`: a person's word, written while another process may be at work."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from active_learning.api.status import open_store
from active_learning.domain.campaign import Phase
from active_learning.errors import UserError
from flows.cli.options import campaign_file

__all__ = ["pause", "resume"]


def _turn(file: Path, expected: Phase, phase: Phase, said: str) -> None:
    store = open_store(file)
    facts = store.read()
    if facts.phase is phase:
        click.echo(f"{facts.name} is {phase} already")
        return
    if facts.phase is not expected:
        raise UserError(
            f"Campaign '{facts.name}' is {facts.phase}, and only one that is {expected} can be made {phase}."
        )
    with store.write(datetime.now(UTC), expect=facts.version) as writer:
        writer.set_phase(phase)
    click.echo(f"{facts.name} {said}")


@click.command()
@campaign_file
def pause(file: Path) -> None:
    """Open no new requests; calculations that run are still collected."""
    _turn(file, Phase.ACTIVE, Phase.PAUSED, "is paused: what runs is collected, nothing new is asked")


@click.command()
@campaign_file
def resume(file: Path) -> None:
    """Go on after a pause."""
    _turn(file, Phase.PAUSED, Phase.ACTIVE, f"goes on with the next: motherlode run {file}")
