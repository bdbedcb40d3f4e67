"""Faults on command: a scheduler that misbehaves in every way its protocol allows, and a store whose process dies."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from active_learning.domain import options
from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs.runner import execute
from active_learning.store import CampaignStore, Lease, Writer
from active_learning.testing.fakes import Fate

__all__ = ["FakeJob", "FakeScheduler", "FaultyStore", "Killed", "StoreFault", "SubmitFault"]


class Killed(BaseException):
    """Stands for the death of the process at this point: nothing but the test may catch it."""


class SubmitFault(StrEnum):
    """What goes wrong in one call of `submit`."""

    KILLED_BEFORE = "killed before the launch"
    KILLED_AFTER = "killed after the launch"
    TRANSIENT = "not launched, and the backend says so"
    NO_ANSWER = "not launched, and nobody knows"
    ANSWER_LOST = "launched, and nobody knows"
    OVER_AT_ONCE = "launched, and ended before submit returns"


@dataclass
class FakeJob:
    """A job in the scheduler's queue."""

    job: Job
    is_over: bool = False
    failure: Failure | None = None
    silent_polls: int = 0


@dataclass
class _Faults:
    submit: deque[SubmitFault] = field(default_factory=deque)
    find_is_silent: bool = False
    poll_is_silent: bool = False


class FakeScheduler:
    """A batch system in memory. It outlives the campaign's processes: a test hands the same one to each of them.

    Its jobs end when `end` is told to, or at once with ``at_once = true``. `faults` are what goes wrong next;
    `launches` counts how often each job directory was launched.
    """

    class Options(options.Options):
        """Keys of ``[submitter]``."""

        at_once: bool = Field(True, description="Jobs end as the labeler says before `submit` returns.")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.jobs: dict[str, FakeJob] = {}
        self.launches: Counter[str] = Counter()
        self.faults = _Faults()
        self.n_polls = 0

    def _launch(self, job: Job) -> str:
        handle = f"fake-{len(self.jobs) + 1}"
        self.jobs[handle] = FakeJob(job)
        self.launches[str(job.directory)] += 1
        if self.options.at_once:
            self.end(handle)
        return handle

    def submit(self, job: Job) -> str:
        """Launch a job, or go wrong as told.

        Raises
        ------
        Killed, TransientSubmitError, BackendError
            As told.
        """
        fault = self.faults.submit.popleft() if self.faults.submit else None
        if fault is SubmitFault.KILLED_BEFORE:
            raise Killed("before the launch")
        if fault is SubmitFault.TRANSIENT:
            raise TransientSubmitError("the queue is full")
        if fault is SubmitFault.NO_ANSWER:
            raise BackendError("the scheduler does not answer")
        handle = self._launch(job)
        if fault is SubmitFault.KILLED_AFTER:
            raise Killed("after the launch")
        if fault is SubmitFault.ANSWER_LOST:
            raise BackendError("the scheduler's answer was lost")
        if fault is SubmitFault.OVER_AT_ONCE:
            self.end(handle)
        return handle

    def find(self, job: Job) -> str | None:
        """The handle of a job that was launched.

        Raises
        ------
        BackendError
            As told.
        """
        if self.faults.find_is_silent:
            raise BackendError("the scheduler does not answer")
        return next((handle for handle, known in self.jobs.items() if known.job.name == job.name), None)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle; UNKNOWN while told to be silent."""
        self.n_polls += 1
        return {handle: self._report(handle) for handle in handles}

    def _report(self, handle: str) -> JobReport:
        known = self.jobs.get(handle)
        if self.faults.poll_is_silent:
            return JobReport(JobPhase.UNKNOWN)
        if known is None:
            return JobReport(JobPhase.GONE)
        if known.silent_polls > 0:
            known.silent_polls -= 1
            return JobReport(JobPhase.UNKNOWN)
        return JobReport(JobPhase.ENDED, known.failure) if known.is_over else JobReport(JobPhase.RUNNING)

    def cancel(self, handles: Sequence[str]) -> None:
        """End jobs without an outcome."""
        for handle in handles:
            if handle in self.jobs and not self.jobs[handle].is_over:
                self.end(handle, Fate.LOST)

    def running(self) -> tuple[str, ...]:
        """Handles of the jobs that have not ended."""
        return tuple(handle for handle, known in self.jobs.items() if not known.is_over)

    def end(self, handle: str, fate: Fate | None = None, *, silent_polls: int = 0) -> None:
        """Let a job end; without a `fate`, as its labeler said.

        It really runs in its directory, or (LOST, TIMEOUT) never leaves a word there. For the first `silent_polls`
        polls the scheduler does not know about it.
        """
        known = self.jobs[handle]
        if known.is_over:
            return
        directory = Path(known.job.directory)
        if fate is None:
            fate = Fate(json.loads((directory / "job.json").read_text(encoding="utf-8"))["inputs"]["fate"])
        known.is_over, known.silent_polls = True, silent_polls
        if fate is Fate.TIMEOUT:
            known.failure = Failure(FailureKind.TIMEOUT, f"ran longer than {known.job.resources.timeout_s:g} s")
        elif fate is not Fate.LOST:
            (directory / "fate").write_text(fate.value, encoding="utf-8")
            execute(directory)


class StoreFault(StrEnum):
    """Where the process dies in a write."""

    BEFORE_COMMIT = "before the commit"
    AFTER_COMMIT = "after the commit"


class FaultyStore(CampaignStore):
    """A store whose process dies in the write that `plan` names, counted from 1.

    What stands in `meanwhile` under a write's number is done just before that write begins: another process's word,
    between a decision and its effect.
    """

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self.plan: dict[int, StoreFault] = {}
        self.meanwhile: dict[int, Callable[[], None]] = {}
        self.n_writes = 0

    @contextmanager
    def write(self, now: datetime, *, lease: Lease | None = None, expect: int | None = None) -> Iterator[Writer]:
        """As the store's own, or die as planned."""
        self.n_writes += 1
        fault = self.plan.pop(self.n_writes, None)
        if (interruption := self.meanwhile.pop(self.n_writes, None)) is not None:
            interruption()
        with super().write(now, lease=lease, expect=expect) as writer:
            yield writer
            if fault is StoreFault.BEFORE_COMMIT:
                raise Killed(fault)
        if fault is StoreFault.AFTER_COMMIT:
            raise Killed(fault)
