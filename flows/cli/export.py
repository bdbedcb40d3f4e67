"""`motherlode export`: tables and structures for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from active_learning.api.campaign import Campaign
from active_learning.reporting.export import export as write
from flows.cli.options import campaign_file

__all__ = ["export"]


@click.command()
@campaign_file
@click.argument("what", metavar="WHAT")
@click.option("--output", type=click.Path(path_type=Path), help="Its ending is the format; WHAT.csv here if not given.")
def export(file: Path, what: str, output: Path | None) -> None:
    """Write WHAT = labels, pending, best, predictions or features, as csv, parquet, json, extxyz or cif."""
    with Campaign.open(file) as campaign:
        path = output or Path(f"{what}.csv")
        n_rows = write(campaign.record(), what, path, lambda candidate: campaign.pool().candidate(candidate))
    click.echo(f"{path}: {n_rows} rows")
