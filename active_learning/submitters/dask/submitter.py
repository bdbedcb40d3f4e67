"""Jobs as tasks of a Dask cluster, whose scheduler remembers them when the campaign's process is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from distributed import Client
from pydantic import Field

from active_learning.domain import options
from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError, BackendSilent, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters import this_machine
from active_learning.submitters.dask import task, ticket
from active_learning.submitters.guarded.guarding import check_job

__all__ = ["Dask"]

_PREFIX = "motherlode-"


class Dask:
    """Run jobs on the workers of a Dask cluster, one on each of their threads at a time.

    The job directories must lie on a file system that all workers share with the campaign, under the same path. A task
    is published under its job's directory, so that the scheduler keeps it when the campaign's process ends, and finds
    it again. A job that loses its worker is lost: Dask's second try finds the directory taken and says so. The job is a
    process of its own beside the worker, under its time limit, and ends when the worker dies or the task is cancelled.
    """

    class Options(options.Options):
        """Keys of ``[submitter]`` with ``kind = "dask"``."""

        address: str = Field(description="Address of the scheduler, such as 'tcp://node1:8786'.", min_length=1)
        threads: int = Field(1, ge=1, description="Threads of numerical libraries in each job (OMP_NUM_THREADS).")
        grace: options.Duration = Field(
            3.0, description="Time that a job which must end has to clean up, before it is killed."
        )
        answer_within: options.Duration = Field(30.0, description="Time that the scheduler has to be reached.")

    def __init__(self, options: Options) -> None:
        self.options = options

    def submit(self, job: Job) -> str:
        """Give the job to the scheduler; the handle is its directory.

        Raises
        ------
        TransientSubmitError
            If the scheduler cannot be reached, or refuses the job (the packages there are others than here).
        BackendError
            If the directory holds no job, or the scheduler is lost before it has confirmed the job.
        """
        check_job(job)
        directory = Path(job.directory)
        if not ticket.offer(directory):
            return str(directory)
        try:
            with self._client() as client:
                self._publish(client, job)
        except _NotReached as error:
            # A ticket may be an earlier submission's that is still waiting.
            raise TransientSubmitError(str(error)) from error
        return str(directory)

    def _publish(self, client: Client, job: Job) -> None:
        key = _key(str(job.directory))
        future = client.submit(
            task.run,
            str(job.directory),
            timeout_s=job.resources.timeout_s,
            memory_mb=job.resources.memory_mb,
            grace_s=self.options.grace,
            threads=self.options.threads,
            key=key,
            pure=False,
            retries=0,
        )
        client.publish_dataset(future, name=key, override=True)
        handle = str(job.directory)
        if _states(client, [handle])[handle] is None and ticket.withdraw(Path(handle)):
            client.unpublish_dataset(key)
            error = future.exception(timeout=self.options.answer_within)
            raise TransientSubmitError(f"the Dask scheduler does not take the job: {_text(error)}")

    def greet(self) -> str:
        """Ask the scheduler for its workers.

        Raises
        ------
        BackendError
            If it cannot be reached.
        """
        with self._client() as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
        return f"the Dask scheduler at {self.options.address} answers: {len(workers)} workers are there"

    def find(self, job: Job) -> str | None:
        """The handle of a job that a worker has taken or the scheduler knows; else None, and it will not run.

        Raises
        ------
        BackendError
            If the scheduler or the shared file system does not answer.
        """
        directory = Path(job.directory)
        try:
            if ticket.is_taken(directory) or ticket.is_over(directory):
                return str(directory)
            with self._client() as client:
                is_known = _states(client, [str(directory)])[str(directory)] is not None
            # A task that the scheduler forgot may be on its way in a worker: without the ticket it does nothing.
            is_gone = not is_known and (ticket.withdraw(directory) or not ticket.is_taken(directory))
        except OSError as error:
            raise BackendError(f"cannot look into {directory}: {error.strerror}") from error
        return None if is_gone else str(directory)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle; UNKNOWN where the scheduler has to be asked and does not answer."""
        reports = {handle: _report_of_ended(handle) for handle in handles}
        waiting = [handle for handle, report in reports.items() if report is None]
        asked: Mapping[str, JobReport] = {}
        if waiting:
            try:
                with self._client() as client:
                    states = _states(client, waiting)
                    asked = {
                        handle: _report(client, handle, state, self.options.answer_within)
                        for handle, state in states.items()
                    }
            except BackendError:
                asked = dict.fromkeys(waiting, JobReport(JobPhase.UNKNOWN))
        return {handle: report or asked[handle] for handle, report in reports.items()}

    def cancel(self, handles: Sequence[str]) -> None:
        """End jobs: those that wait never start; the worker of a running one sends SIGTERM, and SIGKILL after `grace`.

        Raises
        ------
        BackendError
            If the scheduler does not answer and a job may be running.
        """
        alive = [handle for handle in handles if _report_of_ended(handle) is None]
        for handle in alive:
            ticket.void(Path(handle))
        if alive:
            with self._client() as client:
                for handle in alive:
                    client.unpublish_dataset(_key(handle))

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """A connection for a moment. (What the scheduler shall keep is published, so it does not end with that.)

        Raises
        ------
        BackendError
            If the scheduler cannot be reached (`_NotReached`) or is lost meanwhile.
        """
        address = self.options.address
        try:
            client = Client(address, timeout=self.options.answer_within, set_as_default=False, name="motherlode")
        except (OSError, TimeoutError, ValueError) as error:
            raise _NotReached(f"cannot reach the Dask scheduler at {address}: {error}") from error
        try:
            yield client
        except (OSError, TimeoutError) as error:
            raise BackendSilent(f"lost the Dask scheduler at {address}: {error}") from error
        finally:
            client.close()


