"""What a campaign takes as its pool grows: seconds, memory and disk of each step, for 10^4, 10^5 and 10^6 candidates.

    python benchmarks/growth.py                          # about six minutes on two quiet cores, 4 GB of disk
    python benchmarks/growth.py --sizes 10000 100000

The pool is `compositions` on a grid, the features are magpie's 132. The steps are the engine's own, each in a process
of its own, as `motherlode tick` would carry them out one by one: the pool, the features, the first design (50), its
labels told, a learned round (500 trees), then `status`, `report` and two exports as they are typed. The seconds of a
step are those of the step itself, those of a command are of the whole process; memory is the most of its process,
libraries and all. At 10^5 the naive way stands beside it: a list of pymatgen compositions and matminer's
`featurize_dataframe`, timed on a sample of it and scaled. Writes benchmarks/results/growth.json and prints a Markdown
table.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from grid_campaign import grid_of, hardness, write_campaign
from measuring import apart, cpu_s, megabytes, say, versions

from active_learning.api import Campaign
from active_learning.api.telling import Told
from active_learning.domain.candidate import Candidate
from active_learning.domain.request import RequestState
from active_learning.engine.deciding import next_action
from active_learning.engine.performing import perform

SIZES = (10_000, 100_000, 1_000_000)
STEPS = {"pool": "BuildPool", "features": "Featurize", "first design": "OpenRound", "tell": "", "round": "OpenRound"}
"""Step -> the action it carries out; labels are told, which is no action."""
COMMANDS = {
    "status": ("status",),
    "report": ("report",),
    "export best": ("export", "best"),
    "export labels": ("export", "labels"),
}
NAIVE_AT = 100_000
N_NAIVE_SAMPLE = 2_000
RESULTS = Path(__file__).parent / "results" / "growth.json"


def _act(campaign: Campaign, expected: str) -> dict[str, Any]:
    """Carry out the campaign's next action, which is known."""
    with campaign.work() as bench:
        bench.is_asked = True
        started = time.perf_counter()
        action = next_action(bench.snapshot())
        decide_s = time.perf_counter() - started
        if type(action).__name__ != expected:
            raise SystemExit(f"{expected} was expected, the campaign wants {action}")
        return {"said": perform(bench, action), "decide_s": round(decide_s, 3)}


def _tell(campaign: Campaign) -> dict[str, Any]:
    """Tell the labels of all that is planned."""
    pool = campaign.pool()
    planned = [r.candidate_id for r in campaign.store.read().requests if r.state is RequestState.PLANNED]
    labels = [Told(one, hardness(pool.candidate(one).amounts)) for one in planned]
    return {"said": f"{campaign.tell(labels)[0]} labels told"}


def _step(name: str, file: Path) -> dict[str, Any]:
    """A step in this process, and what it took once all libraries were there."""
    with Campaign.create(file) as campaign:
        before, started, cpu = psutil.Process().memory_info().rss, time.perf_counter(), cpu_s()
        found = _act(campaign, STEPS[name]) if STEPS[name] else _tell(campaign)
        return found | {
            "seconds": round(time.perf_counter() - started, 2),
            "own_cpu_s": round(cpu_s() - cpu, 2),
            "children_cpu_s": round(cpu_s(resource.RUSAGE_CHILDREN), 2),
            "before_mb": megabytes(before),
        }


