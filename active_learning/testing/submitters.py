"""The laws of a submitter, as tests. Subclass `SubmitterContract`, and say in `recipe` how yours is built.

::

    class TestMySubmitter(SubmitterContract):
        @pytest.fixture
        def recipe(self):
            return "my_module:MySubmitter", {"queue": "short"}
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pytest

from active_learning.domain.job import Job, JobPhase, JobSpec, Resources
from active_learning.domain.label import FailureKind
from active_learning.domain.protocols import Cancels, DiesWithProcess, Submitter
from active_learning.errors import MotherlodeError
from active_learning.jobs import JobDirectory
from active_learning.testing.waiting import is_alive, wait_for

__all__ = ["MakeJob", "Recipe", "SubmitterContract", "build_submitter", "job_maker"]

Recipe = tuple[str, Mapping[str, Any]]
"""A class as "module:Class", and its options."""
MakeJob = Callable[..., Job]

_ELSEWHERE = """
import json, sys
from pathlib import Path
from active_learning.domain.job import Job, Resources
from active_learning.testing.submitters import build_submitter

order = json.loads(sys.argv[1])
submitter = build_submitter(tuple(order["recipe"]))
job = Job(order["name"], Path(order["directory"]), tuple(order["command"]), Resources(**order["resources"]))
if order["do"] == "submit":
    submitter.submit(job)
    sys.stdin.read()
else:
    handle = submitter.find(job)
    print(json.dumps([handle, submitter.poll([handle])[handle].phase] if handle else None))
