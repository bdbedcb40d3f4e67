"""One round at scale: learn from 1,000 labels, score a million candidates, choose 50; ours and what people do today.

    python benchmarks/round.py                       # about seven minutes on two cores, 4 GB of disk, 9 GB of memory
    python benchmarks/round.py --size 100000

The pool is `compositions` on a grid, described by magpie's 132 features; the property is made up, the 1,000 labels are
random candidates. Every contender learns from the same labels with the same forest (500 trees, scikit-learn's, the same
seed) and wants mean + 1 standard deviation over the trees; each has a process of its own, and they run one after
another.

- `ours`: the engine's own step on a real campaign, from reading the store to the committed round: the forest and five
  more for the cross-validation, every candidate predicted, the best 20,000 kept, 50 chosen by the selection `diverse`,
  all predictions and the round written.
- `scikit-learn, trees on threads`: the whole matrix in memory as float32, `RandomForestRegressor(n_jobs=-1)`, joblib's
  threads take trees in turn and add up what they predict and its square (the faster of the two careful ways in
  scoring.py), `np.argsort` of the scores, 50-means of the best 10,000 (standardized), the best of each cluster. Nothing
  is cross-validated, nothing is written.
- `modAL`: `ActiveLearner` with that forest and the query strategy that is usual for it, `np.stack` of what each tree
  predicts for all candidates, mean + std, the 50 best (modAL chooses no diverse batches for regression). The matrix is
  float32 already: of float64, each tree would make its own copy.

It also says how far the others' means and deviations are from ours, over all candidates. Writes
benchmarks/results/round.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from grid_campaign import BATCH, N_TREES, PROPERTY, hardness, write_campaign
from measuring import Stages, apart, say, versions
from numpy.typing import NDArray

from active_learning.api import Campaign
from active_learning.domain.label import Label
from active_learning.domain.seeds import rng_for
from active_learning.engine import learning, round_steps
from active_learning.engine.deciding import next_action
from active_learning.engine.feature_file import FeatureFile
from active_learning.engine.learning import known_rows
from active_learning.engine.performing import perform
from active_learning.store import Blobs, Writer

SIZE = 1_000_000
N_LABELS = 1_000
N_BEST = 10_000
BLOCK = 10_000
RESULTS = Path(__file__).parent / "results" / "round.json"

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Round = Callable[[Stages, Path], dict[str, Any]]


def _prepare(file: Path) -> dict[str, int]:
    """Build the pool, compute the features, tell the labels."""
    with Campaign.create(file) as campaign:
        with campaign.work() as bench:
            bench.is_asked = True
            for _ in ("pool", "features"):
                print(perform(bench, next_action(bench.snapshot())), flush=True)
        pool, now = campaign.pool(), campaign.clock.now()
        chosen = np.random.default_rng(0).choice(len(pool), N_LABELS, replace=False)
        with campaign.store.write(now) as writer:
            for row in chosen.tolist():
                (candidate,) = pool.candidates(row, row + 1)
                writer.add_label(Label(candidate.id, PROPERTY, hardness(candidate.amounts), "", now, "told"))
        facts = campaign.store.read()
        assert facts.features is not None
        return {key: facts.features[key] for key in ("n_candidates", "n_features")}


def _features(file: Path) -> tuple[FeatureFile, Rows, Floats]:
    """The features, and the rows and values of the labels. On [0, 1], as ours trains: the last digit of a label decides
    between features that split as well, and all are to grow the same trees."""
    with Campaign.open(file) as campaign:
        facts = campaign.store.read()
        assert facts.features is not None
        features = FeatureFile(facts.features, Blobs(campaign.workdir / "files"))
        rows, y = known_rows(features, facts.labels)
        return features, rows, (y - y.min()) / np.ptp(y)


def _ours(stages: Stages, file: Path) -> dict[str, Any]:
    for where, name, stage in (
        (round_steps, "_learn", "fit"),
        (learning, "_cross_validated", "cross-validate"),
        (round_steps, "predict_pool", "predict"),
        (round_steps, "_score", "score, keep the best"),
        (round_steps, "_choose", "choose"),
        (round_steps, "_record", "write"),
        (Writer, "open_round", "write"),
        (Writer, "plan", "write"),
    ):
        stages.watch(where, name, stage)
    with Campaign.open(file) as campaign:
        with campaign.work() as bench:
            bench.is_asked = True
            with stages.stage("look, decide"):
                said = perform(bench, next_action(bench.snapshot()))
        facts = campaign.store.read()
        beliefs = np.load(campaign.workdir / "files" / str(facts.rounds[0].predictions))
        y = np.array([label.value for label in facts.labels])
        np.save(file.with_name("beliefs.npy"), (beliefs - [y.min(), 0.0]) / np.ptp(y))
    return {"said": said, "chosen": [request.candidate_id for request in facts.requests]}


def _seed() -> int:
    """Of our forest in round 0, so that the others grow the same trees."""
    return int(rng_for(0, 0, "fit").integers(2**31))


def _forest() -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(N_TREES, n_jobs=-1, random_state=_seed())


def _threads(stages: Stages, file: Path) -> dict[str, Any]:
    import joblib
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    features, labeled, y = _features(file)
    with stages.stage("load"):
        X = np.concatenate([block.astype(np.float32) for _, block in features.blocks(BLOCK)])
    with stages.stage("fit"):
        forest = _forest().fit(X[labeled], y)
    with stages.stage("predict"):
        total, squares, lock = np.zeros(len(X)), np.zeros(len(X)), Lock()

        def add(tree: Any) -> None:
            nonlocal total, squares
            predicted = tree.tree_.predict(X)[:, 0]
            with lock:
                total += predicted
                squares += predicted * predicted

        joblib.Parallel(n_jobs=-1, require="sharedmem")(joblib.delayed(add)(tree) for tree in forest.estimators_)
        mean = total / N_TREES
        std = np.sqrt(np.maximum(squares / N_TREES - mean**2, 0.0))
    with stages.stage("score, keep the best"):
        scores = mean + std
        scores[labeled] = -np.inf
        best = np.argsort(-scores, kind="stable")[:N_BEST]
    with stages.stage("choose"):
        clusters = KMeans(BATCH, random_state=0).fit(StandardScaler().fit_transform(X[best])).labels_
        chosen = best[np.unique(clusters, return_index=True)[1]]
    return _agreement(file, mean, std) | {"chosen": [features.ids[row] for row in chosen]}


def _modal(stages: Stages, file: Path) -> dict[str, Any]:
    from modAL.models import ActiveLearner

    features, labeled, y = _features(file)
    beliefs: dict[str, Floats] = {}

    def mean_plus_std(learner: Any, X: Floats, n_instances: int) -> Rows:
        with stages.stage("predict"):
            each = np.stack([tree.predict(X) for tree in learner.estimator.estimators_])
            beliefs["mean"], beliefs["std"] = each.mean(axis=0), each.std(axis=0)
        with stages.stage("score, keep the best"):
            return np.argsort(-(beliefs["mean"] + beliefs["std"]), kind="stable")[:n_instances]

    with stages.stage("load"):
        X = np.load(features.path)
        free = np.setdiff1d(np.arange(len(X)), labeled)
        X_labeled, X_free = X[labeled], X[free].astype(np.float32)
        del X
    with stages.stage("fit"):
        learner = ActiveLearner(_forest(), query_strategy=mean_plus_std, X_training=X_labeled, y_training=y)
    with stages.stage("choose"):
        chosen, _ = learner.query(X_free, n_instances=BATCH)
    found = _agreement(file, beliefs["mean"], beliefs["std"], free)
    return found | {"chosen": [features.ids[row] for row in free[chosen]]}


def _agreement(file: Path, mean: Floats, std: Floats, rows: Rows | None = None) -> dict[str, Any]:
    """The largest difference to what ours believes, relative to the range of the labels."""
    ours = np.load(file.with_name("beliefs.npy"))[slice(None) if rows is None else rows]
    theirs = np.column_stack([mean, std])
    return {"largest_difference": float(f"{np.abs(ours - theirs).max():.1e}")}


CONTENDERS: dict[str, Round] = {"ours": _ours, "scikit-learn, trees on threads": _threads, "modAL": _modal}


def _contend(name: str, file: Path) -> dict[str, Any]:
    """One contender's round, in this process."""
    stages = Stages()
    found = CONTENDERS[name](stages, file)
    wall_s, cpu_s = sum(stages.wall_s.values()), sum(stages.cpu_s.values())
    return {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2), "stages": stages.to_json(), **found}


