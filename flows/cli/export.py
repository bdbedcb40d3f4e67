"""`motherlode export`: tables and structures for other programs, or all of a campaign in one file."""

from __future__ import annotations

from pathlib import Path

import click

from active_learning.api.campaign import Campaign
from active_learning.errors import UserError
from active_learning.reporting.export import export as write
from flows.cli.options import campaign_file

__all__ = ["export"]


@click.command()
@campaign_file
@click.argument("what", metavar="WHAT")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Its ending is the format; WHAT.csv here if not given, and NAME.zip for a bundle.",
)
@click.option("--jobs", is_flag=True, help="Pack the job directories into the bundle, too.")
def export(file: Path, what: str, output: Path | None, jobs: bool) -> None:
    """Write WHAT = labels, pending, best, predictions or features, as csv, parquet, json, extxyz or cif.

    WHAT = bundle packs the whole campaign into a zip file, for a paper's supplement: another machine can open it, look
    at it, and compute every decision again. Passwords in the campaign file are not packed; all else in it is.
    """
    if jobs and what != "bundle":
        raise UserError(f"--jobs goes with 'bundle', not with '{what}'.")
    with Campaign.open(file) as campaign:
        if what == "bundle":
            _bundle(campaign, output, jobs)
            return
        path = output or Path(f"{what}.csv")
        n_rows = write(campaign.record(), what, path, lambda candidate: campaign.pool().candidate(candidate))
    click.echo(f"{path}: {n_rows} rows")


def _bundle(campaign: Campaign, output: Path | None, jobs: bool) -> None:
    from flows.cli.bundle import write_bundle  # ASE with it, which the tables need not

    packed = write_bundle(campaign, output, jobs=jobs)
    for key in packed.replaced:
        click.echo(f"replaced in the copy of the campaign file: {key}")
    for what in packed.left_out:
        click.echo(f"not packed: {what}")
    click.echo(f"{packed.path}: {packed.n_files} files")
