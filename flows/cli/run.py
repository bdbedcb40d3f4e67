"""`motherlode run` and `motherlode tick`: a campaign under Prefect."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from active_learning.api.campaign import Campaign
from active_learning.errors import BackendError
from active_learning.reporting.best import best_table
from flows.cli.options import campaign_file
from flows.cli.progress import Progress
from flows.server import prefect_server

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
            _local(campaign, "run")
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
    act = campaign.run if how == "run" else campaign.tick
    act(observer=lambda _snapshot, _action, said: progress.say(said), progress=progress.bar)


def _under_prefect(campaign: Campaign, flow_name: str, *, keep_server: bool) -> str:
    """Run a flow against the server that is configured, or one of our own; returns the UI's address."""
    progress = Progress(campaign)
    with campaign.work(progress.bar) as bench, prefect_server(keep=keep_server) as server:
        click.echo(f"Prefect UI: {server.ui}")
        # Prefect reads its settings when it is imported, so it comes after the server's address is set.
        import httpx

        import flows.campaign as ring
        from tasks.bench import attach

        try:
            with attach(campaign, bench, progress.say):
                getattr(ring, flow_name)(str(campaign.path))
        except httpx.HTTPError as error:
            raise BackendError(
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
