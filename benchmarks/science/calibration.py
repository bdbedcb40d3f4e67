"""Can the std be believed once it is recalibrated? Asked of candidates that no model was trained on.

    python benchmarks/science/calibration.py

On each of the five tables a surrogate is trained on labels of candidates drawn at random (50, 100 and 200; 10 seeds)
and recalibrated as a campaign does it every round. Then it predicts up to 1,000 other candidates, whose labels show how
right its std is, with the map and without. Also for labels that were chosen: the 120 of the default's own runs, if
run.py has made them; there the held-out candidates are those that a campaign did not want, and no map from its labels
can be expected to fit them. Writes benchmarks/results/calibration.json; some minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from run import GOALS, Task
from tables import TABLES, Table

from active_learning.domain.metrics import calibration_metrics
from active_learning.domain.models import Surrogate
from active_learning.domain.seeds import rng_for
from active_learning.domain.target import Goal
from active_learning.engine.corrected import corrected_prediction
from active_learning.learning.calibration import Recalibration, recalibrate
from active_learning.learning.validation import held_out
from active_learning.plugins.registry import load

OUTPUT = Path(__file__).resolve().parents[1] / "results" / "calibration.json"
N_LABELS = (50, 100, 200)
N_HELD_OUT = 1_000
FOLDS = 5
FIRST_SEED = 1_000
"""Not a seed that any map or default was chosen by."""
MOST_Z2, LEAST_Z2, MOST_AREA = 1.25, 0.8, 0.07

Rows = NDArray[np.intp]


def _surrogate(kind: str) -> Surrogate:
    """One of the project's, as a file with its kind alone has it."""
    found: Any = load("surrogates", kind)
    built = found(found.Options())
    if kind == "committee":
        tables = built.member_tables(Goal.MAXIMIZE)
        members = []
        for table in tables:
            member: Any = load("surrogates", table["kind"])
            members.append(member(member.Options(**{k: v for k, v in table.items() if k != "kind"})))
        built = built.with_members(members)
    made: Surrogate = built
    return made


def _judged(table: Table, surrogate: Surrogate, known: Rows, seed: int) -> dict[str, Any] | None:
    """How right the std is on candidates outside of `known`, with the map that `known` gives, and without one."""
    rng = rng_for(seed, len(known), "calibration")
    others = rng.permutation(np.setdiff1d(np.arange(len(table.y)), known))[:N_HELD_OUT]
    X, y = table.X[known], table.y[known]
    model = surrogate.fit(X, y, rng=rng)
    judged = held_out(surrogate, model, X, y, n_folds=FOLDS, asks_model=True, rng=rng)
    if judged is None:
        return None
    mean, std = judged.prediction.mean[:, 0], judged.prediction.std[:, 0]
    outcome = recalibrate(y, mean, std, folds=judged.folds, previous=None)
    raw = model.predict(table.X[others])
    found = {"source": outcome.record.source}
    for name, recalibration in (("before", Recalibration.none), ("after", outcome.recalibration)):
        believed = corrected_prediction(raw, recalibration)
        metrics = calibration_metrics(table.y[others], believed.mean[:, 0], believed.std[:, 0])
        found[name] = {key: metrics[key] for key in ("mean_z2", "miscalibration_area", "coverage_90", "nll")}
    return found


def _mean(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds: the mean and its standard error."""
    cell: dict[str, Any] = {"n_seeds": len(found)}
    for when in ("before", "after"):
        for key in found[0][when]:
            values = np.array([one[when][key] for one in found])
            error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
            cell.setdefault(when, {})[key] = [round(float(values.mean()), 4), round(error, 4)]
    after = {key: value[0] for key, value in cell["after"].items()}
    cell["is_within"] = LEAST_Z2 <= after["mean_z2"] <= MOST_Z2 and after["miscalibration_area"] <= MOST_AREA
    return cell


def _at_random(n_labels: int) -> Callable[[Table, int], Rows | None]:
    def rows(table: Table, seed: int) -> Rows | None:
        if len(table.y) < n_labels + 100:
            return None
        return np.asarray(rng_for(seed, n_labels, "known").choice(len(table.y), n_labels, replace=False))

    return rows


def _chosen(goal: str) -> Callable[[Table, int], Rows | None]:
    def rows(table: Table, seed: int) -> Rows | None:
        path = Task(table.name, goal, "motherlode", seed - FIRST_SEED).path
        return np.array(json.loads(path.read_text())["rows"], dtype=np.intp) if path.is_file() else None

    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--surrogates", default="committee,random_forest")
    given = parser.parse_args()
    ways = {f"{n} at random": _at_random(n) for n in N_LABELS} | {f"120 by {g}": _chosen(g) for g in GOALS}
    results: dict[str, Any] = {}
    for kind in given.surrogates.split(","):
        surrogate = _surrogate(kind)
        for way, rows_of in ways.items():
            for name, load_table in TABLES.items():
                table = load_table()
                found = []
                for seed in range(FIRST_SEED, FIRST_SEED + given.seeds):
                    known = rows_of(table, seed)
                    one = None if known is None else _judged(table, surrogate, known, seed)
                    found += [] if one is None else [one]
                if found:
                    cell = results.setdefault(kind, {}).setdefault(way, {})[name] = _mean(found)
                    z2, area = (cell["after"][key][0] for key in ("mean_z2", "miscalibration_area"))
                    print(f"{kind}, {way}, {name}: z² {z2:.2f}, area {area:.3f}, {cell['is_within']}", flush=True)
    OUTPUT.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