class _NotReached(BackendError):
    """There was no connection at all."""


def _key(handle: str) -> str:
    return _PREFIX + handle


def _states(client: Client, handles: Sequence[str]) -> dict[str, str | None]:
    """What the scheduler calls the state of each task; None if it does not know the task."""
    keys = [_key(handle) for handle in handles]
    told = client.sync(client.scheduler.get_task_status, keys=keys)
    return {handle: told[_key(handle)] for handle in handles}


def _report_of_ended(handle: str) -> JobReport | None:
    """The report of a job whose directory says that it ended; None if it does not."""
    directory = Path(handle)
    try:
        return this_machine.report(handle) if ticket.is_over(directory) else None
    except (FileNotFoundError, NotADirectoryError):
        # Removed, and its end with it; or the shared file system is not there now.
        return JobReport(JobPhase.ENDED if directory.parent.is_dir() else JobPhase.UNKNOWN)
    except OSError:
        return JobReport(JobPhase.UNKNOWN)


def _report(client: Client, handle: str, state: str | None, within_s: float) -> JobReport:
    """The report of a job by the state of its task; a task that has come to its end is forgotten."""
    if state in ("memory", "erred", None):
        if (ended := _report_of_ended(handle)) is None and state == "erred":
            ended = _note_error(client, handle, within_s)
        if state is not None:
            client.unpublish_dataset(_key(handle))
        return ended or JobReport(JobPhase.GONE)
    is_running = JobDirectory(Path(handle)).has_started
    return JobReport(JobPhase.RUNNING if is_running else JobPhase.QUEUED)


def _note_error(client: Client, handle: str, within_s: float) -> JobReport:
    """Keep why Dask could not run a task; our own function raises nothing for what a job does."""
    future = client.get_dataset(_key(handle), default=None)
    why = "its error is forgotten" if future is None else _text(future.exception(timeout=within_s))
    failure = Failure(FailureKind.NODE, f"Dask could not run the job: {why}")
    directory = Path(handle)
    ticket.void(directory)
    this_machine.note_failure(directory, failure)
    ticket.close(directory)
    return JobReport(JobPhase.ENDED, failure)


def _text(error: BaseException | None) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
