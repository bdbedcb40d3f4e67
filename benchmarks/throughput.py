"""Many quick jobs through SLURM and on this machine: jobs a second, and how much of the time is ours.

    python benchmarks/throughput.py                 # 1,000 jobs each; half an hour on two cores
    python benchmarks/throughput.py --jobs 50

A job computes nothing: what is measured is the way to it. Beside each campaign stands what people do without one, with
jobs of the same command: a loop of ``sbatch``, or ``xargs -P``. Of a campaign's wall time, from the first submission to
the last label, `ours` is the share that it takes beyond the loop's. SLURM is a real one of one node, started for this
(tests/helpers/slurm_cluster.py). Writes benchmarks/results/throughput.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "throughput.json"
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from slurm_cluster import SlurmCluster, running_cluster  # noqa: E402

from active_learning.domain.job import JobSpec, Resources  # noqa: E402
from active_learning.jobs import JobDirectory  # noqa: E402
from active_learning.store import CampaignStore  # noqa: E402

SLOTS = 2
LABELER = """
from active_learning.domain.job import JobSpec
from active_learning.domain.options import Options
from active_learning.labelers.results import measurement_from, read_result


class Quick:
    Options = Options
    units = {"number": "1"}

    def __init__(self, options):
        self.options = options

    def prepare(self, candidate):
        return JobSpec("quick_job:run", {"value": sum(candidate.amounts.values())})

    def parse(self, job_dir):
        return measurement_from(read_result(job_dir), "number", self.units, "quick")
"""
JOB = "def run(inputs):\n    return {'properties': {'number': inputs['value']}}\n"


def _campaign(folder: Path, n_jobs: int, submitter: Mapping[str, Any]) -> Path:
    folder.mkdir()
    (folder / "quick.py").write_text(LABELER)
    (folder / "quick_job.py").write_text(JOB)
    elements = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Fe", "Co", "Ti")
    pairs = [(a, b) for a in elements for b in elements if a < b]
    formulas = [f"{a}{n}{b}{m}" for n in range(1, 12) for m in range(1, 12) for a, b in pairs if n != m]
    (folder / "pool.csv").write_text("\n".join(["formula", *dict.fromkeys(formulas)]))
    kind, *options = submitter.items()
    tables = "\n".join(f"{key} = {json.dumps(value)}" for key, value in [kind, *options])
    path = folder / "quick.toml"
    path.write_text(
        f"""
        name = "quick"
        target = {{ property = "number", goal = "minimize" }}
        pool = {{ kind = "table", path = "pool.csv" }}
        features = {{ kind = "matminer", sets = ["magpie"] }}
        surrogate = {{ kind = "extra_trees", n_trees = 10 }}
        rounds = {{ initial = {n_jobs}, batch_size = 1, max_in_flight = {n_jobs} }}
        labeler = {{ kind = "quick:Quick" }}
        requests = {{ poll = 0.5, timeout = "10 min" }}
        stopping = {{ any = [{{ kind = "labels", max = {n_jobs} }}] }}

        [submitter]
        {tables}
        """
    )
    return path


def _through_a_campaign(folder: Path, n_jobs: int, submitter: Mapping[str, Any]) -> dict[str, Any]:
    path = _campaign(folder, n_jobs, submitter)
    motherlode = [sys.executable, "-m", "flows.cli"]
    subprocess.run([*motherlode, "run", str(path), "--no-prefect"], check=True, stdout=subprocess.DEVNULL)
    store = CampaignStore(f"sqlite:///{folder / 'quick.campaign' / 'campaign.db'}", "quick")
    facts, events = store.read(), store.events()
    store.close()
    assert len(facts.labels) == n_jobs
    begin = min(event.time for event in events if event.kind == "moved")
    submitted = max(event.time for event in events if event.data.get("state") == "RUNNING")
    end = max(event.time for event in events if event.kind == "labeled")
    wall = (end - begin).total_seconds()
    return {
        "wall_s": round(wall, 2),
        "jobs_per_s": round(n_jobs / wall, 2),
        "submitted_per_s": round(n_jobs / max((submitted - begin).total_seconds(), 1e-3), 2),
    }


def _prepared(folder: Path, n_jobs: int) -> list[Path]:
    """Directories of jobs like a campaign's, each with its run.sh."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "quick_job.py").write_text(JOB)
    made = []
    for number in range(n_jobs):
        directory = JobDirectory(folder / "jobs" / f"job-{number}")
        spec = JobSpec("quick_job:run", {"value": float(number)})
        directory.prepare(spec, directory.path.name, Resources(600), python_path=[str(folder)])
        made.append(directory.path)
    return made


def _by_hand(folder: Path, n_jobs: int, launch: Callable[[list[Path]], None]) -> dict[str, Any]:
    jobs = _prepared(folder, n_jobs)
    begin = time.perf_counter()
    launch(jobs)
    while not all((job / "exit_code").exists() for job in jobs):
        time.sleep(0.2)
    wall = time.perf_counter() - begin
    return {"wall_s": round(wall, 2), "jobs_per_s": round(n_jobs / wall, 2)}


def _sbatch_loop(jobs: list[Path]) -> None:
    for job in jobs:
        command = ["sbatch", "--quiet", "--output=scheduler.out", f"--chdir={job}", str(job / "run.sh")]
        subprocess.run(command, check=True, cwd=job)


def _xargs(jobs: list[Path]) -> None:
    scripts = "\0".join(str(job / "run.sh") for job in jobs)
    subprocess.run(["xargs", "-0", "-n", "1", "-P", str(SLOTS), "sh"], input=scripts, text=True, check=True)


def main() -> None:
    """Measure one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    n_jobs = parser.parse_args().jobs
    found: dict[str, Any] = {"n_jobs": n_jobs, "slots": SLOTS}
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as cluster_folder,
        tempfile.TemporaryDirectory() as folder,
        running_cluster(SlurmCluster(Path(cluster_folder), cores=SLOTS, remembers_s=7200)) as cluster,
    ):
        os.environ["SLURM_CONF"] = str(cluster.config)
        place = Path(folder)
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            "xargs": lambda: _by_hand(place / "xargs", n_jobs, _xargs),
            "processes": lambda: _through_a_campaign(
                place / "processes", n_jobs, {"kind": "processes", "workers": SLOTS}
            ),
            "local": lambda: _through_a_campaign(place / "local", n_jobs, {"kind": "local", "workers": SLOTS}),
            "sbatch loop": lambda: _by_hand(place / "sbatch", n_jobs, _sbatch_loop),
            "slurm": lambda: _through_a_campaign(place / "slurm", n_jobs, {"kind": "slurm"}),
        }
        for name, measure in measures.items():
            found[name] = measure()
            print(f"{name}: {found[name]}", flush=True)
    for ours, theirs in (("processes", "xargs"), ("local", "xargs"), ("slurm", "sbatch loop")):
        found[ours]["by_hand"] = theirs
        found[ours]["ours"] = round(1.0 - found[theirs]["wall_s"] / found[ours]["wall_s"], 3)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
