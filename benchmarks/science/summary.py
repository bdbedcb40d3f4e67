"""From the runs of run.py to benchmarks/results/science.json: what each method found, and how sure that is.

    python benchmarks/science/summary.py

To maximize, a run counts by the area under its discovery curve: the share of the best 1 % (at least three candidates)
that is labeled, averaged over the number of labels from 1 to 120. To learn, by the error of one and the same model on
all candidates without a label, averaged over 40, 60, 80, 100 and 120 labels: a random forest of scikit-learn's with its
defaults, which is nobody's own, trained on what the method labeled. It is divided by the mean absolute deviation from
the median, so that 1 is no knowledge at all.

Intervals are of the mean over seeds, and of the mean difference of two methods on the same seeds (paired bootstrap).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from methods import OURS, PEERS
from numpy.typing import NDArray
from run import BATCH, CHOICE_SEEDS, GOALS, N_FIRST, N_LABELS, RESULTS, table_of
from sklearn.ensemble import RandomForestRegressor
from tables import TABLES, Table

from active_learning.evaluation.comparing import Estimate, difference, mean_of, resamples

OUTPUT = RESULTS.parent / "science.json"
_AT = (40, 60, 80, 100, 120)

Floats = NDArray[np.float64]
Scores = Mapping[str, Mapping[int, float]]


def discovery_area(table: Table, rows: Sequence[int]) -> float:
    """Mean share of the best found, over the number of labels."""
    bar = np.sort(table.merit)[-table.n_best]
    found = np.minimum(np.cumsum(table.merit[list(rows)] >= bar), table.n_best)
    return float((found[:N_LABELS] / table.n_best).mean())


def errors(table: Table, rows: Sequence[int]) -> list[float]:
    """The neutral model's error on all other candidates, for each number of labels in `_AT`."""
    spread = float(np.abs(table.y - np.median(table.y)).mean())
    found = []
    for n in _AT:
        known = np.array(rows[:n])
        rest = np.setdiff1d(np.arange(len(table.y)), known)
        model = RandomForestRegressor(random_state=0, n_jobs=1).fit(table.X[known], table.y[known])
        found.append(float(np.abs(model.predict(table.X[rest]) - table.y[rest]).mean()) / spread)
    return found


def _scored(path: Path) -> dict[str, Any]:
    """A run with its score, which is kept beside it: it takes a second."""
    found: dict[str, Any] = json.loads(path.read_text())
    if "rows" not in found or "score" in found:
        return found
    table = table_of(found["table"])
    if found["goal"] == "learn":
        found["errors"] = errors(table, found["rows"])
        found["score"] = float(np.mean(found["errors"]))
    else:
        found["score"] = discovery_area(table, found["rows"])
    path.write_text(json.dumps(found))
    return found


def _json(estimate: Estimate) -> list[float]:
    return [round(float(v), 5) for v in (estimate.value, estimate.low, estimate.high)]


def _compared(scores: Scores, goal: str) -> dict[str, Any]:
    """Ours against each other method on the seeds that both have; positive is better for us."""
    sign = 1.0 if goal == "maximize" else -1.0
    found = {}
    for name, theirs in scores.items():
        seeds = sorted(set(theirs) & set(scores[OURS]))
        if name != OURS and len(seeds) > 1:
            drawn = resamples(len(seeds), np.random.default_rng(0))
            pair = [sign * np.array([one[s] for s in seeds]) for one in (scores[OURS], theirs)]
            found[name] = _json(difference(pair[0], pair[1], drawn))
    return found


def _means(scores: Scores) -> dict[str, list[float]]:
    """For each method the mean over seeds with its interval, and how many seeds there are."""
    drawn = {n: resamples(n, np.random.default_rng(0)) for n in {len(mine) for mine in scores.values()}}
    return {
        name: [*_json(mean_of(list(mine.values()), drawn[len(mine)])), len(mine)]
        for name, mine in sorted(scores.items())
    }


def _cell(scores: Scores, goal: str) -> dict[str, Any]:
    """A table and a goal: all methods, and ours against each other one."""
    means = _means(scores)
    peers = [name for name in means if name in PEERS and name != "random"]
    best = max if goal == "maximize" else min
    return {
        "means": means,
        "ours minus": _compared(scores, goal) if OURS in scores else {},
        "best peer": best(peers, key=lambda name: means[name][0]) if peers else None,
    }


def main() -> None:
    """Score all runs and write the summary."""
    runs = [_scored(path) for path in sorted(RESULTS.glob("runs/*/*/*.json"))]
    compared: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    chosen_by: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    cost: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        if "score" in run:
            scores = chosen_by if run["seed"] in CHOICE_SEEDS else compared
            scores[run["table"], run["goal"]][run["method"]][run["seed"]] = run["score"]
            cost[run["method"]].append(run["cpu_s"])
    cells = [(table, goal) for table in TABLES for goal in GOALS]
    summary = {
        "n_first": N_FIRST,
        "batch": BATCH,
        "n_labels": N_LABELS,
        "tables": {name: [len(t.y), t.n_best, t.unit] for name in TABLES for t in [table_of(name)]},
        "cells": {f"{table} / {goal}": _cell(compared[table, goal], goal) for table, goal in cells},
        "choice": {
            f"{table} / {goal}": _means(chosen_by[table, goal]) for table, goal in cells if (table, goal) in chosen_by
        },
        "cpu_s": {name: round(float(np.mean(values)), 1) for name, values in cost.items()},
        "failures": [
            {k: run[k] for k in ("table", "goal", "method", "seed", "error")} for run in runs if "error" in run
        ],
        "warnings": {run["method"]: run["warnings"] for run in runs if run.get("warnings")},
    }
    OUTPUT.write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    print(f"{len(runs)} runs, {len(summary['failures'])} failed; {OUTPUT}")


if __name__ == "__main__":
    main()
