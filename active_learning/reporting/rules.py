"""How near each stopping rule came to stopping, round by round. Light: no matplotlib.

A rule's value is what its `check` compares, and its limit what it compares it with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from active_learning.api.record import CampaignRecord
from active_learning.domain.campaign import Progress
from active_learning.domain.options import Options
from active_learning.domain.target import Goal, Target
from active_learning.reporting.history import Moment, moments
from active_learning.reporting.numbers import duration, plain
from active_learning.stopping.accuracy import ErrorBelow, ErrorPlateau
from active_learning.stopping.budgets import Cost, WallTime
from active_learning.stopping.finding import Found
from active_learning.stopping.foresight import ExpectedGainBelow, Stabilized
from active_learning.stopping.rules import Labels, NoImprovement, PoolExhausted, UncertaintyBelow

__all__ = ["Measure", "RuleHistory", "measure_of", "rule_histories"]

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "≥": lambda value, limit: value >= limit,
    "≤": lambda value, limit: value <= limit,
    "<": lambda value, limit: value < limit,
}


@dataclass(frozen=True)
class Measure:
    """What a rule compares.

    Parameters
    ----------
    what : a phrase
    unit : of value and limit; empty for counts and shares
    sign : the rule says stop if the value is ≥, ≤ or < the limit
    value : of a progress; None while the rule cannot tell
    is_time : whether value and limit are stretches of time, in seconds
    """

    what: str
    unit: str
    sign: str
    limit: float
    value: Callable[[Progress], float | None]
    is_time: bool = False

    def is_met(self, value: float | None) -> bool:
        """Whether the rule says stop."""
        return value is not None and _COMPARISONS[self.sign](value, self.limit)


@dataclass(frozen=True)
class RuleHistory:
    """A rule of the campaign file, and its value at each moment.

    Parameters
    ----------
    kind : of the file
    is_alone : whether it is enough by itself, or only together with the others of its list
    measure : None of a plug-in that this report knows nothing of
    """

    kind: str
    is_alone: bool
    measure: Measure | None
    rounds: tuple[int | None, ...] = ()
    values: tuple[float | None, ...] = ()

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self.values[-1] if self.values else None

    @property
    def is_met(self) -> bool:
        """Whether it says stop now."""
        return self.measure is not None and self.measure.is_met(self.last)

    def text(self, value: float | None) -> str:
        """A value with its unit."""
        if self.measure is None or value is None:
            return "–"
        if self.measure.is_time:
            return duration(value)
        number = f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e6 else plain(value, 3)
        return f"{number} {self.measure.unit}".strip()

    @property
    def limit_text(self) -> str:
        """When it says stop."""
        return "" if self.measure is None else f"{self.measure.sign} {self.text(self.measure.limit)}"


def rule_histories(record: CampaignRecord) -> tuple[RuleHistory, ...]:
    """Every rule of the campaign file, as the file is now, in its order: those that are enough alone first."""
    tables = record.spec.get("stopping", {})
    rules = [(table, mode == "any") for mode in ("any", "all") for table in tables.get(mode, ())]
    seen = moments(record) if rules else ()
    return tuple(_history(table, is_alone, record.target, seen) for table, is_alone in rules)


def _history(table: Mapping[str, Any], is_alone: bool, target: Target, seen: tuple[Moment, ...]) -> RuleHistory:
    measure = measure_of(table, target)
    if measure is None:
        return RuleHistory(str(table["kind"]), is_alone, None)
    values = tuple(measure.value(moment.progress) for moment in seen)
    return RuleHistory(str(table["kind"]), is_alone, measure, tuple(moment.round for moment in seen), values)


def measure_of(table: Mapping[str, Any], target: Target) -> Measure | None:
    """What the rule of a ``[[stopping]]`` table compares; None of a plug-in's, which only itself knows."""
    found = _MEASURES.get(str(table["kind"]))
    if found is None:
        return None
    options, make = found
    return make(options.model_validate({key: value for key, value in table.items() if key != "kind"}), target)


def _labels(options: Labels.Options, _target: Target) -> Measure:
    return Measure("labels", "", "≥", options.max, lambda progress: progress.n_labels)


def _no_improvement(options: NoImprovement.Options, target: Target) -> Measure:
    def waited(progress: Progress) -> float | None:
        merits, improved = progress.merit_by_round, 0
        for number, merit in enumerate(merits):
            if merit > merits[improved] + options.min_delta:
                improved = number
        return len(merits) - 1 - improved if merits else None

    more = f" of more than {plain(options.min_delta, 3)} {target.unit}".rstrip() if options.min_delta else ""
    return Measure(f"settled rounds without an improvement{more}", "", "≥", options.rounds, waited)


def _uncertainty_below(options: UncertaintyBelow.Options, target: Target) -> Measure:
    what = "largest predicted std of what could be chosen"
    return Measure(what, target.unit, "<", options.std, lambda progress: progress.max_std)


