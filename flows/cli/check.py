"""`motherlode check`: everything that can be wrong is found before anything is spent."""

from __future__ import annotations

from pathlib import Path

import click

from active_learning.api.checking import check as find
from flows.cli.options import campaign_file

__all__ = ["check"]


@click.command()
@campaign_file
@click.option("--try-label", is_flag=True, help="Also make one real calculation, of a candidate of median size.")
def check(file: Path, try_label: bool) -> int:
    """Check a campaign file, its pool, features and labeler, and estimate what they cost."""
    faults = 0
    for finding in find(file, try_label=try_label):
        faults += finding.is_fault
        click.echo(
            f"  {'BAD' if finding.is_fault else 'ok':<4}{finding.what:<10}{finding.message}", err=finding.is_fault
        )
    click.echo(
        f"ready: motherlode run {file}"
        if not faults
        else f"{faults} {'things' if faults > 1 else 'thing'} to put right in {file}",
        err=bool(faults),
    )
    return 2 if faults else 0
