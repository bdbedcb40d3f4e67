"""A backtest: a campaign file replayed on known labels, by several strategies with several seeds each."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from active_learning.config import CampaignFile, read_campaign_file
from active_learning.domain.seeds import rng_for
from active_learning.domain.target import Goal
from active_learning.engine.assembly import Kit, assemble
from active_learning.errors import SpecError, UserError
from active_learning.evaluation.fingerprints import fingerprint, own_modules
from active_learning.evaluation.ground import Ground
from active_learning.evaluation.grounding import ground_of
from active_learning.evaluation.known_values import ValueTable
from active_learning.evaluation.measures import COLUMNS, Measures, n_best_of
from active_learning.evaluation.replay import kit_of
from active_learning.evaluation.replayed import Order, Replayed
from active_learning.evaluation.replaying import Replays, n_cores, replay_all
from active_learning.evaluation.summary import BASELINE, summarize
from active_learning.evaluation.virtual import Labeling

__all__ = ["Backtest", "Outcome", "Plan", "plan_of", "run_backtest", "write_curves"]

Progress = Callable[[str, int, int], None]


def _silent(_what: str, _done: int, _total: int) -> None:
    """No progress wanted."""


@dataclass(frozen=True)
class Backtest:
    """What is wanted.

    Parameters
    ----------
    campaign : the campaign file
    labels : the table of values; its column of values is named as the target's property if it is not told
    output : folder of the results
    strategies : acquisitions by name; without them the file's own and `random`
    variants : name -> another campaign file of the same target, pool and features
    n_seeds : seeds of each strategy; the file's own is the first
    best : which candidates are the best, see `active_learning.evaluation.measures.n_best_of`
    initial : the first design, or as many labels drawn at random, the same for every strategy of a seed
    max_labels : end each replay at this many labels, whatever the stopping rules say
    """

    campaign: Path
    labels: ValueTable
    output: Path
    strategies: tuple[str, ...] = ()
    variants: Mapping[str, Path] = field(default_factory=dict)
    n_seeds: int = 10
    best: str = "1%"
    labeling: Labeling = field(default_factory=Labeling)
    initial: Literal["design", "random"] = "design"
    max_labels: int | None = None
    n_workers: int | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A backtest whose files were read and found to be good.

    Parameters
    ----------
    tables : strategy -> the tables of its campaign file, and that file
    """

    wanted: Backtest
    kit: Kit
    tables: Mapping[str, tuple[Mapping[str, Any], Path]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of each strategy."""
        return tuple(range(self.kit.spec.seed, self.kit.spec.seed + self.wanted.n_seeds))

    def orders(self, ground: Ground) -> tuple[Order, ...]:
        """All replays, seed by seed, so that an early end leaves seeds that every strategy has."""
        return tuple(
            Order(
                strategy=name,
                seed=seed,
                tables=tables,
                base=base,
                unit=self.kit.target.unit,
                labeling=self.wanted.labeling,
                told=self._told(ground, seed),
                code=fingerprint(own_modules(base.parent, tables)),
            )
            for seed in self.seeds
            for name, (tables, base) in self.tables.items()
        )

    def _told(self, ground: Ground, seed: int) -> tuple[int, ...]:
        if self.wanted.initial == "design":
            return ()
        rows = rng_for(seed, 0, "backtest-initial").choice(len(ground), self.kit.settings.initial, replace=False)
        return tuple(rows.tolist())


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of a backtest; `summary` is what ``summary.json`` holds."""

    replays: Replays
    summary: Mapping[str, Any]
    summary_file: Path
    curves_file: Path


def plan_of(wanted: Backtest) -> Plan:
    """Read all files and look for whatever can be wrong with them.

    Raises
    ------
    SpecError
        With every fault of a campaign file.
    UserError
        If a strategy is unknown or cannot serve the goal, a name is used twice, a variant is of another target, pool or
        features, or the table of values cannot be read.
    """
    if wanted.n_seeds < 1:
        raise UserError(f"A backtest needs at least one seed, got {wanted.n_seeds}.")
    file = read_campaign_file(wanted.campaign)
    kit = assemble(file)
    table = wanted.labels if wanted.labels.value else replace(wanted.labels, value=kit.target.property)
    table.table  # noqa: B018 - raises
    names = wanted.strategies or tuple(dict.fromkeys((kit.spec.acquisition.kind, BASELINE)))
    twice = sorted({name for name in (*names, *wanted.variants) if [*names, *wanted.variants].count(name) > 1})
    if twice:
        raise UserError(f"Two strategies have one name: {', '.join(twice)}.")
    tables = {name: (_with_acquisition(file, name), file.path) for name in names}
    tables |= {name: _variant(file, kit, name, path) for name, path in wanted.variants.items()}
    if wanted.max_labels is not None:
        rule = {"any": [{"kind": "labels", "max": wanted.max_labels}]}
        tables = {name: ({**one, "stopping": rule}, base) for name, (one, base) in tables.items()}
    _check_modules(tables)
    _check_strategies(tables, kit)
    return Plan(replace(wanted, labels=table), kit, tables)


def _with_acquisition(file: CampaignFile, name: str) -> Mapping[str, Any]:
    """The file with another acquisition; its own keeps its options."""
    own = file.tables.get("acquisition")
    kind = own.get("kind") if isinstance(own, Mapping) else None
    if name == kind or (kind is None and file.spec is not None and name == file.spec.acquisition.kind):
        return file.tables
    return {**file.tables, "acquisition": {"kind": name}}


def _variant(file: CampaignFile, kit: Kit, name: str, path: Path) -> tuple[Mapping[str, Any], Path]:
    other = read_campaign_file(path)
    if other.spec is None:
        raise SpecError(str(path), other.faults)
    for key in ("target", "pool", "features"):
        if getattr(other.spec, key) != getattr(kit.spec, key):
            raise UserError(
                f"The variant '{name}' ({path}) has another [{key}] than {file.path}: a backtest compares campaigns of"
                " one target, pool and features."
            )
    return other.tables, other.path


def _check_modules(tables: Mapping[str, tuple[Mapping[str, Any], Path]]) -> None:
    """A process imports one module of a name: of two that lie beside two campaign files it would take either."""
    places: dict[str, set[Path]] = {}
    for folder in {base.parent for _, base in tables.values()}:
        for path in own_modules(folder, *(one for one, _ in tables.values())):
            places.setdefault(path.name, set()).add(path)
    for name, paths in sorted(places.items()):
        if len(paths) > 1:
            listed = " and ".join(map(str, sorted(paths)))
            raise UserError(f"Two files are called {name}, {listed}: replays could take one for the other. Rename one.")


def _check_strategies(tables: Mapping[str, tuple[Mapping[str, Any], Path]], kit: Kit) -> None:
    """Every fault of every strategy, before anything runs."""
    faults = []
    for name, (one, base) in tables.items():
        try:
            kit_of(Order(name, kit.spec.seed, one, base, kit.target.unit))
        except SpecError as error:
            faults += [f"  strategy '{name}': {fault.message}" for fault in error.faults]
    if faults:
        raise UserError("\n".join(["No backtest can be run:", *faults]))


def run_backtest(
    plan: Plan, *, progress: Progress = _silent, say: Callable[[str], None] = lambda _line: None
) -> Outcome:
    """Run what was not run before, and write `curves.csv` and `summary.json`.

    Parameters
    ----------
    progress : told what is done, and how much of how much
    say : told what is worth a line

    Raises
    ------
    UserError
        If pool and table have too little in common, or the results cannot be written.
    """
    wanted, kit = plan.wanted, plan.kit
    try:
        wanted.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {wanted.output} cannot be made: {error.strerror}.") from error
    n_workers = wanted.n_workers or n_cores()
    ground, was_there = ground_of(kit, wanted.labels, wanted.output, n_workers=n_workers, progress=progress)
    left = ", ".join(f"{count:,} with {reason}" for reason, count in ground.left_out.items())
    again = "; pool and features as an earlier backtest built them" if was_there else ""
    say(f"{len(ground):,} candidates with a value" + (f" (left out: {left})" if left else "") + again)
    measures = _measures(plan, ground)
    orders = plan.orders(ground)
    replays = replay_all(
        ground,
        orders,
        wanted.output,
        n_workers=n_workers,
        progress=lambda done, total: progress("replaying", done, total),
    )
    summary = _summary(plan, ground, measures, replays)
    files = wanted.output / "summary.json", wanted.output / "curves.csv"
    _write(files[0], json.dumps(summary, indent=1, allow_nan=False))
    write_curves(files[1], replays.done, measures)
    return Outcome(replays, summary, *files)


def _measures(plan: Plan, ground: Ground) -> Measures:
    """How it is measured, if there is enough to measure."""
    kit, n = plan.kit, len(ground)
    if n <= kit.settings.initial:
        raise UserError(
            f"Only {n:,} candidates have a value, and the first design alone asks for {kit.settings.initial}: there is"
            " nothing left to choose. Bring more values, or lower `initial` in [rounds]."
        )
    measures = Measures(kit.target, ground.values, n_best_of(plan.wanted.best, n))
    if kit.target.goal.has_best:
        measures.is_best  # noqa: B018 - raises
    return measures


def _summary(plan: Plan, ground: Ground, measures: Measures, replays: Replays) -> dict[str, Any]:
    wanted, target = plan.wanted, plan.kit.target
    what = {
        "motherlode": version("motherlode"),
        "campaign": plan.kit.spec.name,
        "target": {
            "property": target.property,
            "goal": target.goal.value,
            "unit": target.unit,
            "low": target.low,
            "high": target.high,
        },
        "table": wanted.labels.path.name,
        "n_candidates": len(ground),
        "left_out": dict(ground.left_out),
        "seeds": list(plan.seeds),
        "best": None if not target.goal.has_best or target.goal is Goal.WITHIN else wanted.best,
        "labeling": wanted.labeling.to_json(),
        "initial": wanted.initial,
        "failed": [vars(failed) for failed in replays.failed],
    }
    if not replays.done:
        return what | {"n_labels": 0, "strategies": {}}
    return what | summarize(replays.done, measures, rng=rng_for(plan.kit.spec.seed, 0, "backtest-summary"))


def write_curves(path: Path, replays: Sequence[Replayed], measures: Measures) -> None:
    """Write the table with a line for each round, see `COLUMNS`; empty where there is no value.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    rows = [COLUMNS, *(row for replay in replays for row in measures.rows(replay))]

    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(rows)
    _write(path, lines.getvalue())


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
