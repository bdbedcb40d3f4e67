"""What does it cost, and bring, to keep eight workers busy instead of labeling one candidate at a time?

    python benchmarks/science/asynchrony.py                            # hours on two cores; resumable
    python benchmarks/science/asynchrony.py --tables hardness --seeds 3 --labels 60 --trees 50

The project's default campaign is replayed on labeled tables in four settings: one label at a time; asynchronous, eight
in flight and a round for each that comes in, with the default selection, fantasies that are told what is in flight, and
with the one that is the default of rounds that do not overlap; synchronous, batches of eight, each waited for to its
last. Times of labels are imagined: one hour in the median, log-normal with a spread of 1, so that the slowest of eight
takes some five times the median; a decision takes a minute. First labels, and the time of each candidate's label, are
the same in all settings of a seed. Asked is how busy the workers are, and how many more labels it takes than one at a
time to find as many of the best. Writes benchmarks/results/asynchrony.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tables import TABLES, Table

from active_learning.domain.seeds import rng_for
from active_learning.domain.target import Goal, Target
from active_learning.evaluation.comparing import Curves, Estimate, acceleration, mean_of, resamples
from active_learning.evaluation.ground import Ground
from active_learning.evaluation.measures import Measures
from active_learning.evaluation.replayed import Order, Replayed
from active_learning.evaluation.replaying import replay_all
from active_learning.evaluation.virtual import Labeling

RESULTS = Path(__file__).resolve().parents[1] / "results"
N_FLIGHT = 8
INITIAL = 20
SETTINGS: Mapping[str, tuple[int, int, str | None]] = {
    "one at a time": (1, 1, None),
    "asynchronous": (1, N_FLIGHT, None),
    "asynchronous, diverse": (1, N_FLIGHT, "diverse"),
    "synchronous": (N_FLIGHT, N_FLIGHT, None),
}
"""Name -> batch_size, max_in_flight, and the selection if it is not the default."""
LABELING = Labeling(median_s=3600.0, spread=1.0, decision_s=60.0)
FRACTIONS = (0.25, 0.5, 0.75)


def _orders(table: Table, n_seeds: int, n_labels: int, surrogate: Mapping[str, Any]) -> list[Order]:
    target = {"property": "value", "goal": "maximize" if table.is_maximized else "minimize"}
    orders = []
    for seed in range(1, n_seeds + 1):
        told = rng_for(seed, 0, "asynchrony").choice(len(table.y), INITIAL, replace=False)
        for name, (batch_size, max_in_flight, selection) in SETTINGS.items():
            tables: dict[str, Any] = {
                "target": target,
                "rounds": {"initial": INITIAL, "batch_size": batch_size, "max_in_flight": max_in_flight},
                "stopping": {"any": [{"kind": "labels", "max": n_labels}]},
            }
            tables |= {"surrogate": dict(surrogate)} if surrogate else {}
            tables |= {"selection": {"kind": selection}} if selection else {}
            base = Path(__file__)
            orders.append(Order(name, seed, tables, base, table.unit, LABELING, tuple(told.tolist())))
    return orders


def _growth(mine: Curves, one: Curves, level: float | None) -> dict[str, Any] | None:
    """How many more labels than one at a time, as a fraction: 0.1 is ten percent more."""
    drawn = resamples(len(mine.table), np.random.default_rng(0))
    # The inverse of what one at a time saves.
    factor = acceleration(one, mine, drawn, level=level, least=0.0)
    return None if factor is None else _less_one(factor)


def _less_one(factor: Estimate) -> dict[str, Any]:
    low, high = factor.low, factor.high
    ends = {"low": None if low is None else low - 1, "high": None if high is None else high - 1}
    return {"value": factor.value - 1} | ends


def _summary(table: Table, replays: Sequence[Replayed], n_labels: int) -> dict[str, Any]:
    target = Target("value", Goal.MAXIMIZE if table.is_maximized else Goal.MINIMIZE, table.unit)
    measures = Measures(target, table.y, table.n_best)
    runs = {name: [replay for replay in replays if replay.strategy == name] for name in SETTINGS}
    curves = {name: measures.discovery(mine, n_labels) for name, mine in runs.items()}
    found: dict[str, Any] = {"n_candidates": len(table.y), "n_best": table.n_best, "settings": {}}
    for name, mine in runs.items():
        drawn = resamples(len(mine), np.random.default_rng(0))
        found["settings"][name] = {
            "n_seeds": len(mine),
            "utilization": mean_of([replay.utilization or 0.0 for replay in mine], drawn).to_json(),
            "utilization_least": min(replay.utilization or 0.0 for replay in mine),
            "days": mean_of([replay.labels[-1].time_s / 86400 for replay in mine], drawn).to_json(),
            "found": mean_of(curves[name].table[:, -1], drawn).to_json(),
            "area": mean_of(curves[name].table[:, 1:].mean(axis=1), drawn).to_json(),
            "more_labels": _growth(curves[name], curves["one at a time"], None),
            "more_labels_at": {
                str(share): _growth(curves[name], curves["one at a time"], share) for share in FRACTIONS
            },
        }
    return found


def _say(name: str, summary: Mapping[str, Any]) -> None:
    print(f"\n{name}: {summary['n_candidates']} candidates, the best {summary['n_best']} are sought")
    for setting, found in summary["settings"].items():
        more = found["more_labels"]
        said = "" if more is None else f", {more['value']:+.0%} labels"
        said += "" if more is None or more["low"] is None else f" ({more['low']:+.0%} to {more['high']:+.0%})"
        busy, share = found["utilization"]["value"], found["found"]["value"]
        print(f"  {setting:<24} busy {busy:.1%}, {found['days']['value']:5.1f} days, found {share:.0%}{said}")


def main() -> None:
    """Run what is missing, then print and write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=["band gap", "hardness"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=120)
    parser.add_argument("--trees", type=int, help="a smaller forest than the default, for a first look")
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    surrogate = {} if arguments.trees is None else {"kind": "random_forest", "n_trees": arguments.trees}
    written: dict[str, Any] = {
        "labels": arguments.labels,
        "labeling": LABELING.to_json(),
        "surrogate": surrogate or "the default",
        "tables": {},
    }
    for name in arguments.tables:
        table = TABLES[name]()
        folder = RESULTS / "asynchrony.campaign" / name.replace(" ", "-")
        ground = Ground.of_arrays(folder, table.names, table.X, table.y)
        replays = replay_all(
            ground,
            _orders(table, arguments.seeds, arguments.labels, surrogate),
            folder,
            n_workers=arguments.workers,
            progress=lambda done, total, name=name: print(f"\r{name}: {done} of {total}", end="", flush=True),
        )
        if replays.failed:
            raise SystemExit(f"\n{replays.failed[0]}")
        written["tables"][name] = _summary(table, replays.done, arguments.labels)
        _say(name, written["tables"][name])
    (RESULTS / "asynchrony.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
