"""Whole campaigns on a real SLURM: killed again and again, and labeled by a real pw.x under Prefect."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hpc_need import need
from killing import Deaths, facts_of, kill_until_it_ends, values
from slurm_cluster import SlurmCluster, running_cluster, what_is_missing

from active_learning.api.campaign import Campaign
from active_learning.config import read_campaign_file
from active_learning.domain.request import Purpose, RequestState
from active_learning.engine.assembly import assemble
from active_learning.testing.fakes import tiny_campaign, without_workers
from active_learning.testing.waiting import wait_for

N_KILLS = 30
LONGEST_S = 1.0
PSEUDO = Path("/usr/share/espresso/pseudo")


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    """A SLURM that remembers every job of a test."""
    need(what_is_missing())
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        running_cluster(SlurmCluster(Path(folder), cores=2, remembers_s=7200)) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SLURM_CONF", str(cluster.config))
        yield cluster


def submissions(cluster: SlurmCluster) -> Counter[str]:
    """How often each job, by its name and its number in an array, stands in the queue's memory."""
    listed = cluster.run("squeue", "--noheader", "--states=all", "--array", "--format=%j/%K")
    assert listed.returncode == 0, listed.stderr
    return Counter(listed.stdout.split())


@pytest.mark.slow
def test_30_kills_on_a_real_slurm_cost_no_label_and_no_job_is_submitted_twice(
    tmp_path: Path, motherlode: Any, cluster: SlurmCluster, say: Callable[[str], None]
) -> None:
    tables: dict[str, Any] = {
        "pool": {"kind": "active_learning.testing.fakes:TinyPool", "n": 60},
        "rounds": {"initial": 4, "batch_size": 2, "max_in_flight": 2},
        "requests": {"poll": 0.2, "timeout": 120, "memory": "600 MB", "lost_retries": 50},
        "stopping": {"any": [{"kind": "labels", "max": 16}]},
    }
    calm = tiny_campaign(tmp_path / "calm", name="calm", submitter={"kind": "inline"}, **tables)
    without_workers(Campaign.create(calm)).close()
    assert motherlode("run", calm, "--no-prefect", cwd=tmp_path).status == 0
    before, rng, deaths, n_jobs, n_ends = submissions(cluster), random.Random(11), Deaths(), 0, 0
    while deaths.n_killed < N_KILLS:
        n_ends += 1
        name = f"killed-{n_ends}"
        path = tiny_campaign(tmp_path / name, name=name, submitter={"kind": "slurm"}, **tables)
        without_workers(Campaign.create(path)).close()
        env = {"SLURM_CONF": str(cluster.config)}
        facts = kill_until_it_ends(motherlode, path, rng, deaths, longest_s=LONGEST_S, env=env)
        assert values(facts) == values(facts_of(calm))
        assert {request.state for request in facts.requests} == {RequestState.SUCCEEDED}
        n_jobs += len(facts.requests)
    made = submissions(cluster) - before
    assert max(made.values()) == 1, f"submitted twice: {made.most_common(3)}"
    # A job that stood there alone and in an array would be one too many.
    assert made.total() == n_jobs
    say(f"{dict(deaths)}; {n_ends} campaigns ended as if undisturbed; {n_jobs} jobs on SLURM, none submitted twice")


@pytest.mark.slow
def test_a_campaign_is_labeled_by_pw_x_through_sbatch_under_prefect(
    tmp_path: Path, motherlode: Any, cluster: SlurmCluster, prefect_home: dict[str, str]
) -> None:
    need(None if shutil.which("pw.x") and PSEUDO.is_dir() else "not installed: pw.x, or its pseudopotentials")
    file = tmp_path / "al-mg.toml"
    file.write_text(
        f"""
        name = "al-mg"
        target = {{ property = "formation_energy_per_atom", goal = "minimize" }}
        pool = {{ kind = "prototypes", elements = ["Al", "Mg"], max_atoms = 4 }}
        features = {{ kind = "matminer", sets = ["magpie", "density"] }}
        surrogate = {{ kind = "extra_trees", n_trees = 50 }}
        rounds = {{ initial = 4, batch_size = 2, max_in_flight = 2 }}
        submitter = {{ kind = "slurm", python = {json.dumps(sys.executable)} }}
        requests = {{ timeout = "5 min", memory = "1 GB", poll = 0.5, retries = 1 }}
        stopping = {{ any = [{{ kind = "labels", max = 8 }}] }}

        [labeler]
        kind = "espresso"
        pseudo_dir = "{PSEUDO}"
        pseudopotentials = {{ Al = "Al.pz-vbc.UPF", Mg = "Mg.pz-n-vbc.UPF" }}
        ecutwfc = 12
        kspacing = 0.5
        """
    )
    env = prefect_home | {"SLURM_CONF": str(cluster.config)}
    end = motherlode.cold("run", file, "--keep-server", cwd=tmp_path, env=env).wait(900)
    assert end.status == 0, end.err
    with Campaign.open(file) as campaign:
        facts = campaign.store.read()
        status = campaign.status()
    labels = {x.candidate_id: x for x in facts.labels if x.property == "formation_energy_per_atom"}
    candidates = [r for r in facts.requests if r.purpose is Purpose.CANDIDATE and r.state is RequestState.SUCCEEDED]
    assert len(candidates) >= 8
    for request in candidates:
        label = labels[request.candidate_id]
        assert -1.0 < label.value < 1.0
        assert label.provenance["code"] == "pw.x"
        assert label.request_id == request.id
        assert request.handle is not None
        assert " submitted " in request.handle
        assert request.queued_s is not None
        assert request.ran_s is not None
        assert request.ran_s > 0
    assert status["cost"]["used_core_s"] > 0
    assert {r.formula for r in facts.requests if r.purpose is Purpose.REFERENCE} == {"Al", "Mg"}


