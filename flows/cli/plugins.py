"""`motherlode plugins`: what is installed."""

from __future__ import annotations

import json

import click

from active_learning.errors import MotherlodeError
from active_learning.plugins import GROUPS, installed, load

__all__ = ["plugins"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@click.option("--options", "with_options", is_flag=True, help="Also the keys of each; imports them all.")
def plugins(as_json: bool, with_options: bool) -> None:
    """List what may stand after `kind =`, table by table."""
    found = [info for group in GROUPS for info in installed(group)]
    if as_json:
        click.echo(json.dumps([vars(info) for info in found]))
        return
    group = ""
    for info in found:
        if info.group != group:
            group = info.group
            click.echo(f"\n{GROUPS[group]}s" if group else "")
        click.echo(f"  {info.kind:<24} {info.target}  ({info.distribution})")
        if with_options:
            _echo_options(info.group, info.kind)


def _echo_options(group: str, kind: str) -> None:
    try:
        fields = load(group, kind).Options.model_fields
    except MotherlodeError as error:
        click.echo(f"      broken: {error}")
        return
    for name, field in fields.items():
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        click.echo(f"      {name}: {field.description or ''} ({default})")
