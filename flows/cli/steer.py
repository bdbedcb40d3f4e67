"""`motherlode pause`, `resume`, `cancel` and `approve`: a person's word, said also while a process is at work."""

from __future__ import annotations

import getpass
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click

from active_learning.api import approving, steering
from active_learning.api.status import open_store
from active_learning.domain.request import Request
from active_learning.errors import LeaseHeld, UserError
from flows.cli.options import campaign_file

__all__ = ["approve", "cancel", "pause", "resume"]


def _now() -> datetime:
    return datetime.now(UTC)


@click.command()
@campaign_file
def pause(file: Path) -> None:
    """Open no new requests; calculations that run are still collected."""
    click.echo(steering.pause(open_store(file), _now()))


@click.command()
@campaign_file
def resume(file: Path) -> None:
    """Go on after a pause, or after `cancel`."""
    click.echo(f"{steering.resume(open_store(file), _now())}: motherlode run {file}")


@click.command()
@campaign_file
@click.option("--jobs", is_flag=True, help="End the calculations that run, too; otherwise they are waited for.")
@click.option("--reason", default="", help="Why; it is kept with the campaign.")
def cancel(file: Path, jobs: bool, reason: str) -> None:
    """End a campaign. Nothing new is asked; what runs is collected first, or ended if you say --jobs."""
    with closing(open_store(file)) as store:
        click.echo(steering.cancel(store, _now(), by=getpass.getuser(), reason=reason, jobs=jobs))
    from active_learning.api.campaign import Campaign

    with Campaign.create(file) as campaign:
        try:
            campaign.tick(observer=lambda _snapshot, _action, said: click.echo(f"  {said}"))
        except LeaseHeld as held:
            click.echo(f"The process that works on it does so. ({held})")
            return
        found = campaign.status()
    if found["n_in_flight"]:
        click.echo(f"{found['n_in_flight']} calculations are still in flight: motherlode tick {file} collects them")


@click.command()
@campaign_file
@click.option("--round", "number", type=int, help="Which round; the oldest that waits, if not said.")
@click.option("--drop", multiple=True, metavar="CANDIDATE", help="Not this one, now or later; may be repeated.")
@click.option("--reject", is_flag=True, help="None of them, now or later: the campaign chooses others.")
@click.option("--note", default="", help="What you have to say; it is kept with the round.")
@click.option("--list", "only_list", is_flag=True, help="Only show what waits.")
def approve(file: Path, number: int | None, drop: tuple[str, ...], reject: bool, note: str, only_list: bool) -> None:
    """Say yes to a round that waits ([approval] required = true), to a part of it, or no."""
    if reject and drop:
        raise UserError("--reject drops all candidates of the round: leave --drop out.")
    store = open_store(file)
    if only_list:
        approval, planned = approving.waiting_round(store.read(), number)
        click.echo(f"round {approval.round} waits since {approval.asked_at:%Y-%m-%d %H:%M} UTC:")
        for request in planned:
            click.echo(f"  {_line(request)}")
        return
    by = getpass.getuser()
    if reject:
        click.echo(approving.reject(store, _now(), by=by, number=number, note=note))
    else:
        click.echo(approving.approve(store, _now(), by=by, number=number, drop=drop, note=note))


def _line(request: Request) -> str:
    believed = "" if request.mean is None or request.std is None else f"{request.mean:.5g} ± {request.std:.2g}"
    return f"{request.candidate_id:<18}{request.formula:<14}{believed:<20}{request.reason}"
