"""`motherlode pause` and `resume`: a person's word, written while another process may be at work."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from active_learning.api.persistence import until_it_stands_still
from active_learning.api.status import open_store
from active_learning.domain.campaign import Phase
from active_learning.errors import UserError
from active_learning.store import CampaignStore
from flows.cli.options import campaign_file

__all__ = ["pause", "resume"]


def _turn(file: Path, expected: Phase, phase: Phase, said: str) -> None:
    click.echo(until_it_stands_still(lambda: _turned(open_store(file), expected, phase, said)))


def _turned(store: CampaignStore, expected: Phase, phase: Phase, said: str) -> str:
    facts = store.read()
    if facts.phase is phase:
        return f"{facts.name} is {phase} already"
    if facts.phase is not expected:
        raise UserError(
            f"Campaign '{facts.name}' is {facts.phase}, and only one that is {expected} can be made {phase}."
        )
    with store.write(datetime.now(UTC), expect=facts.version) as writer:
        writer.set_phase(phase)
    return f"{facts.name} {said}"


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