def _naive(size: int) -> dict[str, Any]:
    """A list of compositions, and matminer's data frame of a sample of them."""
    import pandas as pd
    from matminer.featurizers.composition import ElementProperty
    from pymatgen.core.composition import Composition

    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    compositions = [Composition(dict(one.amounts)) for one in _candidates(size)]
    list_s, list_bytes = time.perf_counter() - started, psutil.Process().memory_info().rss - before
    sample = pd.DataFrame({"composition": compositions[:: len(compositions) // N_NAIVE_SAMPLE]})
    featurizer = ElementProperty.from_preset("magpie", impute_nan=False)
    featurizer.set_n_jobs(1)
    started, cpu = time.perf_counter(), cpu_s()
    table = featurizer.featurize_dataframe(sample, "composition", pbar=False)
    scale = len(compositions) / len(sample)
    return {
        "n_candidates": len(compositions),
        "list_s": round(list_s, 2),
        "list_mb": megabytes(list_bytes),
        "bytes_a_composition": round(list_bytes / len(compositions)),
        "featurized": f"{len(sample)} on one process, scaled",
        "featurize_s": round((time.perf_counter() - started) * scale, 1),
        "featurize_cpu_s": round((cpu_s() - cpu) * scale, 1),
        "table_mb": megabytes(int(table.memory_usage(deep=False).sum()) * scale),
    }


def _candidates(size: int) -> Iterator[Candidate]:
    from active_learning.pools.compositions import Compositions

    pool = Compositions(Compositions.Options.model_validate(grid_of(size)))
    return (item for item in pool.read() if isinstance(item, Candidate))


def _campaign(size: int) -> dict[str, Any]:
    """All steps of one campaign, each in a process of its own."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = write_campaign(folder, size)
        this = [sys.executable, str(Path(__file__)), "--file", str(file), "--step"]
        for step in STEPS:
            found[step] = apart([*this, step], folder)
            took = found[step]
            print(f"{took['said']}: {took['seconds']} s, {took['peak_mb']:.0f} MB", flush=True)
        for what, command in COMMANDS.items():
            output = [] if what == "status" else ["--output", str(folder / f"{what.replace(' ', '-')}.{_ending(what)}")]
            found[what] = apart([sys.executable, "-m", "flows.cli", command[0], str(file), *command[1:], *output])
            print(f"{what}: {found[what]['process_s']} s, {found[what]['peak_mb']:.0f} MB", flush=True)
        with Campaign.open(file) as campaign:
            n_candidates = len(campaign.pool())
    return {"n_candidates": n_candidates, "grid": grid_of(size), "steps": found}


def _ending(what: str) -> str:
    return "html" if what == "report" else "csv"


def _bytes_a_candidate(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How much more the process of each step has for each candidate, from the smallest pool to the largest."""
    if len(runs) < 2:
        return {}
    small, large = runs[0], runs[-1]
    n = large["n_candidates"] - small["n_candidates"]
    return {
        step: {
            kind: round((large["steps"][step][kind] - small["steps"][step][kind]) * 1e6 / n)
            for kind in ("peak_mb", "private_mb")
        }
        for step in large["steps"]
    }


def _table(runs: list[dict[str, Any]]) -> str:
    lines = [
        "| candidates | step | seconds | CPU s | of children | peak MB | private MB | largest child MB | disk MB |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in runs:
        for step, took in run["steps"].items():
            cells = [
                f"{run['n_candidates']:,}",
                step,
                f"{took.get('seconds', took['process_s']):.1f}",
                f"{took.get('own_cpu_s', took['process_cpu_s']):.1f}",
                f"{took['children_cpu_s']:.1f}" if took.get("children_cpu_s") else "",
                f"{took['peak_mb']:,.0f}",
                f"{took['private_mb']:,.0f}",
                f"{took['child_peak_mb']:,.0f}" if took["child_peak_mb"] else "",
                f"{took['disk_peak_mb']:,.0f}, then {took['disk_after_mb']:,.0f}" if "disk_peak_mb" in took else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the result; or carry out one step, for the process that measures it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="candidates, at least")
    parser.add_argument("--step", choices=[*STEPS, "naive"], help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        say(_naive(arguments.sizes[0]) if arguments.step == "naive" else _step(arguments.step, arguments.file))
        return
    runs = [_campaign(size) for size in sorted(arguments.sizes)]
    result: dict[str, Any] = {"runs": runs, "bytes_a_candidate": _bytes_a_candidate(runs)}
    if NAIVE_AT in arguments.sizes:
        command = [sys.executable, str(Path(__file__)), "--step", "naive", "--sizes", str(NAIVE_AT)]
        result["naive"] = apart(command)
    result["versions"] = versions("motherlode", "numpy", "matminer", "pymatgen", "pyarrow")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(_table(runs))
    print(json.dumps({key: result[key] for key in ("bytes_a_candidate", "naive") if key in result}, indent=1))


if __name__ == "__main__":
    main()
