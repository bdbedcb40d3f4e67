"""Magpie descriptors of 100,000 compositions: ours against matminer's, side by side, on one thread.

    python benchmarks/magpie.py                  # about two minutes on two quiet cores
    python benchmarks/magpie.py --repeats 9

The compositions are the stoichiometries of matminer's 47,737 computed compounds (its transport database, which is
installed with it) with random elements in them, from among those of the compounds; seeded. Ours starts from mappings of
symbol to amount and ends with the matrix: all at once, where the memory of the matrix is new to the process and the
system's time to hand it over counts, and by 10,000 rows, which reuses it. Matminer's is timed on a sample, since it
takes minutes: from ready pymatgen compositions, from formulas as users have them, and by `featurize_dataframe` on one
process and on two. The script checks that both give the same numbers. Writes benchmarks/results/magpie.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import tarfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matminer.featurizers.composition import ElementProperty
from pymatgen.core.composition import Composition
from threadpoolctl import threadpool_limits

from active_learning.domain.elements import reduced_formula
from active_learning.featurizers.fast_compositions import FastComposition, fast

N = 100_000
N_SAMPLE = 3_000
CHUNK = 10_000
RESULTS = Path(__file__).parent / "results" / "magpie.json"

Amounts = dict[str, float]


def _compositions(n: int) -> list[Amounts]:
    folder = resources.files("matminer.utils.data_files") / "mp_transport"
    with (folder / "transport_database.tar.xz").open("rb") as stream, tarfile.open(fileobj=stream, mode="r:xz") as tar:
        table = tar.extractfile("transport_database.csv")
        assert table is not None
        formulas = [line.split(b",")[1].decode() for line in table.readlines()[1:]]
    real = [Composition(formula).get_el_amt_dict() for formula in formulas]
    symbols = sorted({symbol for one in real for symbol in one})
    rng = np.random.default_rng(0)
    found = []
    for place in rng.integers(len(real), size=n):
        counts = [real[place][symbol] for symbol in sorted(real[place])]
        elements = sorted(rng.choice(len(symbols), size=len(counts), replace=False))
        found.append({symbols[element]: float(count) for element, count in zip(elements, counts, strict=True)})
    return found


def _cpu() -> tuple[float, float]:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime for one in both), sum(one.ru_stime for one in both)


def _timed(work: Callable[[], Any], n: int) -> dict[str, float]:
    """Microseconds for each of `n` candidates; CPU time is that of this process and of its children that have ended."""
    user, system, started = *_cpu(), time.perf_counter()
    work()
    wall = time.perf_counter() - started
    user, system = (after - before for after, before in zip(_cpu(), (user, system), strict=True))
    return {"cpu": (user + system) / n * 1e6, "system": system / n * 1e6, "wall": wall / n * 1e6}


def _peak_mb(work: Callable[[], Any]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 1e6, 1)


def _frame(theirs: ElementProperty, compositions: list[Composition], n_jobs: int) -> pd.DataFrame:
    theirs.set_n_jobs(n_jobs)
    return theirs.featurize_dataframe(pd.DataFrame({"c": compositions}), "c", pbar=False)


def _chunked(ours: FastComposition, amounts: list[Amounts]) -> None:
    for first in range(0, len(amounts), CHUNK):
        ours.values(amounts[first : first + CHUNK])


def _largest_difference(ours: FastComposition, theirs: ElementProperty, sample: list[Amounts]) -> float:
    """Relative to the larger of 1 and the value; NaN in the same places is checked."""
    values = ours.values(sample)
    reference = np.array([theirs.featurize(Composition(one)) for one in sample])
    assert np.array_equal(np.isnan(values), np.isnan(reference))
    return float(np.nanmax(np.abs(values - reference) / np.maximum(1.0, np.abs(reference))))


def _measure(ways: Mapping[str, tuple[Callable[[], Any], int]], repeats: int) -> dict[str, dict[str, float]]:
    """Medians; the ways take turns, so that a busy moment of the machine hits all."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (work, n) in ways.items():
            found[name].append(_timed(work, n))
            print(f"{name}: {found[name][-1]['cpu']:.2f} µs of CPU a candidate", flush=True)
    return {
        name: {kind: round(statistics.median(one[kind] for one in times), 3) for kind in times[0]}
        for name, times in found.items()
    }


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    amounts = _compositions(N)
    sample = amounts[:: N // N_SAMPLE][:N_SAMPLE]
    ready = [Composition(one) for one in sample]
    formulas = [reduced_formula(one) for one in sample]
    started = time.perf_counter()
    ours = fast("ElementProperty", {"preset": "magpie"})
    build_s = time.perf_counter() - started
    assert ours is not None
    # `ElementProperty.from_preset("magpie")`, but for the averages that it puts where Magpie has no value.
    theirs = ElementProperty.from_preset("magpie", impute_nan=False)
    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "ours": (lambda: ours.values(amounts), N),
        "ours_by_10000": (lambda: _chunked(ours, amounts), N),
        "matminer_featurize": (lambda: [theirs.featurize(one) for one in ready], N_SAMPLE),
        "matminer_from_formulas": (lambda: [theirs.featurize(Composition(one)) for one in formulas], N_SAMPLE),
        "matminer_dataframe": (lambda: _frame(theirs, ready, 1), N_SAMPLE),
        "matminer_dataframe_2_processes": (lambda: _frame(theirs, ready, 2), N_SAMPLE),
    }
    with threadpool_limits(limits=1):
        medians = _measure(ways, repeats)
    result: dict[str, Any] = {
        "compositions": f"{N}: stoichiometries of matminer's transport database, random elements",
        "matminer_sample": N_SAMPLE,
        "repeats": repeats,
        "us_per_candidate": medians,
        "times_faster": {
            mine: {
                name: {kind: round(times[kind] / medians[mine][kind]) for kind in ("cpu", "wall")}
                for name, times in medians.items()
                if name.startswith("matminer")
            }
            for mine in ("ours", "ours_by_10000")
        },
        "build_s": round(build_s, 3),
        "largest_difference": float(f"{_largest_difference(ours, theirs, sample):.1e}"),
        "peak_mb": {
            "ours": _peak_mb(ways["ours"][0]),
            "of_which_the_matrix": round(N * len(ours.names) * 8 / 1e6, 1),
            "ours_by_10000": _peak_mb(ways["ours_by_10000"][0]),
            "matminer_from_formulas_3000": _peak_mb(ways["matminer_from_formulas"][0]),
        },
        "versions": {"python": platform.python_version(), **{n: metadata.version(n) for n in ("matminer", "numpy")}},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
