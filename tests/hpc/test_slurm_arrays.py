"""Arrays on a real SLURM, here and behind ssh."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hpc_jobs import hpc_job
from slurm_cluster import SlurmCluster
from ssh_server import SshServer

from active_learning.domain.job import Job, JobPhase
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.names import Handle
from active_learning.submitters.batch.slurm import Slurm
from active_learning.testing.waiting import wait_for

PATIENCE_S = 120.0
NAMES = ("plain", "a b; 'c'", "$(touch hacked)", "two\nlines")


def make_jobs(folder: Path) -> list[Job]:
    return [hpc_job(folder / name, "echo", {"answer": i}, name=name) for i, name in enumerate(NAMES)]


def until_all_ended(submitter: Slurm, handles: list[str]) -> None:
    def are_over() -> bool:
        return all(report.phase is JobPhase.ENDED for report in submitter.poll(handles).values())

    wait_for("all to end", are_over, PATIENCE_S)


def answers(folder: Path) -> list[object]:
    outcomes = [JobDirectory(folder / name).outcome() for name in NAMES]
    return [outcome.result["answer"] if outcome and outcome.result else None for outcome in outcomes]


def test_each_task_is_a_job_of_its_own(slurm: SlurmCluster, tmp_path: Path) -> None:
    submitter, jobs = Slurm(Slurm.Options()), make_jobs(tmp_path)
    jobs.append(hpc_job(tmp_path / "late", "sleep", {"seconds": 600}, name="late", timeout_s=1.0))
    jobs += [hpc_job(tmp_path / name, "sleep", {"seconds": 600}, name=name) for name in ("one", "other")]
    handles = submitter.submit_many(jobs)
    assert set(handles) == {job.name for job in jobs}
    assert {submitter.find(job) for job in jobs} == set(handles.values())
    for name in ("one", "other"):
        wait_for("the job to start", (tmp_path / name / "pids").exists, PATIENCE_S)
    submitter.cancel([handles["one"]])
    until_all_ended(submitter, [handles[name] for name in (*NAMES, "late", "one")])
    assert answers(tmp_path) == [0, 1, 2, 3]
    reports = submitter.poll(list(handles.values()))
    failures = {name: reports[handle].failure for name, handle in handles.items()}
    kinds = {name: failure.kind for name, failure in failures.items() if failure is not None}
    assert kinds == {"late": FailureKind.TIMEOUT, "one": FailureKind.CANCELLED}
    assert reports[handles["other"]].phase is JobPhase.RUNNING
    submitter.cancel([handles["other"]])
    assert not list(Path.cwd().glob("hacked"))


def test_an_array_that_is_cancelled_before_it_begins_is_cancelled_job_by_job(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    submitter = Slurm(Slurm.Options(header=("--hold",)))
    jobs = [hpc_job(tmp_path / f"job-{i}", "echo", name=f"job-{i}") for i in range(40)]
    handles = list(submitter.submit_many(jobs).values())
    submitter.cancel(handles)
    until_all_ended(submitter, handles)
    failures = [report.failure for report in submitter.poll(handles).values()]
    assert [failure and failure.kind for failure in failures] == [FailureKind.CANCELLED] * 40


SLOW_SBATCH = """#!/bin/sh
touch "{folder}/called"
while [ ! -e "{folder}/go" ]; do sleep 0.05; done
exec {real} "$@"
"""
CAMPAIGN = """
import sys
from pathlib import Path
from active_learning.domain.job import Resources
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.slurm import Slurm
jobs = [JobDirectory(Path(sys.argv[1], name)).job(name, Resources(300.0)) for name in sys.argv[2:]]
Slurm(Slurm.Options()).submit_many(jobs)
"""


def test_an_array_that_outlives_the_killed_campaign_is_adopted(slurm: SlurmCluster, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    (programs / "sbatch").write_text(SLOW_SBATCH.format(folder=tmp_path, real=real))
    (programs / "sbatch").chmod(0o700)
    jobs = make_jobs(tmp_path / "jobs")
    arguments = [sys.executable, "-c", CAMPAIGN, str(tmp_path / "jobs"), *NAMES]
    with subprocess.Popen(arguments, env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}) as campaign:
        wait_for("sbatch to be called", (tmp_path / "called").exists, PATIENCE_S)
        campaign.kill()
    submitter = Slurm(Slurm.Options())
    for job in jobs:
        with pytest.raises(BackendError, match="still on its way"):
            submitter.find(job)
    (tmp_path / "go").touch()
    handles: list[str] = []

    def are_found() -> bool:
        try:
            handles[:] = [handle for job in jobs if (handle := submitter.find(job)) is not None]
        except BackendError:
            return False
        return True

    wait_for("the submission to end", are_found, PATIENCE_S)
    assert len(handles) == len(jobs)
    parsed = [Handle.parse(handle) for handle in handles]
    assert len({handle.id.partition("_")[0] for handle in parsed if handle is not None}) == 1
    until_all_ended(submitter, handles)
    assert answers(tmp_path / "jobs") == [0, 1, 2, 3]


def test_an_array_behind_ssh_comes_back_job_by_job(
    sshd: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sshd.folder))
    options = {"host": "cluster", "directory": str(tmp_path / "far away"), "python": sys.executable}
    submitter = Slurm(Slurm.Options.model_validate(options | {"ssh_config": str(sshd.config)}))
    jobs = make_jobs(tmp_path / "here")
    handles = submitter.submit_many(jobs)
    assert {submitter.find(job) for job in jobs} == set(handles.values())
    until_all_ended(submitter, list(handles.values()))
    assert answers(tmp_path / "here") == [0, 1, 2, 3]
