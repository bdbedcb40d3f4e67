"""`motherlode replay`: every decision computed again, and compared with what was done."""

from __future__ import annotations

import json
from pathlib import Path

import click

from active_learning.api.provenance.replaying import Replay
from active_learning.api.provenance.replaying import replay as laid_out
from active_learning.api.provenance.steps import Outcome, Step
from flows.cli.options import campaign_file

__all__ = ["replay"]

_MOST = 12
_WORDS = {Outcome.SAME: "same", Outcome.DIFFERS: "DIFFERS", Outcome.UNKNOWN: "UNKNOWN"}


@click.command()
@campaign_file
@click.option("--json", "as_json", is_flag=True, help="One JSON object at the end; its keys are stable.")
def replay(file: Path, as_json: bool) -> int:
    """Compute every decision of a campaign again from its stored events, labels and seed.

    Says where, if anywhere, something differs. The campaign is only read. Ends with 0 if all is the same, with 1 if
    something differs or cannot be computed again.
    """
    with laid_out(file) as past:
        steps = []
        if not as_json:
            _say_first(past)
        for step in past.steps():
            steps.append(step)
            if not as_json:
                _say(step)
        verdict = _verdict(past.name, steps)
        if as_json:
            click.echo(json.dumps(_told(past, steps), sort_keys=True))
        else:
            click.echo(verdict)
    return 0 if all(step.outcome is Outcome.SAME for step in steps) else 1


def _say_first(past: Replay) -> None:
    for change in past.versions():
        click.echo(f"version: {change}")
    for remark in past.remarks():
        click.echo(f"note: {remark}")


def _say(step: Step) -> None:
    rounding = f" (the last digits differ, by {step.rounding:.0e} at most)" if step.rounding else ""
    click.echo(f"{step.name:>12}  {_WORDS[step.outcome]:<8}{step.said}{rounding}")
    for difference in step.differences[:_MOST]:
        click.echo(f"{'':>12}  - {difference}")
    if len(step.differences) > _MOST:
        click.echo(f"{'':>12}  - and {len(step.differences) - _MOST} more; --json has them all")


def _verdict(name: str, steps: list[Step]) -> str:
    n_rounds = sum(step.name.startswith("round ") for step in steps)
    bad = {outcome: [s.name for s in steps if s.outcome is outcome] for outcome in (Outcome.DIFFERS, Outcome.UNKNOWN)}
    if not any(bad.values()):
        return f"{name}: {n_rounds} rounds computed again, and every decision is the same"
    said = []
    if bad[Outcome.DIFFERS]:
        said.append(f"differs: {', '.join(bad[Outcome.DIFFERS])}")
    if bad[Outcome.UNKNOWN]:
        said.append(f"cannot be computed again: {', '.join(bad[Outcome.UNKNOWN])}")
    return f"{name}: {'; '.join(said)}"


def _told(past: Replay, steps: list[Step]) -> dict[str, object]:
    return {
        "name": past.name,
        "is_same": all(step.outcome is Outcome.SAME for step in steps),
        "versions": [{"package": c.package, "then": list(c.then), "here": c.here} for c in past.versions()],
        "remarks": list(past.remarks()),
        "steps": [step.to_json() for step in steps],
    }