PROGRAM = """
import json, os, sys, time
from pathlib import Path
formula = json.loads(Path("candidate.json").read_text())["formula"]
match formula:
    case "Al":
        sys.exit("the program does not like Al")
    case "Cu":
        Path("labels.json").write_text('{"failure": {"kind": "unconverged", "detail": "100 cycles"}}')
    case "Ag":
        Path("running-Ag").touch()
        time.sleep(600)
    case "Au":
        time.sleep(600)
    case "Ni":
        hoard = bytearray(os.urandom(900_000_000))
        time.sleep(60)
    case "Pd":
        Path("labels.json").write_text('{"properties": {"number": NaN}}')
    case _:
        Path("labels.json").write_text('{"properties": {"number": 1.5}}')
"""


@pytest.mark.slow
def test_of_jobs_that_end_badly_each_is_reported_as_what_it_is(
    tmp_path: Path, motherlode: Any, cluster: SlurmCluster
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pool.csv").write_text("formula\n" + "\n".join(["Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Fe"]))
    file = tmp_path / "bad-ends.toml"
    file.write_text(
        """
        name = "bad-ends"
        target = { property = "number", goal = "maximize" }
        pool = { kind = "table", path = "pool.csv" }
        features = { kind = "matminer", sets = ["magpie"] }
        surrogate = { kind = "extra_trees", n_trees = 10 }
        rounds = { initial = 8, batch_size = 1, max_in_flight = 8 }
        submitter = { kind = "slurm" }
        requests = { timeout = "20 s", memory = "500 MB", poll = 0.5, retries = 0 }
        stopping = { any = [{ kind = "labels", max = 8 }] }

        [labeler]
        kind = "script"
        command = ["{python}", "program.py"]
        files = ["program.py"]
        format = "none"
        properties = { number = "1" }
        """
    )
    env = {"SLURM_CONF": str(cluster.config)}
    run = motherlode.cold("run", file, "--no-prefect", cwd=tmp_path, env=env)
    running = "bad-ends.campaign/jobs/*/running-Ag"
    wait_for("the job of Ag to run", lambda: any(tmp_path.glob(running)), 120)
    with Campaign.open(file) as campaign:
        (handle,) = (r.handle for r in campaign.store.read().requests if r.formula == "Ag")
    assert handle is not None
    assert cluster.run("scancel", handle.split()[0]).returncode == 0
    end = run.wait(300)
    assert end.status == 0, end.err
    with Campaign.open(file) as campaign:
        facts = campaign.store.read()
        status = campaign.status()
    failures = {r.formula: r.failure for r in facts.requests if r.failure is not None}
    assert {formula: str(failure.kind) for formula, failure in failures.items()} == {
        "Al": "crashed",
        "Cu": "unconverged",
        "Ag": "cancelled",
        "Au": "timeout",
        "Ni": "out_of_memory",
        "Pd": "unparsable",
    }
    assert "does not like Al" in failures["Al"].detail
    assert {label.candidate_id for label in facts.labels} == {
        r.candidate_id for r in facts.requests if r.formula in ("Pt", "Fe")
    }
    report = (file.parent / "bad-ends.campaign" / "report.html").read_text()
    for said in ("crashed", "unconverged", "cancelled", "timeout", "out_of_memory", "unparsable"):
        assert said in report, said
    assert status["n_failed"] == 6


def test_the_file_of_the_example_goes_to_slurm_by_changing_one_table(tmp_path: Path) -> None:
    need(None if shutil.which("pw.x") and PSEUDO.is_dir() else "not installed: pw.x, or its pseudopotentials")
    example = Path(__file__).parents[2] / "examples" / "espresso.toml"
    text = example.read_text()
    before, _, rest = text.partition("[submitter]")
    changed = tmp_path / "espresso.toml"
    changed.write_text(f'{before}[submitter]\nkind = "slurm"\n\n[requests]{rest.partition("[requests]")[2]}')
    assert type(assemble(read_campaign_file(changed)).submitter).__name__ == "Slurm"
