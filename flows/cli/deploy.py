"""`motherlode deploy` and `undeploy`: campaigns that a Prefect worker ticks on a schedule."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click
from pydantic import TypeAdapter, ValidationError

from active_learning.config import read_campaign_file
from active_learning.domain.options import Duration
from active_learning.engine.assembly import assemble
from active_learning.errors import UserError
from flows.cli.options import campaign_file
from flows.server import prefect_server

__all__ = ["deploy", "undeploy"]


def _interval(text: str) -> timedelta:
    try:
        return timedelta(seconds=TypeAdapter(Duration).validate_python(text))
    except ValidationError as error:
        raise UserError(f"--every {text!r}: {error.errors()[0]['msg']}") from error


@click.command()
@campaign_file
@click.option("--every", metavar="TIME", help='How often it ticks: "10m", "2 h".')
@click.option("--cron", metavar="TEXT", help='When it ticks, as cron says it: "*/10 * * * *".')
@click.option("--run", "whole", is_flag=True, help="Schedule the run to the end in place of the tick.")
def deploy(file: Path, every: str | None, cron: str | None, whole: bool) -> None:
    """Deploy a campaign to Prefect: ticked on a schedule by a worker, steered by forms in the UI."""
    interval = None if every is None else _interval(every)
    kit = assemble(read_campaign_file(file))
    with prefect_server(keep=True) as server:
        # Prefect reads its settings when it is imported, so it comes after the server's address is set.
        from flows import deploying

        made = deploying.deploy(file.resolve(), kit.spec.name, every=interval, cron=cron, whole=whole)
    when = f"every {every}" if every else f"at '{cron}'" if cron else "when somebody asks for it"
    click.echo(f"{made[1 if whole else 0].name} runs {when}. A worker does the work; start one, and leave it running:")
    click.echo(f"  PREFECT_API_URL={server.api} {deploying.WORKER}")
    click.echo(f"In the UI, to steer it: {', '.join(one.name for one in made[2:])}")
    click.echo(f"Prefect UI: {server.ui}/deployments")


@click.command()
@campaign_file
def undeploy(file: Path) -> None:
    """Take a campaign's deployments away. The campaign stays, and what runs goes on."""
    kit = assemble(read_campaign_file(file))
    with prefect_server(keep=False):
        from flows import deploying

        gone = deploying.undeploy(kit.spec.name)
    click.echo(f"gone: {', '.join(gone)}" if gone else f"{kit.spec.name} was not deployed")
