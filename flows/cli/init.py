"""`motherlode init`: a commented campaign file that runs as it stands."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from active_learning.errors import UserError

__all__ = ["init", "templates"]


def templates() -> tuple[str, ...]:
    """Names of the campaign files that can be written."""
    folder = files("flows").joinpath("templates")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR", required=False)
@click.option("--template", default="alloys", show_default=True, help="Which one; --list names them.")
@click.option("--list", "list_them", is_flag=True, help="Name the templates and exit.")
def init(directory: Path | None, template: str, list_them: bool) -> None:
    """Write a commented campaign file into DIR. Nothing that is there is overwritten."""
    if list_them:
        click.echo("\n".join(templates()))
        return
    if directory is None:
        raise click.UsageError("Missing argument 'DIR': the folder to write campaign.toml into.")
    if template not in templates():
        raise UserError(f"No template named '{template}'. There are: {', '.join(templates())}.")
    target = directory / "campaign.toml"
    if target.exists():
        raise UserError(f"{target} is there already and is left as it is; choose another folder.")
    text = files("flows").joinpath("templates", f"{template}.toml").read_text(encoding="utf-8")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote {target}. Next:\n  motherlode check {target}\n  motherlode run {target}")
