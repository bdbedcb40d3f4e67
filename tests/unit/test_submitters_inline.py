"""The submitter `inline`, beyond the laws of all submitters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from active_learning.domain.job import Job, JobPhase, JobSpec, Resources
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError
from active_learning.jobs import JobDirectory
from active_learning.submitters import this_machine
from active_learning.submitters.inline import Inline


@pytest.fixture
def job(tmp_path: Path) -> Job:
    spec = JobSpec("active_learning.testing.job_functions:echo", {"x": 1})
    return JobDirectory(tmp_path / "a-1").prepare(spec, "a-1", Resources(60))


@pytest.fixture
def inline() -> Inline:
    return Inline(Inline.Options())


def test_a_job_whose_process_died_has_ended_without_an_outcome(inline: Inline, job: Job) -> None:
    directory = JobDirectory(Path(job.directory))
    assert directory.start()
    handle = inline.find(job)
    assert handle == str(job.directory)
    assert inline.poll([handle])[handle].phase is JobPhase.ENDED
    assert directory.outcome() is None


def test_a_job_that_another_process_is_in_the_middle_of_is_running_and_not_run_again(inline: Inline, job: Job) -> None:
    lock = this_machine.hold(Path(job.directory))
    handle = inline.find(job)
    assert handle is not None
    assert inline.poll([handle])[handle].phase is JobPhase.QUEUED
    assert JobDirectory(Path(job.directory)).start()
    assert inline.poll([handle])[handle].phase is JobPhase.RUNNING
    with pytest.raises(BackendError, match="another process has the job"):
        inline.submit(job)
    os.close(lock)
    assert inline.poll([handle])[handle].phase is JobPhase.ENDED


def test_a_noted_failure_is_reported_by_every_process(inline: Inline, job: Job) -> None:
    failure = Failure(FailureKind.TIMEOUT, "ran longer than 3 s and was ended")
    this_machine.note_failure(Path(job.directory), failure)
    handle = str(job.directory)
    assert inline.poll([handle])[handle].failure == failure


def test_a_file_system_that_does_not_answer_leaves_a_job_unknown(inline: Inline) -> None:
    handle = "/" + "x" * 5000
    assert inline.poll([handle])[handle].phase is JobPhase.UNKNOWN


def test_a_job_without_a_directory_cannot_be_submitted(inline: Inline, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot make a lock in"):
        inline.submit(Job("a-1", tmp_path / "gone", ("true",), 60))
