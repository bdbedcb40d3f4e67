"""`motherlode backtest`: the same campaign file replayed on known labels."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

from active_learning.config import read_campaign_file
from active_learning.domain.options import parse_duration
from active_learning.errors import ContractError, UserError
from active_learning.evaluation.backtest import Backtest, Outcome, plan_of, run_backtest
from active_learning.evaluation.known_values import ValueTable
from active_learning.evaluation.virtual import Labeling
from active_learning.reporting.backtest_page import write_backtest_page
from flows.cli.options import campaign_file

__all__ = ["backtest"]


@click.command()
@campaign_file
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    required=True,
    metavar="TABLE",
    help="Known values of the target: .csv, .json, .parquet.",
)
@click.option("--strategies", metavar="A,B", help="Acquisitions by name; the file's own and random without it.")
@click.option("--variant", "variants", multiple=True, metavar="NAME=FILE", help="Another campaign file beside them.")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True, help="Replays of each strategy.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder; <name>.backtest beside FILE.")
@click.option("--value", metavar="COLUMN", help="Column of the values; the target's property without it.")
@click.option("--key", type=click.Choice(["formula", "id", "origin"]), help="What of a candidate is looked up.")
@click.option("--key-column", metavar="COLUMN", help="Column to look it up in; named as the key without it.")
@click.option("--duplicates", type=click.Choice(["refuse", "median"]), help="Different values for one candidate.")
@click.option("--best", default="1%", show_default=True, help="The best: a share or a number of candidates.")
@click.option("--initial", type=click.Choice(["design", "random"]), default="design", help="The first labels.")
@click.option("--max-labels", type=click.IntRange(min=2), help="Labels of a replay, in place of the stopping rules.")
@click.option("--label-time", default="1 h", show_default=True, help="Imagined time of a label: the median.")
@click.option("--label-spread", type=float, default=0.0, help="Std of its logarithm: 0 constant, 1 a heavy tail.")
@click.option("--decision-time", help="Imagined time from opening a round to its requests; none without it.")
@click.option("--failure-rate", type=float, default=0.0, help="Share of attempts that give no label.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; one for each core without it.")
def backtest(file: Path, output: Path | None, **options: Any) -> int:
    """Replay a campaign on known labels, by several strategies, before anything is spent.

    Writes curves.csv, summary.json and report.html. What is done is kept: the same command goes on after Ctrl-C.
    """
    bar = _Bar()
    plan = plan_of(_wanted(file, output, options))
    n = len(plan.tables) * len(plan.seeds)
    click.echo(f"{len(plan.tables)} strategies ({', '.join(plan.tables)}) x {len(plan.seeds)} seeds: {n} replays")
    outcome = run_backtest(plan, progress=bar.show, say=bar.say)
    bar.end()
    _tell(outcome)
    for failed in outcome.replays.failed:
        first = failed.error.strip().splitlines()
        click.echo(f"Failed: {failed.strategy}, seed {failed.seed}: {' '.join(first[:3])}", err=True)
    if outcome.replays.done:
        page = write_backtest_page(outcome.summary, outcome.summary_file.with_name("report.html"))
        click.echo(f"Report:  {page}")
    click.echo(f"Summary: {outcome.summary_file.resolve()}")
    click.echo(f"Curves:  {outcome.curves_file.resolve()}")
    if outcome.replays.failed:
        click.echo(f"{len(outcome.replays.failed)} of {n} replays failed; the others stand.", err=True)
    return 1 if outcome.replays.failed else 0


def _wanted(file: Path, output: Path | None, options: Mapping[str, Any]) -> Backtest:
    header = read_campaign_file(file)
    name = header.tables.get("name", file.stem)
    return Backtest(
        campaign=file,
        labels=_table(header.tables, options),
        output=output or file.parent / f"{name}.backtest",
        strategies=_strategies(options["strategies"]),
        variants=_variants(options["variants"]),
        n_seeds=options["seeds"],
        best=options["best"],
        labeling=_labeling(options),
        initial=options["initial"],
        max_labels=options["max_labels"],
        n_workers=options["workers"],
    )


def _table(tables: Mapping[str, Any], options: Mapping[str, Any]) -> ValueTable:
    """As the options say; what they do not say, as the file's own labeler does if it is a table, too."""
    labeler = tables.get("labeler")
    own = labeler if isinstance(labeler, Mapping) and labeler.get("kind") == "table" else {}
    said = {key: options[key] for key in ("value", "key", "key_column", "duplicates") if options[key] is not None}
    known = {key: own[key] for key in ("value", "key", "key_column", "duplicates") if key in own}
    chosen: dict[str, Any] = {"value": ""} | known | said
    return ValueTable(options["labels"], **chosen)


def _strategies(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise UserError(f"--strategies are names with commas between them; got {text!r}.")
    return names


def _variants(texts: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, is_there, path = text.partition("=")
        if not (name and is_there and path):
            raise UserError(f"--variant is NAME=FILE; got {text!r}.")
        if name in found:
            raise UserError(f"Two variants have one name: {name}.")
        found[name] = Path(path)
    return found


def _labeling(options: Mapping[str, Any]) -> Labeling:
    try:
        decision = options["decision_time"]
        return Labeling(
            median_s=parse_duration(options["label_time"]),
            spread=options["label_spread"],
            failure_rate=options["failure_rate"],
            decision_s=0.0 if decision is None else parse_duration(decision),
        )
    except (ValueError, ContractError) as error:
        raise UserError(f"How labeling is imagined: {error}.") from error


class _Bar:
    """One line that fills up, where a person looks on."""

    def __init__(self) -> None:
        self._is_open = False

    def show(self, what: str, done: int, total: int) -> None:
        """Something is `done` of `total`; 0 if nobody knows how much there is."""
        if not sys.stdout.isatty():
            return
        width = 30
        filled = int(width * done / max(1, total))
        bar = f" [{'█' * filled}{'·' * (width - filled)}] {done:,} of {total:,}" if total else f": {done:,}"
        click.echo(f"\r{what}{bar}\x1b[K", nl=False)
        self._is_open = True

    def say(self, line: str) -> None:
        """One line."""
        self.end()
        click.echo(line)

    def end(self) -> None:
        """Nothing more is shown on this line."""
        if self._is_open:
            click.echo()
            self._is_open = False


def _tell(outcome: Outcome) -> None:
    """One line for each strategy."""
    for name, found in outcome.summary["strategies"].items():
        against = found.get("against") or {}
        parts = [f"{found['n_seeds']} seeds"]
        if found.get("found"):
            parts.append(f"found {_said(found['found'], '.0%')}")
            parts.append(f"area {_said(found['area'], '.2f')}")
        if found.get("error"):
            parts.append(f"{outcome.summary['error_name']} {_said(found['error'], '.3g')}")
        factor: Literal["acceleration", "error_acceleration"]
        factor = "acceleration" if found.get("found") else "error_acceleration"
        if against.get(factor):
            parts.append(f"{_said(against[factor], '.1f')} times as fast as {against['baseline']}")
        click.echo(f"  {name:<26} {', '.join(parts)}")


def _said(estimate: Mapping[str, float | None], form: str) -> str:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    between = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return f"{value:{form}}{between}"
