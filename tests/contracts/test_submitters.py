"""Every built-in submitter keeps the laws, and submitters that break one are found out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.options import Options
from active_learning.domain.protocols import DiesWithProcess
from active_learning.errors import TransientSubmitError
from active_learning.jobs.runner import execute
from active_learning.submitters.inline import Inline
from active_learning.testing.submitters import Recipe, SubmitterContract, job_maker


class TestInline(SubmitterContract):
    has_time_limit: ClassVar[bool] = False
    is_asynchronous: ClassVar[bool] = False

    @pytest.fixture
    def recipe(self) -> Recipe:
        return "active_learning.submitters.inline:Inline", {}


class TestProcesses(SubmitterContract):
    @pytest.fixture
    def recipe(self) -> Recipe:
        return "active_learning.submitters.processes.submitter:Processes", {"workers": 4, "grace": 0.5}


class TestProcessesWithOneWorker(SubmitterContract):
    @pytest.fixture
    def recipe(self) -> Recipe:
        return "active_learning.submitters.processes.submitter:Processes", {"workers": 1, "grace": 0.5}


class Sound:
    """A submitter that keeps the laws; each liar below breaks one."""

    def __init__(self) -> None:
        self._real = Inline(Inline.Options())

    def submit(self, job: Job) -> str:
        return self._real.submit(job)

    def find(self, job: Job) -> str | None:
        return self._real.find(job)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        return self._real.poll(handles)


class Promises(Sound):
    def submit(self, job: Job) -> str:
        return str(job.directory)


class Forgets(Sound):
    def find(self, job: Job) -> str | None:
        return None


class FindsEverything(Sound):
    def find(self, job: Job) -> str | None:
        return str(job.directory)


class RunsAgain(Sound):
    def submit(self, job: Job) -> str:
        (Path(job.directory) / "started").unlink(missing_ok=True)
        execute(Path(job.directory))
        return str(job.directory)


class AnswersForOne(Sound):
    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        return super().poll(handles[:1])


class OneHandleForAll(Sound):
    def submit(self, job: Job) -> str:
        super().submit(job)
        return "job"

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        return dict.fromkeys(handles, JobReport(JobPhase.ENDED))


class ChangesItsMind(Sound):
    def __init__(self) -> None:
        super().__init__()
        self._n_asked = 0

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        self._n_asked += 1
        phase = JobPhase.ENDED if self._n_asked <= 2 else JobPhase.RUNNING
        return dict.fromkeys(handles, JobReport(phase))


class NeverEnds(Sound):
    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        return dict.fromkeys(handles, JobReport(JobPhase.RUNNING))


class ClosesNothing(Sound):
    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        return dict.fromkeys(handles, JobReport(JobPhase.RUNNING))

    def close(self) -> None:
        pass


class Impatient(SubmitterContract):
    patience_s: ClassVar[float] = 0.2
    is_asynchronous: ClassVar[bool] = False


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    return job_maker(tmp_path)


@pytest.mark.parametrize(
    ("liar", "law", "complaint"),
    [
        (Promises, "test_a_submitted_job_runs_and_ends", "left no exit code"),
        (NeverEnds, "test_a_submitted_job_runs_and_ends", "in vain for: poll to say ENDED"),
        (Forgets, "test_a_submitted_job_is_found", "find does not give the handle"),
        (FindsEverything, "test_a_job_that_was_never_submitted_is_not_found", "never submitted"),
        (AnswersForOne, "test_poll_gives_one_report_for_each_handle", "does not answer for each"),
        (OneHandleForAll, "test_poll_gives_one_report_for_each_handle", "the same handle"),
        (ChangesItsMind, "test_an_ended_job_stays_ended", "another report the second time"),
        (Promises, "test_a_job_that_fails_harms_no_other", "exit codes"),
        (Sound, "test_a_job_that_runs_too_long_is_ended_and_reported", "over its time has no failure"),
        (ClosesNothing, "test_close_ends_what_runs_and_may_be_called_twice", "not ENDED after close"),
    ],
)
def test_a_submitter_that_breaks_a_law_fails_its_test(
    liar: type[Sound], law: str, complaint: str, make_job: Callable[..., Job]
) -> None:
    def short(function: str = "echo", inputs: Mapping[str, object] | None = None, **rest: object) -> Job:
        return make_job(function, {"seconds": 0.01} if function == "sleep" else inputs, **rest)

    with pytest.raises(AssertionError, match=complaint):
        getattr(Impatient(), law)(liar(), short)


def test_a_submitter_that_runs_a_job_twice_is_found_out(make_job: Callable[..., Job], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the job ran twice"):
        Impatient().test_a_job_that_was_submitted_twice_runs_once(RunsAgain(), make_job, tmp_path)


def test_a_submitter_that_other_objects_know_nothing_of_is_found_out(make_job: Callable[..., Job]) -> None:
    with pytest.raises(AssertionError, match="another submitter does not find the job"):
        Impatient().test_another_object_answers_for_a_submitted_job(Sound(), Forgets, make_job)


def test_a_refused_second_submission_keeps_the_law(make_job: Callable[..., Job], tmp_path: Path) -> None:
    class Refuses(Sound):
        def submit(self, job: Job) -> str:
            if self.find(job):
                raise TransientSubmitError("had that one")
            return super().submit(job)

    Impatient().test_a_job_that_was_submitted_twice_runs_once(Refuses(), make_job, tmp_path)


def test_the_built_in_submitters_say_that_their_jobs_die_with_the_process() -> None:
    from active_learning.submitters.processes.submitter import Processes

    assert isinstance(Inline(Inline.Options()), DiesWithProcess)
    assert isinstance(Processes(Processes.Options()), DiesWithProcess)


def test_a_submitters_options_refuse_unknown_keys() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Inline.Options.model_validate({"workers": 2})
    assert issubclass(Inline.Options, Options)
