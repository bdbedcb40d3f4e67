"""The summary of a backtest: what each strategy came to, and how it compares with the baseline, as one JSON value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from active_learning.evaluation.comparing import (
    Curves,
    Estimate,
    Resamples,
    acceleration,
    difference,
    enhancement,
    mean_of,
    resamples,
)
from active_learning.evaluation.measures import Measures
from active_learning.evaluation.replayed import Replayed

__all__ = ["BASELINE", "compare", "summarize"]

BASELINE = "random"
"""What every other strategy is compared with, if it is there."""

_MOST_POINTS = 400
"""Of a curve in the summary."""
_N_SHARES = 20
"""Of what both strategies find, at which the acceleration is told."""


@dataclass(frozen=True)
class _Length:
    """Common to all strategies: the longest replay, and the number of labels from which all have a model."""

    n_labels: int
    n_first: int

    @staticmethod
    def of(replays: Sequence[Replayed], measures: Measures) -> _Length:
        n_labels = max(len(replay.labels) for replay in replays)
        first = max(measures.first_model(replay) for replay in replays)
        return _Length(n_labels, int(min(first, n_labels + 1)))


def summarize(
    replays: Sequence[Replayed], measures: Measures, *, rng: np.random.Generator, baseline: str = BASELINE
) -> dict[str, Any]:
    """What each strategy came to.

    Every mean is over seeds and has a 95 % bootstrap interval; comparisons are paired by seed, over the seeds that both
    have. A replay that ended sooner than the longest finds nothing more and its error stays.

    Parameters
    ----------
    baseline : the strategy that the others are compared with, if it is among them

    Returns
    -------
    For each of the `strategies`, beside what its names say: `area`, the mean height of the discovery curve;
    `over_chance`, the fraction found divided by the share of the candidates that was labeled, which is what drawing at
    random finds in the mean; `error`, of the last model, and `error_area`, the mean over all labels; `against`, see
    `compare`. None where something does not exist.
    """
    length = _Length.of(replays, measures)
    by_strategy: dict[str, dict[int, Replayed]] = {}
    for replay in replays:
        by_strategy.setdefault(replay.strategy, {})[replay.seed] = replay
    seed = int(rng.integers(2**31))
    strategies: dict[str, Any] = {}
    for name, mine in by_strategy.items():
        strategies[name] = _own(list(mine.values()), measures, length, _drawn(len(mine), seed))
        if baseline in by_strategy and name != baseline:
            theirs = by_strategy[baseline]
            seeds = [seed for seed in mine if seed in theirs]
            if seeds:
                pair = [mine[s] for s in seeds], [theirs[s] for s in seeds]
                against = compare(*pair, measures, rng=np.random.default_rng(seed), length=length)
                strategies[name]["against"] = {"baseline": baseline} | against
    return {
        "n_labels": length.n_labels,
        "n_best": measures.n_to_find if measures.target.goal.has_best else None,
        "best_value": _true_best(measures),
        "error_name": measures.error_name,
        "baseline": baseline if baseline in by_strategy else None,
        "interval": "95 % bootstrap over seeds, 2000 resamples; comparisons paired by seed",
        "strategies": strategies,
    }


def _drawn(n_seeds: int, seed: int) -> Resamples:
    return resamples(n_seeds, np.random.default_rng(seed))


def _true_best(measures: Measures) -> float | None:
    if not measures.target.goal.has_best:
        return None
    return float(measures.values[np.argmax(measures.target.merit(measures.values))])


def _own(replays: Sequence[Replayed], measures: Measures, length: _Length, drawn: Resamples) -> dict[str, Any]:
    """What one strategy came to."""
    used = [replay.utilization for replay in replays]
    found: dict[str, Any] = {
        "n_seeds": len(replays),
        "n_labels": _json(mean_of([len(replay.labels) for replay in replays], drawn)),
        "n_failed": _json(mean_of([replay.n_failed for replay in replays], drawn)),
        "time_s": _json(mean_of([replay.labels[-1].time_s if replay.labels else 0.0 for replay in replays], drawn)),
        "utilization": _json(mean_of([u for u in used if u is not None], drawn)) if None not in used else None,
        "wall_s": float(np.mean([replay.wall_s for replay in replays])),
        "stopped": sorted({replay.stopped for replay in replays}),
        "curves": {},
    }
    if measures.target.goal.has_best:
        curves = measures.discovery(replays, length.n_labels)
        best = [measures.best_values(replay)[-1] for replay in replays if replay.labels]
        merits = measures.target.merit(np.array(best))
        is_top = merits >= measures.target.merit(measures.values).max()
        found["found"] = _json(mean_of(curves.table[:, -1], drawn))
        found["area"] = _json(mean_of(_areas(curves), drawn))
        by_chance = [max(len(replay.labels), 1) / len(measures.values) for replay in replays]
        found["over_chance"] = _json(mean_of(curves.table[:, -1] / np.array(by_chance), drawn))
        found["best_value"] = _json(mean_of(best, drawn)) if len(best) == len(replays) else None
        found["true_best_found"] = float(is_top.mean()) if len(best) else 0.0
        found["curves"]["discovery"] = _curve_json(curves, drawn)
    errors = measures.learning(replays, length.n_first, length.n_labels)
    found["error"] = found["error_area"] = None
    if errors is not None:
        found["error"] = _json(mean_of(-errors.table[:, -1], drawn))
        found["error_area"] = _json(mean_of(-_areas(errors), drawn))
        found["curves"]["error"] = _curve_json(Curves(errors.n_labels, -errors.table), drawn)
    return found


def _areas(curves: Curves) -> Any:
    """Mean height over all labels, (n_seeds,); that of no label at all does not count."""
    return curves.table[:, int(curves.n_labels[0] == 0) :].mean(axis=1)


def _json(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else estimate.to_json()


def _curve_json(curves: Curves, drawn: Resamples) -> dict[str, list[float]]:
    n_steps = len(curves.n_labels)
    places = np.unique(np.linspace(0, n_steps - 1, min(n_steps, _MOST_POINTS)).round().astype(np.intp))
    low, high = curves.band(drawn)
    columns = {"n_labels": curves.n_labels, "mean": curves.mean, "low": low, "high": high}
    return {name: values[places].tolist() for name, values in columns.items()}


def compare(
    replays: Sequence[Replayed],
    others: Sequence[Replayed],
    measures: Measures,
    *,
    rng: np.random.Generator,
    length: _Length | None = None,
) -> dict[str, Any]:
    """Two strategies compared, seed by seed: `replays` against `others`, which have the same seeds in the same order.

    Returns
    -------
    A JSON value; None where something does not exist. Each number comes with its interval.

    - `area`, `found`, `error_area`, `error`: differences, these less the others.
    - `acceleration`: labels that the others need divided by labels that these need, until the mean curve is as high as
      the highest point that both reach (`at`; in each resample its own); `accelerations` the same at smaller
      fractions, without an interval where too many resamples do not come so high.
    - `enhancement`: mean fraction found divided by that of the others after the last label (`end`), and where it is
      largest (`max`, after `n_labels`; its interval is of that number of labels, so that being picked as the largest
      shows in the number, but not in the interval).
    - `error_acceleration`: as `acceleration`, until the model is as good as the best that both come to.
    """
    length = length or _Length.of([*replays, *others], measures)
    drawn = resamples(len(replays), rng)
    found: dict[str, Any] = {"n_seeds": len(replays), "seeds": [replay.seed for replay in replays]}
    if measures.target.goal.has_best:
        mine, theirs = (measures.discovery(r, length.n_labels) for r in (replays, others))
        found["area"] = _json(difference(_areas(mine), _areas(theirs), drawn))
        found["found"] = _json(difference(mine.table[:, -1], theirs.table[:, -1], drawn))
        highest = float(min(mine.mean[-1], theirs.mean[-1]))
        found["acceleration"] = _at(highest, acceleration(mine, theirs, drawn, least=0.0))
        found["accelerations"] = [
            _at(share, acceleration(mine, theirs, drawn, level=share, least=0.0))
            for share in (highest * np.arange(1, _N_SHARES + 1) / _N_SHARES).tolist()
        ]
        found["enhancement"] = _enhancements(mine, theirs, drawn)
    errors = tuple(measures.learning(r, length.n_first, length.n_labels) for r in (replays, others))
    found["error_area"] = found["error"] = found["error_acceleration"] = None
    if errors[0] is not None and errors[1] is not None:
        mine, theirs = errors[0], errors[1]
        found["error_area"] = _json(difference(-_areas(mine), -_areas(theirs), drawn))
        found["error"] = _json(difference(-mine.table[:, -1], -theirs.table[:, -1], drawn))
        found["error_acceleration"] = _json(acceleration(mine, theirs, drawn))
    return found


def _at(share: float, estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"at": share} | estimate.to_json()


def _enhancements(mine: Curves, theirs: Curves, drawn: Resamples) -> Mapping[str, Any] | None:
    is_there = np.flatnonzero(theirs.mean > 0)
    if not len(is_there):
        return None
    at = int(is_there[np.argmax(mine.mean[is_there] / theirs.mean[is_there])])
    largest = enhancement(mine, theirs, drawn, at=at)
    ratios = mine.mean[is_there] / theirs.mean[is_there]
    steps = np.unique(np.linspace(0, len(is_there) - 1, min(len(is_there), _MOST_POINTS)).round().astype(np.intp))
    return {
        "end": _json(enhancement(mine, theirs, drawn, at=len(mine.n_labels) - 1)),
        "max": {"n_labels": int(mine.n_labels[at])} | (_json(largest) or {}),
        "curve": {"n_labels": mine.n_labels[is_there][steps].tolist(), "value": ratios[steps].tolist()},
    }
