"""`motherlode ui`: the user's local Prefect server."""

from __future__ import annotations

import click

from flows.server import find_or_start, stop_kept

__all__ = ["ui"]


@click.command()
@click.option("--stop", is_flag=True, help="Stop the local server that was kept running.")
def ui(stop: bool) -> None:
    """Find or start the local Prefect server and print its address. Its home is kept, so its history stays."""
    if stop:
        click.echo("stopped" if stop_kept() else "no local server was running")
        return
    click.echo(find_or_start(keep=True).ui)
