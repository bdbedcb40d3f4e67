"""`motherlode retract`: a label taken back."""

from __future__ import annotations

from pathlib import Path

import click

from active_learning.api.campaign import Campaign
from flows.cli.options import campaign_file

__all__ = ["retract"]


@click.command()
@campaign_file
@click.argument("candidate")
@click.option("--reason", required=True, help="Why; kept with the label, and shown by the report.")
@click.option("--ask-again", is_flag=True, help="The campaign may choose this candidate again.")
def retract(file: Path, candidate: str, reason: str, ask_again: bool) -> None:
    """Take back the labels of CANDIDATE (an id, or a formula that only one candidate has).

    What it taught is forgotten: the next step trains without it. A campaign that had ended goes on.
    """
    with Campaign.open(file) as campaign:
        taken = campaign.retract(candidate, reason=reason, may_ask_again=ask_again)
    for label in taken:
        click.echo(f"took back {label.property} = {label.value:.6g} {label.unit} of {label.candidate_id}")
    click.echo(f"train without it: motherlode run {file}")
