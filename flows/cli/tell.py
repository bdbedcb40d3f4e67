"""`motherlode tell`: labels brought in by a person or another program."""

from __future__ import annotations

from pathlib import Path

import click

from active_learning.api.campaign import Campaign
from active_learning.api.telling import read_labels
from active_learning.errors import LabelConflict
from flows.cli.options import campaign_file

__all__ = ["tell"]


@click.command()
@campaign_file
@click.argument("labels", type=click.Path(path_type=Path), metavar="LABELS.csv")
def tell(file: Path, labels: Path) -> None:
    """Bring in labels: columns candidate (an id) or formula, value, and perhaps unit, std, fidelity.

    The same label twice is a no-op; another value for a known one is refused and noted.
    """
    told, n_unanswered = read_labels(labels)
    with Campaign.open(file) as campaign:
        new, known, conflicts = campaign.tell(told)
    waiting = f", {n_unanswered} rows have no value yet" if n_unanswered else ""
    click.echo(f"{new} new labels, {known} known already{waiting}")
    if conflicts:
        raise LabelConflict("\n".join([f"{len(conflicts)} labels refused:", *(f"  {text}" for text in conflicts)]))
