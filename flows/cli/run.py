"""`motherlode run` and `motherlode tick`: a campaign under Prefect."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from active_learning.api.campaign import Campaign
from active_learning.engine.performing import one_pass, run_local, to_the_end
from active_learning.engine.workbench import Workbench
from active_learning.errors import BackendError
from active_learning.reporting.best import best_table
from flows.cli.options import campaign_file
from flows.cli.progress import Progress
from flows.server import ServerAway, prefect_server, server_answers

__all__ = ["run", "tick"]


@click.command()
@campaign_file
@click.option(
    "--keep-server", is_flag=True, help="Leave the Prefect server running, to look at the campaign in its UI."
)
@click.option("--no-prefect", is_flag=True, help="The same campaign in the local loop, without Prefect.")
def run(file: Path, keep_server: bool, no_prefect: bool) -> None:
    """Run a campaign to convergence. Ctrl-C leaves a campaign that `run` resumes."""
    started = time.monotonic()
    with Campaign.create(file) as campaign:
        if no_prefect:
            _local(campaign, "campaign")
            address = None
        else:
            address = _under_prefect(campaign, "campaign", keep_server=keep_server)
        _conclude(campaign, file, address, keep_server=keep_server, seconds=time.monotonic() - started)


@click.command()
@campaign_file
@click.option("--no-prefect", is_flag=True, help="The same pass in the local loop, without Prefect.")
def tick(file: Path, no_prefect: bool) -> None:
    """One idempotent pass: collect, decide, submit; then exit. What a schedule calls."""
    with Campaign.create(file) as campaign:
        if no_prefect:
            _local(campaign, "tick")
        else:
            _under_prefect(campaign, "tick", keep_server=False)
        found = campaign.status()
        click.echo(f"{found['phase']}: {found['n_labels']} labels, {found['n_in_flight']} in flight")


def _local(campaign: Campaign, how: str) -> None:
    progress = Progress(campaign)
    with campaign.work(progress.bar) as bench:
        _loop(campaign, bench, how, progress)
    campaign.outcome()


def _loop(campaign: Campaign, bench: Workbench, how: str, progress: Progress) -> None:
    goes_on = to_the_end if how == "campaign" else one_pass(waits=campaign.waits)
    run_local(bench, goes_on, lambda _snapshot, _action, said: progress.say(said))


def _under_prefect(campaign: Campaign, flow_name: str, *, keep_server: bool) -> str | None:
    """Run a flow against the server that is configured, or one of our own; returns the UI's address.

    What becomes of a campaign whose server does not answer is said by ``[execution] without_server``.
    """
    progress = Progress(campaign)
    policy = campaign.kit.spec.execution.without_server
    with campaign.work(progress.bar) as bench:
        while True:
            try:
                return _one_flow(campaign, bench, flow_name, progress, keep_server=keep_server)
            except BackendError as error:
                if not isinstance(error, ServerAway) or policy == "stop":
                    raise
                click.echo(str(error), err=True)
                click.echo(_SAID[policy], err=True)
            if policy == "go on":
                # A runner of Prefect's may have been in this place.
                bench.spread = campaign.spread()
                _loop(campaign, bench, flow_name, progress)
                campaign.outcome()
                return None
            _until_it_answers(campaign)


_SAID = {
    "go on": "Going on without Prefect, as [execution] without_server says: the same campaign, with the same choices.",
    "wait": "Waiting until it answers, as [execution] without_server says. Calculations that run are untouched.",
}
_LOOK_EVERY_S = 5.0


def _until_it_answers(campaign: Campaign) -> None:
    while not server_answers():
        campaign.clock.sleep(_LOOK_EVERY_S)


def _one_flow(campaign: Campaign, bench: Workbench, flow_name: str, progress: Progress, *, keep_server: bool) -> str:
    with prefect_server(keep=keep_server) as server:
        click.echo(f"Prefect UI: {server.ui}")
        # Prefect reads its settings when it is imported, so it comes after the server's address is set.
        import httpx

        import flows.campaign as ring
        from tasks.bench import attach

        try:
            with attach(campaign, bench, progress.say):
                getattr(ring, flow_name)(str(campaign.path))
        except httpx.HTTPError as error:
            raise ServerAway(
                f"The Prefect server at {server.ui} stopped answering ({error}). Nothing is lost: run the same command"
                " again, or with --no-prefect."
            ) from error
        finally:
            ring.drain()
        return server.ui


def _to_go_on(file: Path) -> str:
    return f"to go on, motherlode resume {file}"


def _conclude(campaign: Campaign, file: Path, address: str | None, *, keep_server: bool, seconds: float) -> None:
    from active_learning.reporting.writing import write_report

    record = campaign.record()
    report = write_report(record, campaign.workdir / "report.html")
    found: dict[str, Any] = campaign.status()
    click.echo()
    click.echo(f"{campaign.name} {found['phase']} after {seconds:.0f} s: {found['stop_reason'] or _to_go_on(file)}")
    rows = best_table(record, 5)
    if rows:
        click.echo(f"Best materials of {found['n_labels']} labeled ({found['n_candidates']:,} candidates):")
    values = [f"{row['value']:.5g}" for row in rows]
    width = max(10, *map(len, values)) if values else 10
    for row, value in zip(rows, values, strict=True):
        click.echo(f"  {value:>{width}} {row['unit']}  {row['formula']:<14} {row['candidate']}")
    click.echo(f"Report:     {report}")
    if address is not None:
        stays = (
            "" if keep_server else f"  (stopped; to look at it: motherlode ui, or motherlode run {file} --keep-server)"
        )
        click.echo(f"Prefect UI: {address}{stays}")