def _pool_exhausted(_options: PoolExhausted.Options, _target: Target) -> Measure:
    what = "candidates that are left or on their way"
    return Measure(what, "", "≤", 0, lambda progress: progress.n_available + progress.n_pending)


def _cost(options: Cost.Options, _target: Target) -> Measure:
    return Measure("core time of all jobs", "s", "≥", options.max, lambda progress: progress.core_s, is_time=True)


def _wall_time(options: WallTime.Options, _target: Target) -> Measure:
    return Measure(
        "time since the campaign began", "s", "≥", options.max, lambda progress: progress.elapsed_s, is_time=True
    )


def _error_name(target: Target) -> tuple[str, str]:
    is_classes = target.goal is Goal.CLASSIFY
    return ("share of wrong classes", "") if is_classes else ("mean absolute error of the model", target.unit)


def _error_below(options: ErrorBelow.Options, target: Target) -> Measure:
    what, unit = _error_name(target)
    return Measure(what, unit, "≤", options.max, lambda progress: progress.errors[-1] if progress.errors else None)


_WINDOW = 3
"""Rounds of the running median of `error_plateau`."""


def _error_plateau(options: ErrorPlateau.Options, target: Target) -> Measure:
    def fall(progress: Progress) -> float | None:
        errors, rounds = progress.errors, options.rounds
        if len(errors) < rounds + _WINDOW:
            return None
        medians = [median(errors[end - _WINDOW : end]) for end in range(_WINDOW, len(errors) + 1)]
        before, last = min(medians[:-rounds]), min(medians[-rounds:])
        return max(before - last, 0.0) / before if before > 0 else 0.0

    what = f"fall of the {_error_name(target)[0]} in {options.rounds} rounds, as a share"
    return Measure(what, "", "≤", options.min_improvement, fall)


def _expected_gain_below(options: ExpectedGainBelow.Options, target: Target) -> Measure:
    is_per_hour = options.min_gain is None
    keys = ("expected_gain", "run_s") if is_per_hour else ("expected_gain",)

    def gain(forecast: Mapping[str, float]) -> float:
        if not is_per_hour:
            return forecast["expected_gain"]
        # A batch that costs nothing is always worth it.
        return 3600.0 * forecast["expected_gain"] / forecast["run_s"] if forecast["run_s"] > 0 else math.inf

    def largest(progress: Progress) -> float | None:
        foretold = [gain(forecast) for forecast in progress.forecasts if all(key in forecast for key in keys)]
        newest = foretold[-options.rounds :]
        return max(newest) if len(newest) == options.rounds else None

    of = "" if options.rounds == 1 else f", the largest of {options.rounds} rounds"
    hour = " per hour of run time" if is_per_hour else ""
    limit = options.min_gain_per_hour if is_per_hour else options.min_gain
    assert limit is not None
    unit = f"{target.unit}/h".lstrip("/") if is_per_hour else target.unit
    return Measure(f"expected gain of a batch{hour}{of}", unit, "<", limit, largest)


def _stabilized(options: Stabilized.Options, _target: Target) -> Measure:
    def least(progress: Progress) -> float | None:
        known = [forecast["stability"] for forecast in progress.forecasts if "stability" in forecast]
        newest = known[-options.rounds :]
        return min(newest) if len(newest) == options.rounds else None

    of = "" if options.rounds == 1 else f", the least of {options.rounds} rounds"
    return Measure(f"rank correlation with the model before{of}", "", "≥", options.correlation, least)


def _found(options: Found.Options, target: Target) -> Measure:
    def n_found(progress: Progress) -> float:
        merits = target.merit(np.array(progress.values, dtype=np.float64))
        asked = 0.0 if options.value is None else float(target.merit(np.array(options.value)))
        return int((merits >= asked).sum())

    if options.value is None:
        sought = "inside the bounds"
    else:
        side = "at least" if target.goal is Goal.MAXIMIZE else "at most"
        sought = f"of {side} {options.value:g} {target.unit}".rstrip()
    return Measure(f"labels {sought}", "", "≥", options.count, n_found)


_MEASURES: Mapping[str, tuple[type[Options], Callable[[Any, Target], Measure]]] = {
    "labels": (Labels.Options, _labels),
    "no_improvement": (NoImprovement.Options, _no_improvement),
    "uncertainty_below": (UncertaintyBelow.Options, _uncertainty_below),
    "pool_exhausted": (PoolExhausted.Options, _pool_exhausted),
    "cost": (Cost.Options, _cost),
    "wall_time": (WallTime.Options, _wall_time),
    "error_below": (ErrorBelow.Options, _error_below),
    "error_plateau": (ErrorPlateau.Options, _error_plateau),
    "expected_gain_below": (ExpectedGainBelow.Options, _expected_gain_below),
    "stabilized": (Stabilized.Options, _stabilized),
    "found": (Found.Options, _found),
}
