"""`motherlode report`: one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from active_learning.api.campaign import Campaign
from active_learning.reporting.writing import write_report
from flows.cli.options import campaign_file

__all__ = ["report"]


@click.command()
@campaign_file
@click.option("--output", type=click.Path(path_type=Path), help="Where to; report.html in the workdir if not given.")
@click.option(
    "--map",
    "map_method",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    help="How the descriptor space is drawn; umap needs the extra motherlode[umap].",
)
def report(file: Path, output: Path | None, map_method: Literal["pca", "umap"]) -> None:
    """Write the report, pictures inside."""
    with Campaign.open(file) as campaign:
        record = campaign.record()
        click.echo(write_report(record, output or campaign.workdir / "report.html", map_method=map_method))
