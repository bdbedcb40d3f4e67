"""A submitter for batch systems, on this machine or by ssh. What is particular to each is a `Scheduler`.

The job's directory on this machine holds what is known of it: `submitting` is locked as long as a submission may still
take effect, also after the campaign was killed in the middle of it; `batch_handle` is written once the job is in the
queue; `batch_end` is the script's last word. A job that was submitted twice all the same runs once, since a job
directory does, and any copy in the queue counts as the job.
"""

from __future__ import annotations

import contextlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.errors import BackendError, BackendSilent, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters import file_locks
from active_learning.submitters.batch.hosts import Answer, Host, ThisHost
from active_learning.submitters.batch.names import UNKNOWN_ID, UNTOLD, Handle, batch_name
from active_learning.submitters.batch.options import BatchOptions
from active_learning.submitters.batch.schedulers import Ask, Listed, Scheduler
from active_learning.submitters.batch.script import KILL_AFTER_S, SCRIPT, batch_script
from active_learning.submitters.batch.ssh import SshHost
from active_learning.submitters.batch.verdicts import has_outcome, verdict

__all__ = ["Batch", "keep", "known_handle", "locked"]

_LOCK = "submitting"
_HANDLE = "batch_handle"


class Batch(ABC):
    """Jobs in the queue of a batch system. They outlive the campaign's processes, and any of them can ask for them."""

    Options: ClassVar[type[BatchOptions]] = BatchOptions
    """Keys of the table."""

    def __init__(self, options: BatchOptions) -> None:
        self.options = options
        self._scheduler = self.new_scheduler()
        self._host: Host = ThisHost()
        if options.host is not None:
            assert options.directory is not None
            self._host = SshHost(
                options.host,
                options.directory,
                port=options.port,
                identity_file=options.identity_file,
                ssh_config=options.ssh_config,
            )

    @abstractmethod
    def new_scheduler(self) -> Scheduler:
        """The commands of this batch system, as the options say."""

    def submit(self, job: Job) -> str:
        """Put the job into the queue. The same job again is not submitted again.

        Raises
        ------
        TransientSubmitError
            The batch system refused it; the message has its words.
        BackendError
            It did not answer, or not so that it can be understood; or another submission is on its way.
        """
        directory = Path(job.directory)
        with locked(directory) as lock:
            if (known := known_handle(directory)) is not None:
                return str(known)
            name = batch_name(job)
            self._prepare(job, directory)
            job_id = self._launch(job.name, directory, name, lock)
            found = [one for one in self._listed([job_id]) if one.id == job_id and one.name == name]
            if not found:
                raise BackendSilent(f"{self._scheduler.title} took {job.name} as {job_id} and does not list it")
            return str(keep(found[0], directory))

    def _prepare(self, job: Job, directory: Path) -> None:
        """The directory with its script, where the job will run."""
        if (directory / "started").exists():
            raise BackendError(f"{directory} ran before; a job runs once")
        JobDirectory(directory).write(SCRIPT, self._script(self._ask(job, batch_name(job), directory), job))
        self._host.put(directory, batch_name(job), self.options.transfer_within)

    def _launch(self, title: str, directory: Path, name: str, lock: int) -> str:
        """Submit the script of a directory; its id in the queue."""
        os.ftruncate(lock, 0)
        command = self._scheduler.submit_command
        answer = self._host.launch(directory, name, command, lock, self.options.answer_within)
        said = f"{self._scheduler.title} on {title}: {answer.said}"
        if answer.status != 0:
            raise (TransientSubmitError if self._scheduler.is_refusal(answer) else BackendSilent)(said)
        job_id = self._scheduler.submitted_id(answer)
        if job_id is None:
            raise BackendSilent(f"no id of a job is in the answer of {said}")
        return job_id

    def _ask(self, job: Job, name: str, directory: Path, n_tasks: int | None = None) -> Ask:
        return Ask(
            name=name,
            directory=str(directory) if self.options.directory is None else self.options.directory,
            limit_s=job.resources.timeout_s + KILL_AFTER_S + self.options.time_margin,
            cores=job.resources.cores,
            memory_mb=job.resources.memory_mb,
            queue=self.options.queue,
            account=self.options.account,
            qos=self.options.qos,
            lines=self.options.header,
            n_tasks=n_tasks,
        )

    def _script(self, ask: Ask, job: Job, *first: str) -> str:
        return batch_script(
            self._scheduler.header(ask),
            first=(*self._scheduler.first_lines, *first),
            environment=self.options.environment,
            python=self.options.python or sys.executable,
            limit_s=job.resources.timeout_s,
        )

    def _listed(self, ids: Sequence[str]) -> list[Listed]:
        return self._scheduler.listed(self._run, ids=ids)

    def greet(self) -> str:
        """Ask the queue for a job that is not there.

        Raises
        ------
        BackendError
            If it does not answer.
        """
        self._scheduler.listed(self._run, name="motherlode-check")
        return f"{self._scheduler.title} answers" + (f" on {self.options.host}" if self.options.host else "")

    def find(self, job: Job) -> str | None:
        """The handle of a job, by what its directory knows, by its name in the queue, or by having started.

        Raises
        ------
        BackendError
            If a submission is still on its way, or the batch system does not answer.
        """
        directory = Path(job.directory)
        with locked(directory):
            if (known := known_handle(directory)) is not None:
                return str(known)
            return self._search(job, directory, {batch_name(job)})

    def _search(self, job: Job, directory: Path, names: Collection[str]) -> str | None:
        # First it is made sure that none can come any more, then one looks.
        has_started = self._host.recall(directory, batch_name(job), self.options.answer_within)
        listed = [one for one in self._scheduler.listed(self._run, name=batch_name(job)) if one.name in names]
        launched = [one for one in listed if not one.was_refused]
        if launched:
            # Of several copies, the one that may still run.
            return str(keep(max(launched, key=lambda one: one.is_active), directory))
        return str(Handle(UNKNOWN_ID, UNTOLD, batch_name(job), directory)) if has_started else None

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle, with one look at the queue for all.

        A job whose exit code is there has ENDED. One that the batch system does not list, and whose directory does not
        say how it ended, is GONE; so is one of which only the id is listed, for another job. UNKNOWN are those of
        whom it lists a state that is not known, and all while it, or the host behind ssh, is silent.
        """
        parsed = {text: Handle.parse(text) for text in handles}
        known = {text: handle for text, handle in parsed.items() if handle is not None}
        open_ones = {text: handle for text, handle in known.items() if not has_outcome(handle.directory)}
        # A text that is not ours: no batch system knows it.
        reports = {text: JobReport(JobPhase.GONE if text not in known else JobPhase.ENDED) for text in handles}
        if open_ones:
            reports |= self._look_at(open_ones)
        return reports

    def _look_at(self, handles: Mapping[str, Handle]) -> dict[str, JobReport]:
        ids = [handle.id for handle in handles.values() if handle.id != UNKNOWN_ID]
        try:
            listed = self._listed(ids)
        except BackendError as error:
            return dict.fromkeys(handles, JobReport(JobPhase.UNKNOWN, detail=str(error)))
        by_name: dict[str, list[Listed]] = {}
        for one in listed:
            by_name.setdefault(one.name, []).append(one)
        return {text: self._report(handle, by_name) for text, handle in handles.items()}

    def _report(self, handle: Handle, by_name: Mapping[str, Sequence[Listed]]) -> JobReport:
        array, _, _ = handle.name.partition("/")
        one = _the_job(handle, by_name.get(handle.name) or by_name.get(array, ()))
        if one is not None and one.is_active:
            return JobReport(one.phase, detail=one.detail)
        try:
            self._host.fetch(handle.directory, handle.name, self.options.transfer_within)
            return verdict(handle.directory, one, self._scheduler.sayings, self.options.environment)
        except BackendError as error:
            return JobReport(JobPhase.UNKNOWN, detail=str(error))
        except OSError as error:
            return JobReport(JobPhase.UNKNOWN, detail=f"{handle.directory} cannot be read: {error.strerror}")

    def cancel(self, handles: Sequence[str]) -> None:
        """End these jobs; only such as are listed under their handle's name, so never another job of the same id.

        Raises
        ------
        BackendError
            If the batch system does not answer.
        """
        known = [handle for text in handles if (handle := Handle.parse(text)) is not None]
        if not known:
            return
        ids = [handle.id for handle in known if handle.id != UNKNOWN_ID]
        listed = self._listed(ids)
        ours = {handle.name for handle in known}
        active = [one.id for one in listed if one.is_active and one.name in ours]
        if active:
            self._scheduler.cancel(self._run, active)

    def _run(self, command: Sequence[str]) -> Answer:
        return self._host.run(command, self.options.answer_within)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[int]:
    """The job's file `submitting`, locked; whoever inherits it keeps it locked."""
    lock = file_locks.hold(directory / _LOCK, BackendSilent(f"a submission of {directory} is still on its way"))
    try:
        yield lock
    finally:
        os.close(lock)


def known_handle(directory: Path) -> Handle | None:
    """The handle of the job in this directory, if it was ever written."""
    try:
        found = Handle.parse((directory / _HANDLE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    # A directory that was copied or moved is another job's.
    return found if found is not None and found.directory == directory else None


def keep(one: Listed, directory: Path) -> Handle:
    """The handle of a job that the batch system lists, from now on in the job's directory, too."""
    handle = Handle(one.id, one.submitted or UNTOLD, one.name, directory)
    JobDirectory(directory).write(_HANDLE, f"{handle}\n")
    return handle


def _the_job(handle: Handle, copies: Sequence[Listed]) -> Listed | None:
    """The handle's job among those of its name; another copy if that one may still run and the job itself may not."""
    own = [
        one
        for one in copies
        if one.id in (handle.id, handle.id.partition("_")[0])
        and (one.submitted is None or handle.submitted in (one.submitted, UNTOLD))
    ]
    others = [one for one in copies if one.id != handle.id and one.is_active]
    if own and own[0].is_active:
        return own[0]
    return others[0] if others else next(iter(own), None)
