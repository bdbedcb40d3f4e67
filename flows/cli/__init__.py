"""The `motherlode` command. A command's own module, and what it needs, is loaded only when it is called."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from active_learning.errors import MotherlodeError

__all__ = ["main"]

_COMMANDS = {
    "init": "flows.cli.init",
    "check": "flows.cli.check",
    "run": "flows.cli.run",
    "tick": "flows.cli.run",
    "ui": "flows.cli.ui",
    "status": "flows.cli.status",
    "report": "flows.cli.report",
    "export": "flows.cli.export",
    "replay": "flows.cli.replay",
    "tell": "flows.cli.tell",
    "retract": "flows.cli.retract",
    "pause": "flows.cli.steer",
    "resume": "flows.cli.steer",
    "cancel": "flows.cli.steer",
    "approve": "flows.cli.steer",
    "deploy": "flows.cli.deploy",
    "undeploy": "flows.cli.deploy",
    "backtest": "flows.cli.backtest",
    "plugins": "flows.cli.plugins",
    "doctor": "flows.cli.doctor",
}
"""Command -> the module that holds it, in the order of --help: the order in which a user meets them."""

_HELP = {
    "init": "Write a commented campaign file that runs as it stands.",
    "check": "Find everything that can be wrong before anything is spent.",
    "run": "Run a campaign to convergence, under Prefect.",
    "tick": "One idempotent pass: collect, decide, submit; then exit.",
    "ui": "Find or start the local Prefect server and print its address.",
    "status": "Where a campaign stands, and why it stopped.",
    "report": "Write the report: one self-contained HTML file.",
    "export": "Write labels, pending, best, predictions or features; or pack it all into a bundle.",
    "replay": "Compute every decision again from what is stored, and compare.",
    "tell": "Bring in labels from a CSV file.",
    "retract": "Take a label back, with all that was learned from it.",
    "pause": "Open no new requests; what runs is still collected.",
    "resume": "Go on after a pause, or after cancel.",
    "cancel": "End a campaign: what runs is waited for, or ended, too.",
    "approve": "Say yes to a round that waits for you, to a part of it, or no.",
    "deploy": "Have a Prefect worker tick a campaign on a schedule; steer it in the UI.",
    "undeploy": "Take the deployments away; the campaign stays.",
    "backtest": "Try a campaign on known labels, strategy beside strategy.",
    "plugins": "List what is installed.",
    "doctor": "Say what on this machine would stop a campaign.",
}


class _Commands(click.Group):
    """A group that knows its commands' names and imports one when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(_COMMANDS[name]), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
@click.version_option(package_name="motherlode", prog_name="motherlode")
def cli(debug: bool) -> None:
    """Active-learning campaigns for materials discovery: decide, calculate, learn, and survive anything."""


def main(argv: Sequence[str] | None = None) -> int:
    """The console script. Exit codes: 0 done, 1 the campaign or a backend failed, 2 the input is wrong."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    # When Ctrl-C comes while a connection is closed, SQLAlchemy prints a traceback before it lets the exception pass.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        result: Any = cli.main(args=arguments, prog_name="motherlode", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say(debug, "Interrupted. Nothing is lost; the same command goes on where it was.")
        return 130
    except MotherlodeError as error:
        _say(debug, f"Error: {error}")
        return error.exit_code
    except OSError as error:
        _say(debug, f"Error: {error}. Nothing that was recorded is lost; run the same command when it is put right.")
        return 1
    except Exception as error:  # noqa: BLE001 - the last place before the user
        _say(
            debug,
            f"Error: {type(error).__name__}: {error}\nThis should not happen: run again with --debug and report it.",
        )
        return 1
    return result if isinstance(result, int) else 0


def _say(debug: bool, message: str) -> None:
    if debug:
        traceback.print_exc()
    click.echo(message, err=True)