"""


def build_submitter(recipe: Recipe) -> Submitter:
    """A new submitter."""
    module, _, name = recipe[0].partition(":")
    plugin = getattr(importlib.import_module(module), name)
    submitter: Submitter = plugin(plugin.Options.model_validate(dict(recipe[1])))
    return submitter


def _order(do: str, recipe: Recipe, job: Job) -> list[str]:
    order = {
        "do": do,
        "recipe": recipe,
        "name": job.name,
        "directory": str(job.directory),
        "command": job.command,
        "resources": asdict(job.resources),
    }
    return [sys.executable, "-c", _ELSEWHERE, json.dumps(order)]


def _directory(job: Job) -> JobDirectory:
    return JobDirectory(Path(job.directory))


def job_maker(folder: Path) -> MakeJob:
    """``make(function, inputs, name, timeout_s)`` prepares a job that runs a function of `testing.job_functions`."""

    def make(
        function: str = "echo", inputs: Mapping[str, Any] | None = None, name: str = "job-1", timeout_s: float = 60.0
    ) -> Job:
        spec = JobSpec(f"active_learning.testing.job_functions:{function}", inputs or {})
        return JobDirectory(folder / "jobs" / name).prepare(spec, name, Resources(timeout_s))

    return make


class SubmitterContract:
    """Tests that every submitter passes.

    Parameters
    ----------
    patience_s : how long a small job may take from `submit` until `poll` says that it ended
    has_time_limit : whether the submitter ends jobs after their time
    is_asynchronous : whether `submit` returns before the job ends
    """

    patience_s: ClassVar[float] = 30.0
    has_time_limit: ClassVar[bool] = True
    is_asynchronous: ClassVar[bool] = True

    @pytest.fixture
    def recipe(self) -> Recipe:
        """How the submitter is built; override it."""
        raise NotImplementedError("override the fixture `recipe`")

    @pytest.fixture
    def build(self, recipe: Recipe) -> Iterator[Callable[[], Submitter]]:
        """Builds submitters; they are closed after the test."""
        built: list[Submitter] = []

        def build() -> Submitter:
            built.append(build_submitter(recipe))
            return built[-1]

        yield build
        for submitter in built:
            if isinstance(submitter, DiesWithProcess):
                submitter.close()

    @pytest.fixture
    def submitter(self, build: Callable[[], Submitter]) -> Submitter:
        """The submitter under test."""
        return build()

    @pytest.fixture
    def make_job(self, tmp_path: Path) -> MakeJob:
        """``make_job(function, inputs, name, timeout_s)``: a job that runs a function of `testing.job_functions`."""
        return job_maker(tmp_path)

    def settle(self, submitter: Submitter, *handles: str) -> None:
        """Poll until all these jobs have ended."""

        def is_over() -> bool:
            return all(report.phase is JobPhase.ENDED for report in submitter.poll(handles).values())

        wait_for("poll to say ENDED", is_over, self.patience_s)

    def test_a_submitted_job_runs_and_ends(self, submitter: Submitter, make_job: MakeJob) -> None:
        job = make_job("echo", {"answer": 42})
        self.settle(submitter, submitter.submit(job))
        outcome = _directory(job).outcome()
        assert outcome is not None, "poll says ENDED, and the job left no exit code"
        assert (outcome.exit_code, outcome.result) == (0, {"answer": 42}), "the job's result is not in its directory"

    def test_poll_gives_one_report_for_each_handle(self, submitter: Submitter, make_job: MakeJob) -> None:
        handles = [submitter.submit(make_job(name=f"job-{i}")) for i in range(3)]
        assert len(set(handles)) == 3, "two jobs have the same handle"
        assert set(submitter.poll(handles)) == set(handles), "poll does not answer for each handle"
        assert submitter.poll([]) == {}, "poll of nothing must be empty"
        self.settle(submitter, *handles)

    def test_an_ended_job_stays_ended(self, submitter: Submitter, make_job: MakeJob) -> None:
        handle = submitter.submit(make_job())
        self.settle(submitter, handle)
        first = submitter.poll([handle])
        assert submitter.poll([handle]) == first, "a job that ended has another report the second time"

    def test_a_job_that_was_never_submitted_is_not_found(self, submitter: Submitter, make_job: MakeJob) -> None:
        assert submitter.find(make_job()) is None, "find gives a handle for a job that was never submitted"

    def test_a_submitted_job_is_found(self, submitter: Submitter, make_job: MakeJob) -> None:
        job = make_job()
        handle = submitter.submit(job)
        assert submitter.find(job) == handle, "find does not give the handle that submit gave"
        self.settle(submitter, handle)
        assert submitter.find(job) == handle, "find does not give the handle of a job that ended"

    def test_another_object_answers_for_a_submitted_job(
        self, submitter: Submitter, build: Callable[[], Submitter], make_job: MakeJob
    ) -> None:
        job = make_job()
        handle = submitter.submit(job)
        other = build()
        assert other.find(job) == handle, "another submitter does not find the job"
        self.settle(other, handle)
        assert _directory(job).outcome() is not None, "another submitter says ENDED before the job left its outcome"

    def test_another_process_answers_for_a_submitted_job(
        self, submitter: Submitter, recipe: Recipe, make_job: MakeJob
    ) -> None:
        job = make_job()
        handle = submitter.submit(job)
        self.settle(submitter, handle)
        told = subprocess.run(_order("ask", recipe, job), capture_output=True, text=True, check=True)
        assert json.loads(told.stdout) == [handle, "ended"], "another process does not know the job"

    def test_a_job_that_was_submitted_twice_runs_once(
        self, submitter: Submitter, make_job: MakeJob, tmp_path: Path
    ) -> None:
        job = make_job("count_runs", {"file": str(tmp_path / "runs")})
        handles = {submitter.submit(job)}
        try:
            handles.add(submitter.submit(job))
        except MotherlodeError as refused:
            assert str(refused), "a refusal says why"
        self.settle(submitter, *handles)
        assert len((tmp_path / "runs").read_text().splitlines()) == 1, "the job ran twice"

    def test_a_job_that_fails_harms_no_other(self, submitter: Submitter, make_job: MakeJob) -> None:
        bad, good = make_job("fail", name="bad"), make_job("echo", name="good")
        self.settle(submitter, submitter.submit(bad), submitter.submit(good))
        outcomes = [_directory(job).outcome() for job in (bad, good)]
        assert [outcome and outcome.exit_code for outcome in outcomes] == [1, 0], "exit codes of the bad and good job"
        assert outcomes[0] is not None
        assert "asked to fail" in outcomes[0].stderr_tail, "the traceback is not in the job's stderr"

    def test_a_job_that_runs_too_long_is_ended_and_reported(self, submitter: Submitter, make_job: MakeJob) -> None:
        if not self.has_time_limit:
            pytest.skip("this submitter has no time limit")
        job = make_job("sleep", {"seconds": 600}, timeout_s=1.0)
        handle = submitter.submit(job)
        self.settle(submitter, handle)
        failure = submitter.poll([handle])[handle].failure
        assert failure is not None, "a job over its time has no failure"
        assert failure.kind is FailureKind.TIMEOUT, f"a job over its time failed as {failure.kind}"
        assert _directory(job).outcome() is None, "a job over its time left an outcome"

    def test_cancel_ends_jobs_and_leaves_others_alone(self, submitter: Submitter, make_job: MakeJob) -> None:
        if not (isinstance(submitter, Cancels) and self.is_asynchronous):
            pytest.skip("this submitter cannot cancel")
        over = submitter.submit(make_job())
        self.settle(submitter, over)
        running = [submitter.submit(make_job("sleep", {"seconds": 600}, name=f"long-{i}")) for i in range(4)]
        submitter.cancel([running[0], running[3], over, "no-such-handle"])
        self.settle(submitter, running[0], running[3])
        others = submitter.poll(running[1:3]).values()
        assert all(report.phase is not JobPhase.ENDED for report in others), "cancel ended a job that was not named"
        submitter.cancel(running)
        self.settle(submitter, *running)

    def test_close_ends_what_runs_and_may_be_called_twice(self, submitter: Submitter, make_job: MakeJob) -> None:
        if not isinstance(submitter, DiesWithProcess):
            pytest.skip("the jobs of this submitter outlive its process")
        job = make_job("sleep", {"seconds": 600 if self.is_asynchronous else 0})
        handle = submitter.submit(job)
        # Where submit waits for the end, the job's process may be this one.
        pids = self._pids(job) if self.is_asynchronous else []
        submitter.close()
        submitter.close()
        wait_for("the job to end after close", lambda: not any(map(is_alive, pids)), self.patience_s)
        assert submitter.poll([handle])[handle].phase is JobPhase.ENDED, "a job is not ENDED after close"

    def test_a_job_is_found_and_answered_after_its_submitter_was_killed(
        self, submitter: Submitter, recipe: Recipe, make_job: MakeJob
    ) -> None:
        dies = isinstance(submitter, DiesWithProcess)
        job = make_job("sleep", {"seconds": 600 if dies else 1})
        with subprocess.Popen(_order("submit", recipe, job), stdin=subprocess.PIPE) as process:
            pids = self._pids(job)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        handle = submitter.find(job)
        assert handle is not None, "a job that started is not found after its submitter was killed"
        self.settle(submitter, handle)
        if dies:
            wait_for("the job to die with its submitter", lambda: not is_alive(pids[0]), self.patience_s)
            with contextlib.suppress(ProcessLookupError):
                # Where job and submitter are one process, nobody is left to end what the job had started.
                os.kill(pids[1], signal.SIGKILL)
        else:
            assert _directory(job).outcome() is not None, "the job did not run to its end"

    def _pids(self, job: Job) -> list[int]:
        file = Path(job.directory) / "pids"
        wait_for("the job to start", file.exists, self.patience_s)
        return [int(pid) for pid in file.read_text().split()]
