"""What a submitter on this machine knows of a job, kept in the job's directory, so that any process can answer.

Two files beside the job's own: `lock`, held (``flock``) by whoever queues or runs the job, and `ended_by`, a failure
that only the submitter can know. The kernel drops a lock when its holders die, however they die, so that a dead job
cannot look alive, and no process id that was used again can be mistaken for it. A handle is the directory.
"""

from __future__ import annotations

import json
from pathlib import Path

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError
from active_learning.jobs import JobDirectory
from active_learning.submitters import file_locks

__all__ = ["find", "hold", "note_failure", "report"]

_LOCK = "lock"
_ENDED_BY = "ended_by"


def hold(directory: Path) -> int:
    """Take the job's lock and return the file that holds it; closing that file in every process gives it back.

    Raises
    ------
    BackendError
        If another process has this job, or the lock cannot be taken at all.
    """
    return file_locks.hold(directory / _LOCK, BackendError(f"another process has the job in {directory}"))


def note_failure(directory: Path, failure: Failure) -> None:
    """Keep what only the submitter knows. To be called before the lock is given back."""
    JobDirectory(directory).write(_ENDED_BY, json.dumps({"kind": failure.kind, "detail": failure.detail}))


def _noted_failure(directory: Path) -> Failure | None:
    try:
        noted = json.loads((directory / _ENDED_BY).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Failure(FailureKind(noted["kind"]), str(noted["detail"]))


def find(job: Job) -> str | None:
    """The handle of a job that ever started or that a living process queues; None if it certainly never started."""
    directory = Path(job.directory)
    # The lock first: what is started between the two looks is then still found.
    return str(directory) if file_locks.is_held(directory / _LOCK) or JobDirectory(directory).has_started else None


def report(handle: str) -> JobReport:
    """Where the job of a handle stands, whichever process submitted it.

    A job whose holders are dead has ENDED; without an exit code in its directory it died with them.
    """
    directory = Path(handle)
    try:
        if file_locks.is_held(directory / _LOCK):
            started = JobDirectory(directory).has_started
            return JobReport(JobPhase.RUNNING if started else JobPhase.QUEUED)
        return JobReport(JobPhase.ENDED, _noted_failure(directory))
    except OSError:
        # The file system does not answer now (a stale mount, no permission): nothing is known.
        return JobReport(JobPhase.UNKNOWN)