def main() -> None:
    """Measure, print, and write the result; or run one contender, for the process that measures it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE, help="candidates, at least")
    parser.add_argument("--contender", choices=["prepare", *CONTENDERS], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender == "prepare":
        say(_prepare(arguments.file))
    elif arguments.contender:
        say(_contend(arguments.contender, arguments.file))
    else:
        _compare(arguments.size)


def _compare(size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = write_campaign(folder, size)
        this = [sys.executable, str(Path(__file__)), "--file", str(file), "--contender"]
        prepared = apart([*this, "prepare"])
        print(f"{prepared['n_candidates']:,} candidates ready after {prepared['process_s']} s", flush=True)
        found = {}
        for contender in CONTENDERS:
            found[contender] = apart([*this, contender])
            print(f"{contender}: {found[contender]['wall_s']} s", flush=True)
    mine = set(found["ours"]["chosen"])
    for took in found.values():
        took["chosen_as_ours"] = len(mine & set(took.pop("chosen")))
    crossed = found["ours"]["stages"]["cross-validate"]
    result: dict[str, Any] = {
        "n_candidates": prepared["n_candidates"],
        "n_features": prepared["n_features"],
        "n_labels": N_LABELS,
        "n_trees": N_TREES,
        "batch": BATCH,
        "cores": os.cpu_count(),
        "contenders": found,
        "ours_without_cross_validation": {
            kind: round(found["ours"][kind] - crossed[kind], 2) for kind in ("wall_s", "cpu_s")
        },
        "cross_validation_share": {kind: round(crossed[kind] / found["ours"][kind], 2) for kind in crossed},
        "versions": versions("motherlode", "scikit-learn", "numpy", "modAL-python", "joblib", "numba"),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(_table(found))
    print(json.dumps({key: value for key, value in result.items() if key != "contenders"}, indent=1))


def _table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Seconds of wall (CPU) of each stage, and memory."""

    def cell(took: Mapping[str, float] | None) -> str:
        return f"{took['wall_s']:.1f} ({took['cpu_s']:.1f})" if took else ""

    stages = dict.fromkeys(stage for took in found.values() for stage in took["stages"])
    rows = [(stage, [cell(took["stages"].get(stage)) for took in found.values()]) for stage in stages]
    rows.append(("**together**", [cell(took) for took in found.values()]))
    for name, kind in (("peak MB", "peak_mb"), ("private MB", "private_mb")):
        rows.append((name, [f"{took[kind]:,.0f}" for took in found.values()]))
    lines = [f"| s (CPU s) | {' | '.join(found)} |", f"|---|{'---:|' * len(found)}"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows)])


if __name__ == "__main__":
    main()
