"""Jobs on a real SLURM behind a real sshd: files go there and come back, whole or not at all."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hpc_jobs import hpc_job
from ssh_server import SshServer

from active_learning.domain.job import Job, JobPhase
from active_learning.domain.label import FailureKind
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.names import Handle, batch_name
from active_learning.submitters.batch.slurm import Slurm
from active_learning.testing.submitters import Recipe, SubmitterContract
from active_learning.testing.waiting import wait_for

PATIENCE_S = 120.0


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """The folder of jobs "over there"."""
    return tmp_path / "over there; it's $(far)"


@pytest.fixture
def options(sshd: SshServer, remote: Path) -> dict[str, Any]:
    return {
        "host": "cluster",
        "directory": str(remote),
        "python": sys.executable,
        "ssh_config": str(sshd.config),
    }


@pytest.fixture
def submitter(options: dict[str, Any]) -> Slurm:
    return Slurm(Slurm.Options.model_validate(options))


@pytest.fixture(autouse=True)
def _own_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Shared connections of a test end with it."""
    with tempfile.TemporaryDirectory(prefix="ml-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield
        for path in Path(folder, f"motherlode-ssh-{os.getuid()}").glob("*"):
            subprocess.run(["ssh", "-O", "exit", "-S", str(path), "any"], capture_output=True, timeout=60)


def until(submitter: Slurm, handle: str, *phases: JobPhase) -> None:
    wait_for(f"one of {phases}", lambda: submitter.poll([handle])[handle].phase in phases, PATIENCE_S)


class TestSlurmBySsh(SubmitterContract):
    patience_s: ClassVar[float] = PATIENCE_S

    @pytest.fixture
    def recipe(self, options: dict[str, Any]) -> Recipe:
        return "active_learning.submitters.batch.slurm:Slurm", options

    @pytest.fixture(autouse=True)
    def _where(self, remote: Path) -> None:
        self.remote = remote

    def _pids(self, job: Job) -> list[int]:
        file = self.remote / batch_name(job) / "pids"
        wait_for("the job to start", file.exists, self.patience_s)
        return [int(pid) for pid in file.read_text().split()]


def test_files_go_there_and_come_back_for_their_owner_alone(submitter: Slurm, remote: Path, tmp_path: Path) -> None:
    job = hpc_job(tmp_path / "here" / "job", "sleep", {"seconds": 0})
    JobDirectory(tmp_path / "here" / "job").write("structure.cif", "a crystal")
    handle = submitter.submit(job)
    assert not (tmp_path / "here" / "job" / "pids").exists()
    until(submitter, handle, JobPhase.ENDED)
    there, here = remote / batch_name(job), tmp_path / "here" / "job"
    assert (there / "structure.cif").read_text() == "a crystal"
    for name in ("stdout", "stderr", "started", "result.json", "usage.json", "exit_code", "pids", "scheduler.out"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert (here / "started").stat().st_mtime == pytest.approx((there / "started").stat().st_mtime, abs=1.0)
    assert not (there / "batch_handle").exists()
    for folder in (there, here):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert not list(here.glob(".*"))


def test_a_folder_in_the_home_over_there_is_fine(
    options: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = f"motherlode-test-{os.getpid()}"
    # sshd goes by the account, whatever HOME says here.
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    request.addfinalizer(lambda: shutil.rmtree(home / folder, ignore_errors=True))
    submitter = Slurm(Slurm.Options.model_validate(options | {"directory": f"~/{folder}/jobs/"}))
    handle = submitter.submit(hpc_job(tmp_path / "job", "echo"))
    until(submitter, handle, JobPhase.ENDED)
    assert JobDirectory(tmp_path / "job").outcome() is not None
    assert (home / folder / "jobs").is_dir()


def test_failures_come_back_with_their_reasons(submitter: Slurm, tmp_path: Path) -> None:
    jobs = {
        "late": hpc_job(tmp_path / "late", "sleep", {"seconds": 600}, name="late", timeout_s=1.0),
        "dead": hpc_job(tmp_path / "dead", "die_by", {"signal": int(signal.SIGSEGV)}, name="dead"),
        "greedy": hpc_job(tmp_path / "greedy", "eat_memory", {"mb": 400, "seconds": 60}, name="greedy", memory_mb=150),
    }
    handles = {name: submitter.submit(job) for name, job in jobs.items()}
    for handle in handles.values():
        until(submitter, handle, JobPhase.ENDED)
    reports = submitter.poll(list(handles.values()))
    kinds = {name: failure.kind for name, handle in handles.items() if (failure := reports[handle].failure)}
    expected = {"late": FailureKind.TIMEOUT, "dead": FailureKind.CRASHED, "greedy": FailureKind.OUT_OF_MEMORY}
    assert kinds == expected


@pytest.mark.parametrize("key", ["other_key", None])
def test_a_host_whose_key_is_not_the_known_one_is_not_spoken_to(
    submitter: Slurm, sshd: SshServer, tmp_path: Path, remote: Path, key: str | None
) -> None:
    job = hpc_job(tmp_path / "job", "echo")
    if key is None:
        sshd.known_hosts.write_text("")
    else:
        sshd.know(key)
    try:
        with pytest.raises(
            BackendError, match=r"Host key verification failed|host key is known|IDENTIFICATION HAS CHANGED"
        ):
            submitter.submit(job)
        with pytest.raises(BackendError, match="cannot reach cluster by ssh"):
            submitter.find(job)
    finally:
        sshd.know("host_key")
    assert not remote.exists()
    assert not (tmp_path / "job" / "batch_handle").exists()
    assert submitter.find(job) is None


def test_a_key_that_may_not_log_in_is_said_and_nothing_is_asked(
    options: dict[str, Any], sshd: SshServer, tmp_path: Path
) -> None:
    bare = tmp_path / "config"
    lines = [line for line in sshd.config.read_text().splitlines() if "IdentityFile" not in line]
    bare.write_text("\n".join(lines))
    wrong = options | {"ssh_config": str(bare), "identity_file": str(sshd.folder / "other_key")}
    job = hpc_job(tmp_path / "job", "echo")
    with pytest.raises(BackendError, match="Permission denied"):
        Slurm(Slurm.Options.model_validate(wrong)).submit(job)
    right = wrong | {"identity_file": str(sshd.user_key)}
    assert Slurm(Slurm.Options.model_validate(right)).find(job) is None


def test_a_host_that_goes_away_is_unknown_until_it_is_back(submitter: Slurm, sshd: SshServer, tmp_path: Path) -> None:
    job = hpc_job(tmp_path / "job", "echo")
    handle = submitter.submit(job)
    sshd.stop()
    try:
        report = submitter.poll([handle])[handle]
        assert (report.phase, "cannot reach cluster by ssh" in report.detail) == (JobPhase.UNKNOWN, True)
        with pytest.raises(BackendError, match="cannot reach cluster by ssh"):
            submitter.cancel([handle])
    finally:
        sshd.start()
    until(submitter, handle, JobPhase.ENDED)
    assert JobDirectory(tmp_path / "job").outcome() is not None


CUT_SSH = """#!/bin/sh
for last; do :; done
case "$last" in
    *"tar -cf"*) /usr/bin/ssh "$@" | head -c 3000 ;;
    *) exec /usr/bin/ssh "$@" ;;
esac
"""
CUT_BOTH_WAYS = """#!/bin/sh
for last; do :; done
case "$last" in
    *"tar --no-same-owner"*) head -c 3000 | /usr/bin/ssh "$@" ;;
    *) exec /usr/bin/ssh "$@" ;;
esac
"""


def test_what_comes_back_in_part_counts_as_nothing(
    submitter: Slurm, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = hpc_job(tmp_path / "job", "echo", {"answer": 1})
    handle = submitter.submit(job)
    wait_for("the job to end", (remote / batch_name(job) / "exit_code").exists, PATIENCE_S)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(CUT_SSH)
    (programs / "ssh").chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        wait_for("the fetch to fail", lambda: "whole" in submitter.poll([handle])[handle].detail, PATIENCE_S)
        assert submitter.poll([handle])[handle].phase is JobPhase.UNKNOWN
        assert JobDirectory(tmp_path / "job").outcome() is None
    until(submitter, handle, JobPhase.ENDED)
    outcome = JobDirectory(tmp_path / "job").outcome()
    assert outcome is not None
    assert outcome.result == {"answer": 1}


def test_what_arrives_there_in_part_is_not_submitted(
    submitter: Slurm, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = hpc_job(tmp_path / "job", "echo", {"answer": 1})
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(CUT_BOTH_WAYS)
    (programs / "ssh").chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        with pytest.raises(BackendError, match="cannot bring job-1"):
            submitter.submit(job)
    assert not (remote / batch_name(job)).exists()
    assert submitter.find(job) is None
    until(submitter, submitter.submit(job), JobPhase.ENDED)


def test_a_result_that_is_here_is_never_overwritten(submitter: Slurm, remote: Path, tmp_path: Path) -> None:
    job = hpc_job(tmp_path / "job", "echo", {"answer": 1})
    handle = submitter.submit(job)
    until(submitter, handle, JobPhase.ENDED)
    (remote / batch_name(job) / "result.json").write_text('{"answer": 2}')
    until(submitter, handle, JobPhase.ENDED)
    outcome = JobDirectory(tmp_path / "job").outcome()
    assert outcome is not None
    assert outcome.result == {"answer": 1}


def test_a_directory_that_is_gone_over_there_has_nothing_to_give(
    submitter: Slurm, remote: Path, tmp_path: Path
) -> None:
    job = hpc_job(tmp_path / "job", "echo")
    handle = submitter.submit(job)
    wait_for("the job to end", (remote / batch_name(job) / "exit_code").exists, PATIENCE_S)
    shutil.rmtree(remote / batch_name(job))
    until(submitter, handle, JobPhase.GONE)


def test_a_program_that_is_not_there_is_a_refusal(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitter = Slurm(Slurm.Options.model_validate(options))
    monkeypatch.setattr(type(submitter._scheduler), "submit_command", ("no-such-sbatch", "batch.sh"))
    with pytest.raises(TransientSubmitError, match="no-such-sbatch"):
        submitter.submit(hpc_job(tmp_path / "job", "echo"))


def test_a_launch_that_comes_late_finds_nothing_to_submit(
    submitter: Slurm, options: dict[str, Any], remote: Path, tmp_path: Path
) -> None:
    job = hpc_job(tmp_path / "job", "echo")
    name = batch_name(job)
    # All that a submission does, until the connection hangs with its last command on the way.
    submitter._prepare(job, tmp_path / "job")
    assert submitter.find(job) is None
    with (tmp_path / "said").open("w+b") as said:
        command = submitter._scheduler.submit_command
        answer = submitter._host.launch(tmp_path / "job", name, command, said.fileno(), 60.0)
    assert answer.status != 0
    assert "batch.sh" in answer.said
    assert submitter.find(job) is None


def test_a_launch_that_still_runs_over_there_is_in_doubt(submitter: Slurm, remote: Path, tmp_path: Path) -> None:
    job = hpc_job(tmp_path / "job", "echo")
    there = remote / batch_name(job)
    there.mkdir(parents=True)
    with subprocess.Popen(["flock", str(there / "submitting"), "sleep", "600"]) as running:
        wait_for("the lock", lambda: _is_locked(there / "submitting"), PATIENCE_S)
        for do in (submitter.find, submitter.submit):
            with pytest.raises(BackendError, match="still on its way"):
                do(job)
        subprocess.run(["pkill", "-P", str(running.pid)], check=True)
    assert submitter.find(job) is None


def _is_locked(path: Path) -> bool:
    return path.exists() and subprocess.run(["flock", "-n", str(path), "true"]).returncode == 1


def test_a_job_that_started_over_there_and_was_forgotten_is_found(
    submitter: Slurm, remote: Path, tmp_path: Path
) -> None:
    job = hpc_job(tmp_path / "job", "echo")
    there = remote / batch_name(job)
    there.mkdir(parents=True)
    (there / "started").write_text("1\n")
    (there / "exit_code").write_text("1\n")
    handle = submitter.find(job)
    assert handle is not None
    assert Handle.parse(handle) == Handle("?", "-", batch_name(job), tmp_path / "job")
    until(submitter, handle, JobPhase.ENDED)
    with pytest.raises(BackendError, match="runs once"):
        submitter.submit(job)
