"""Mean and std over the trees of a forest for a million candidates: ours against scikit-learn's trees, side by side.

    python benchmarks/scoring.py                 # about three minutes on two quiet cores
    python benchmarks/scoring.py --rows 50000 --repeats 3

500 fully grown trees, trained on 1,000 candidates; 132 Magpie descriptors of random compositions of two to five
elements, and a made-up target on them; seeded. Each way runs in a process of its own on all cores, starts with the same
.npy file and ends with two arrays; growing the forest is not in the times.

ours          `FittedForest.predict`, 8,192 rows read at a time. Loading the machine code is in the time.
threads       what a careful user writes: the matrix as float32, and a thread for each core, which take trees in turn
              and add up what they predict and its square.
threads_rows  the same, but a thread takes 8,192 rows through all trees: kinder to the caches.
stack         what most users write, and libraries do: the predictions of all trees in one array, then its mean and std.
              Only a twentieth of the rows, because of its memory; the times are scaled to all of them.

The script checks that all agree. Writes benchmarks/results/scoring.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from active_learning.domain.elements import SYMBOLS
from active_learning.engine.feature_file import read_rows
from active_learning.featurizers.fast_compositions import fast
from active_learning.surrogates.forest import RandomForest

N_LABELS = 1_000
N_TREES = 500
BLOCK = 8_192
STACK_SHARE = 20
RESULTS = Path(__file__).parent / "results" / "scoring.json"

Floats = NDArray[np.float64]
Moments = tuple[Floats, Floats]


def _make(folder: Path, n_rows: int) -> None:
    """Write the features of the pool and of the labels, and the labels, which lie in [0, 1]."""
    magpie = fast("ElementProperty", {"preset": "magpie"})
    assert magpie is not None
    is_known = np.isfinite(magpie.values([{symbol: 1.0} for symbol in SYMBOLS])).all(axis=1)
    symbols = np.array(SYMBOLS)[is_known]
    rng = np.random.default_rng(0)

    def features(n: int) -> Floats:
        n_elements = rng.integers(2, 6, size=n)
        picks = rng.permuted(np.tile(np.arange(len(symbols)), (n, 1)), axis=1)[:, :5]
        amounts = rng.integers(1, 9, size=(n, 5)).astype(float)
        rows = zip(symbols[picks].tolist(), amounts.tolist(), n_elements.tolist(), strict=True)
        return magpie.values([dict(zip(names[:k], some[:k], strict=True)) for names, some, k in rows])

    X = features(N_LABELS)
    Z = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
    y = np.tanh(Z[:, ::11] @ rng.normal(size=12)) + 0.5 * Z[:, 5] * Z[:, 40] + 0.05 * rng.normal(size=N_LABELS)
    np.savez(folder / "labels.npz", X=X, y=(y - y.min()) / np.ptp(y))
    pool = np.lib.format.open_memmap(folder / "X.npy", mode="w+", dtype=np.float64, shape=(n_rows, X.shape[1]))
    for start in range(0, n_rows, BLOCK):
        pool[start : start + BLOCK] = features(min(BLOCK, n_rows - start))
    assert np.isfinite(pool[:BLOCK]).all()


def _labels(folder: Path) -> Moments:
    with np.load(folder / "labels.npz", allow_pickle=False) as file:
        return file["X"], file["y"]


def _sklearn(folder: Path) -> RandomForestRegressor:
    seed = int(np.random.default_rng(0).integers(2**31))  # as `RandomForest.fit` draws it
    return RandomForestRegressor(N_TREES, n_jobs=-1, random_state=seed).fit(*_labels(folder))


def _ours(folder: Path) -> Callable[[], Moments]:
    model = RandomForest(RandomForest.Options(n_trees=N_TREES)).fit(*_labels(folder), rng=np.random.default_rng(0))

    def score() -> Moments:
        mean, std = np.empty((2, _n_rows(folder)))
        for start in range(0, len(mean), BLOCK):
            prediction = model.predict(read_rows(folder / "X.npy", start, start + BLOCK))
            rows = slice(start, start + BLOCK)
            mean[rows], std[rows] = prediction.mean[:, 0], prediction.std[:, 0]
        return mean, std

    return score


def _n_rows(folder: Path) -> int:
    return len(np.load(folder / "X.npy", mmap_mode="r", allow_pickle=False))


def _single(folder: Path) -> NDArray[np.float32]:
    """The whole matrix; read by blocks, since the pages of a memory map would count as this process's memory."""
    X = np.empty((_n_rows(folder), 132), dtype=np.float32)
    for start in range(0, len(X), BLOCK):
        X[start : start + BLOCK] = read_rows(folder / "X.npy", start, start + BLOCK)
    return X


def _moments(total: Floats, squares: Floats) -> Moments:
    mean = total / N_TREES
    return mean, np.sqrt(np.maximum(squares / N_TREES - mean**2, 0.0))


