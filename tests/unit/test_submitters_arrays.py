"""Many jobs given to a batch system with one call."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from fake_batch import FakePrograms

from active_learning.domain.job import Job, JobPhase, JobSpec, Resources
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.slurm import Slurm

NAMES = ("plain", "a  b", "$(touch hacked)", "two\nlines")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    folder = tmp_path / "bin"
    folder.mkdir()
    made = FakePrograms(folder)
    made.install(monkeypatch, "sbatch", "squeue", "scancel")
    return made


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return [make_job(tmp_path, name) for name in NAMES]


def make_job(tmp_path: Path, name: str, timeout_s: float = 600.0) -> Job:
    spec = JobSpec("active_learning.testing.job_functions:echo", {})
    return JobDirectory(tmp_path / "jobs" / name).prepare(spec, name, Resources(timeout_s))


def array_folder(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "jobs" / ".arrays").iterdir()
    return folder


def slurm() -> Slurm:
    return Slurm(Slurm.Options())


def listing(name: str, *states: str, job_id: str = "7") -> str:
    return "".join(f"{job_id}_{i}|{state}|2026-11-23T14:42:59|{name}|None\n" for i, state in enumerate(states))


def submitted(programs: FakePrograms, tmp_path: Path, jobs: list[Job]) -> list[str]:
    """Handles, in order; the array's name is known only once it was made, so the first try is in doubt."""
    programs.answer("sbatch", "Submitted batch job 7\n")
    with pytest.raises(BackendError, match="does not list 4 of them"):
        slurm().submit_many(jobs)
    programs.answer("squeue", listing(array_folder(tmp_path).name, "PD", "PD", "R", "PD"))
    found = [slurm().find(job) for job in jobs]
    return [handle for handle in found if handle is not None]


def test_an_array_is_one_call_and_its_script_names_no_job(
    programs: FakePrograms, tmp_path: Path, jobs: list[Job]
) -> None:
    handles = submitted(programs, tmp_path, jobs)
    folder = array_folder(tmp_path)
    ((arguments, directory, _),) = programs.calls("sbatch")
    assert (arguments, directory) == (["batch.sh"], str(folder))
    script = (folder / "batch.sh").read_text()
    assert "#SBATCH --array=0-3\n" in script
    assert "#SBATCH --output=%a/scheduler.out\n" in script
    assert 'cd -- "$SLURM_ARRAY_TASK_ID" || exit\n' in script
    assert not any(name in script for name in NAMES)
    assert [(folder / str(i)).resolve() for i in range(4)] == [job.directory for job in jobs]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [handle.split()[0] for handle in handles] == ["7_0", "7_1", "7_2", "7_3"]
    reports = slurm().poll(handles)
    queued, running = JobPhase.QUEUED, JobPhase.RUNNING
    assert [reports[handle].phase for handle in handles] == [queued, queued, running, queued]


def test_tasks_that_are_listed_in_one_line_are_told_apart(
    programs: FakePrograms, tmp_path: Path, jobs: list[Job]
) -> None:
    handles = submitted(programs, tmp_path, jobs)
    array = array_folder(tmp_path).name
    lines = [f"7_[0,2-3%2]|CA|2026-11-23T14:42:59|{array}|None", f"7_1|R|2026-11-23T14:42:59|{array}|None"]
    programs.answer("squeue", "\n".join(lines))
    reports = slurm().poll(handles)
    ended, running = JobPhase.ENDED, JobPhase.RUNNING
    assert [reports[handle].phase for handle in handles] == [ended, running, ended, ended]
    assert programs.calls("squeue")[-1][2]["SLURM_BITSTR_LEN"] == "0"
    # An array of which no task is left to run has no numbers any more.
    programs.answer("squeue", f"{lines[1]}\n7|CA|2026-11-23T14:42:59|{array}|None\n")
    reports = slurm().poll(handles)
    assert [reports[handle].phase for handle in handles] == [ended, running, ended, ended]
    programs.answer("squeue", f"7|CA|2027-11-23T14:42:59|{array}|None\n")
    assert {report.phase for report in slurm().poll(handles).values()} == {JobPhase.GONE}


def test_jobs_that_were_submitted_keep_their_handles(programs: FakePrograms, tmp_path: Path, jobs: list[Job]) -> None:
    handles = submitted(programs, tmp_path, jobs)
    assert slurm().submit_many(jobs) == dict(zip(NAMES, handles, strict=True))
    assert len(programs.calls("sbatch")) == 1


def test_tasks_are_cancelled_by_their_own_ids(programs: FakePrograms, tmp_path: Path, jobs: list[Job]) -> None:
    handles = submitted(programs, tmp_path, jobs)
    slurm().cancel(handles[1:3])
    assert [arguments for arguments, _, _ in programs.calls("scancel")] == [["7_1", "7_2"]]


def test_an_array_on_its_way_leaves_each_of_its_jobs_in_doubt(
    programs: FakePrograms, tmp_path: Path, jobs: list[Job]
) -> None:
    programs.answer("sbatch", err="Socket timed out on send/recv operation", status=1)
    with pytest.raises(BackendError, match="4 jobs from plain on: Socket timed out"):
        slurm().submit_many(jobs)
    with (array_folder(tmp_path) / "submitting").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for job in jobs:
            with pytest.raises(BackendError, match="still on its way"):
                slurm().find(job)
    assert [slurm().find(job) for job in jobs] == [None] * 4


def test_jobs_that_ask_for_other_things_go_by_themselves(programs: FakePrograms, tmp_path: Path) -> None:
    job = make_job(tmp_path, "single")
    programs.answer("sbatch", err="sbatch: error: Batch job submission failed: Invalid account", status=1)
    with pytest.raises(TransientSubmitError, match="Invalid account"):
        slurm().submit_many([job])
    assert not (tmp_path / "jobs" / ".arrays").exists()
    assert slurm().submit_many([]) == {}


def test_what_was_launched_before_a_refusal_is_told(
    programs: FakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched, refused = [make_job(tmp_path, f"a{i}", 60.0) for i in range(2)], make_job(tmp_path, "b", 120.0)
    submitter = slurm()
    monkeypatch.setattr(submitter, "_submit_array", lambda jobs: {job.name: "handle" for job in jobs})
    programs.answer("sbatch", err="sbatch: error: Batch job submission failed: Job violates QOS policy", status=1)
    assert submitter.submit_many([*launched, refused]) == {"a0": "handle", "a1": "handle"}
