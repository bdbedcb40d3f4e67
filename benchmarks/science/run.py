"""How fast do the project's default and its peers find the best, or learn the whole, of five labeled tables?

    python benchmarks/science/run.py                          # hours on two cores; go on with the same command
    python benchmarks/science/run.py --methods "motherlode;random" --tables "band gap" --seeds 3
    python benchmarks/science/run.py --choose         # the variants that the default was chosen from

Every method starts from the same 20 random labels (one set for each table and seed) and asks for 5 at a time until it
has 120. Peers see the same descriptors and labels as we do, and are used as their own documentation says
(benchmarks/science/peers). Of each run the rows that were labeled are kept, in order; everything else follows from
them (benchmarks/science/summary.py). A run that is on disk is not run again: benchmarks/results/science/.

The default was chosen on three of the tables, on seeds that the comparison does not use; the other two confirm it.

Needs the packages of benchmarks/science/requirements.txt and the tables in ../shared/data beside this repository.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from methods import CAMPAIGNS, OURS, PEERS, VARIANTS, campaign_tables
from peers import choose_checked, load_peer
from tables import TABLES, Table

from active_learning.evaluation.ground import Ground
from active_learning.evaluation.replay import replay
from active_learning.evaluation.replayed import Order

_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
RESULTS = Path(__file__).parents[1] / "results" / "science"
GOALS = ("maximize", "learn")
N_FIRST, BATCH, N_LABELS = 20, 5, 120
CHOICE_TABLES = ("formation enthalpy", "band gap", "diffusion barrier")
CHOICE_SEEDS = range(100, 104)


@dataclass(frozen=True)
class Task:
    """One run."""

    table: str
    goal: str
    method: str
    seed: int

    @property
    def path(self) -> Path:
        """Where its result is kept."""
        folder = RESULTS / "runs" / self.table.replace(" ", "_") / self.goal
        return folder / f"{self.method.replace(' ', '_').replace(',', '')}-{self.seed}.json"


@cache
def table_of(name: str) -> Table:
    """A table, read once a process."""
    return TABLES[name]()


def first_rows(table: Table, seed: int) -> list[int]:
    """The rows whose labels every method starts from."""
    return np.random.default_rng([seed, 1]).choice(len(table.y), N_FIRST, replace=False).tolist()


def _campaign(task: Task, table: Table) -> list[int]:
    """Rows in the order they were labeled, by the project's own engine."""
    goal = {"maximize": "maximize" if table.is_maximized else "minimize"}.get(task.goal, task.goal)
    tables = campaign_tables(task.method, goal, n_first=N_FIRST, batch_size=BATCH, n_labels=N_LABELS)
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground.of_arrays(Path(folder) / "ground", table.names, table.X, table.y)
        order = Order(
            task.method, task.seed, tables, Path(__file__), table.unit, told=tuple(first_rows(table, task.seed))
        )
        return [int(row) for row in replay(ground, order, Path(folder) / "replay").rows]


def _peer(task: Task, table: Table) -> tuple[list[int], Counter[str]]:
    """Rows in the order they were labeled, and what the library complained of."""
    peer = load_peer(task.method, task.goal)  # type: ignore[arg-type]
    rng = np.random.default_rng([task.seed, 2])
    rows, warnings = first_rows(table, task.seed), Counter[str]()
    merit = table.merit if task.goal == "maximize" else table.y
    while len(rows) < N_LABELS:
        labeled = np.array(rows, dtype=np.int64)
        choice = choose_checked(peer, table.X, labeled, merit[labeled], min(BATCH, N_LABELS - len(rows)), rng)
        rows += [int(row) for row in choice.rows]
        warnings += choice.warnings
    return rows, warnings


def run(task: Task) -> dict[str, Any]:
    """Run, and keep the result; a failure is kept too, and run again next time. What another process did meanwhile is
    not done again."""
    if is_done(task):
        known: dict[str, Any] = json.loads(task.path.read_text())
        return known
    table, began, cpu = table_of(task.table), time.perf_counter(), time.process_time()
    found: dict[str, Any] = asdict(task)
    try:
        if task.method in CAMPAIGNS:
            rows, warnings = _campaign(task, table), Counter[str]()
        else:
            rows, warnings = _peer(task, table)
        found |= {"rows": rows, "warnings": dict(warnings)}
    except Exception as error:  # noqa: BLE001 - a peer may raise anything, and one run must not end the others
        found |= {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    found |= {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - began}
    task.path.parent.mkdir(parents=True, exist_ok=True)
    written = task.path.with_suffix(".part")
    written.write_text(json.dumps(found))
    written.replace(task.path)
    return found


def is_done(task: Task) -> bool:
    """Whether its result is there."""
    return task.path.is_file() and "rows" in json.loads(task.path.read_text())


def _tasks(given: argparse.Namespace) -> list[Task]:
    """What is asked for; the first seed of all before the second."""
    seeds = CHOICE_SEEDS if given.choose else range(given.seeds)
    tables = CHOICE_TABLES if given.choose else given.tables.split(";")
    return [
        Task(table, goal, method, seed)
        for seed in seeds
        for goal in given.goals.split(";")
        for table in tables
        for method in (["random", *VARIANTS[goal]] if given.choose else given.methods.split(";"))
    ]


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=";".join([OURS, *PEERS]), help="with semicolons between them")
    parser.add_argument("--tables", default=";".join(TABLES), help="the same")
    parser.add_argument("--goals", default=";".join(GOALS), help="the same")
    parser.add_argument("--choose", action="store_true", help="run the variants on the tables and seeds to choose by")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    tasks = _tasks(given)
    missing = [task for task in tasks if not is_done(task)]
    print(f"{len(tasks) - len(missing)} of {len(tasks)} runs are there")
    # Each run has one core to itself: the processes that are started read this before they load numpy.
    os.environ.update(dict.fromkeys(_LIMITS, "1"))
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(run, task): task for task in missing}
        for count, future in enumerate(as_completed(futures), 1):
            task, found = futures[future], future.result()
            said = found.get("error", f"{found['cpu_s']:.1f} s")
            print(f"{count}/{len(missing)} {task.table}, {task.goal}, {task.method}, {task.seed}: {said}", flush=True)


if __name__ == "__main__":
    main()