def _threads(folder: Path) -> Callable[[], Moments]:
    forest, lock = _sklearn(folder), threading.Lock()

    def score() -> Moments:
        X = _single(folder)
        total, squares = np.zeros((2, len(X)))

        def add(tree: Any) -> None:
            nonlocal total, squares
            predicted = tree.tree_.predict(X)[:, 0]
            with lock:
                total += predicted
                squares += predicted * predicted

        joblib.Parallel(n_jobs=-1, require="sharedmem")(joblib.delayed(add)(tree) for tree in forest.estimators_)
        return _moments(total, squares)

    return score


def _threads_rows(folder: Path) -> Callable[[], Moments]:
    forest = _sklearn(folder)

    def score() -> Moments:
        X = _single(folder)
        total, squares = np.zeros((2, len(X)))

        def add(rows: slice) -> None:
            for tree in forest.estimators_:
                predicted = tree.tree_.predict(X[rows])[:, 0]
                total[rows] += predicted
                squares[rows] += predicted * predicted

        blocks = [slice(start, start + BLOCK) for start in range(0, len(X), BLOCK)]
        joblib.Parallel(n_jobs=-1, require="sharedmem")(joblib.delayed(add)(rows) for rows in blocks)
        return _moments(total, squares)

    return score


def _stack(folder: Path) -> Callable[[], Moments]:
    forest = _sklearn(folder)

    def score() -> Moments:
        X = read_rows(folder / "X.npy", 0, -(-_n_rows(folder) // STACK_SHARE))
        predicted = np.stack([tree.predict(X) for tree in forest.estimators_])
        return predicted.mean(axis=0), predicted.std(axis=0)

    return score


WAYS = {"ours": _ours, "threads": _threads, "threads_rows": _threads_rows, "stack": _stack}


def _rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _work(way: str, folder: Path) -> None:
    """Measure one way in this process; print JSON."""
    score = WAYS[way](folder)
    before_mb = _rss_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    mean, std = score()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = {"wall_s": wall, "cpu_s": cpu, "peak_rss_mb": _rss_mb(), "rss_before_mb": before_mb}
    np.savez(folder / f"{way}.npz", mean=mean, std=std)
    print(json.dumps(found))


def _run(arguments: list[str], folder: Path) -> str:
    command = [sys.executable, __file__, "--folder", str(folder), *arguments]
    # Machine code kept in a folder of our own: the first run has to make it.
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "numba")}
    return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout


def _difference(folder: Path, way: str) -> float:
    files = (np.load(folder / f"{name}.npz", allow_pickle=False) for name in ("ours", way))
    with next(files) as ours, next(files) as theirs:
        n = len(theirs["mean"])
        return float(max(np.abs(ours[name][:n] - theirs[name]).max() for name in ("mean", "std")))


def _measure(folder: Path, n_rows: int, repeats: int) -> dict[str, Any]:
    """Medians over the repeats; the ways take turns, so that a busy moment of the machine hits all."""
    _run(["--make", "1"], folder)
    first_s = json.loads(_run(["--work", "ours"], folder))["wall_s"]
    again_s = json.loads(_run(["--work", "ours"], folder))["wall_s"]
    _run(["--make", str(n_rows)], folder)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            one = json.loads(_run(["--work", way], folder))
            share = n_rows / -(-n_rows // STACK_SHARE) if way == "stack" else 1.0
            found[way].append(one | {name: share * one[name] for name in ("wall_s", "cpu_s")})
            print(f"{way}: {found[way][-1]['wall_s']:.1f} s, {found[way][-1]['cpu_s']:.1f} s of CPU", flush=True)
    ways = {
        way: {name: round(statistics.median(one[name] for one in times), 2) for name in times[0]}
        for way, times in found.items()
    }
    return {
        "first_prediction_s": {"code_to_compile": round(first_s, 2), "code_on_disk": round(again_s, 2)},
        "ways": ways,
        "times_faster": {
            way: {name: round(ways[way][name] / ways["ours"][name], 2) for name in ("wall_s", "cpu_s")}
            for way in WAYS
            if way != "ours"
        },
        "largest_difference": {way: float(f"{_difference(folder, way):.1e}") for way in WAYS if way != "ours"},
    }


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    for inner in ("--folder", "--make", "--work"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        return _make(Path(arguments.folder), int(arguments.make))
    if arguments.work:
        return _work(arguments.work, Path(arguments.folder))
    with tempfile.TemporaryDirectory() as folder:
        measured = _measure(Path(folder), arguments.rows, arguments.repeats)
    result = {
        "rows": arguments.rows,
        "features": 132,
        "trees": N_TREES,
        "labels": N_LABELS,
        "repeats": arguments.repeats,
        "cores": joblib.cpu_count(),
        "stack": f"measured on a {STACK_SHARE}th of the rows; its times are scaled, its memory is not",
        **measured,
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("numba", "numpy", "scikit-learn")},
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))
    return None


if __name__ == "__main__":
    main()
