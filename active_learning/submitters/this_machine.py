"""What a submitter on this machine knows of a job, kept in the job's directory, so that any process can answer.

Two files beside the job's own: `lock`, held (``flock``) by whoever queues or runs the job, and `ended_by`, a failure
that only the submitter can know. The kernel drops a lock when its holders die, however they die, so that a dead job
cannot look alive, and no process id that was used again can be mistaken for it. A handle is the directory.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError
from active_learning.jobs import JobDirectory

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
    try:
        handle = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BackendError(f"cannot make a lock in {directory}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise BackendError(f"another process has the job in {directory}") from error
        raise BackendError(f"cannot lock files in {directory}: {error.strerror}") from error
    return handle


def _is_held(directory: Path) -> bool:
    try:
        handle = os.open(directory / _LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


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
    return str(directory) if _is_held(directory) or JobDirectory(directory).has_started else None


def report(handle: str) -> JobReport:
    """Where the job of a handle stands, whichever process submitted it.

    A job whose holders are dead has ENDED; without an exit code in its directory it died with them.
    """
    directory = Path(handle)
    try:
        if _is_held(directory):
            started = JobDirectory(directory).has_started
            return JobReport(JobPhase.RUNNING if started else JobPhase.QUEUED)
        return JobReport(JobPhase.ENDED, _noted_failure(directory))
    except OSError:
        # The file system does not answer now (a stale mount, no permission): nothing is known.
        return JobReport(JobPhase.UNKNOWN)
