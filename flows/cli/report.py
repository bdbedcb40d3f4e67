"""`motherlode report`: one self-contained HTML file, or Markdown with its figures beside it."""

from __future__ import annotations

from pathlib import Path

import click

from active_learning.api.campaign import Campaign
from active_learning.reporting.maps import MapMethod
from active_learning.reporting.writing import Format, write_report
from flows.cli.options import campaign_file

__all__ = ["report"]


@click.command()
@campaign_file
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Where to; report.html or report.md in the workdir if not given.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md"]),
    help="html: one page, pictures inside. md: Markdown, pictures beside it. By the ending of --output if not given.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for each figure as .svg and .png with its numbers as .csv, and the log of decisions; "
    "of Markdown, REPORT_figures beside it if not given.",
)
@click.option(
    "--map",
    "map_method",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    help="How the descriptor space is drawn; umap needs the extra motherlode[umap].",
)
def report(file: Path, output: Path | None, form: Format | None, figures: Path | None, map_method: MapMethod) -> None:
    """Write the report: what was found, why each candidate was chosen, and how far the model can be trusted."""
    chosen: Format = form or ("md" if output is not None and output.suffix.lower() == ".md" else "html")
    with Campaign.open(file) as campaign:
        record = campaign.record()
        path = output or campaign.workdir / f"report.{chosen}"
        click.echo(write_report(record, path, map_method=map_method, form=chosen, figures=figures))
