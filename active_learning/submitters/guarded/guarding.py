"""Start the guardian of a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from active_learning.domain.job import Job
from active_learning.errors import BackendError, UserError
from active_learning.jobs import JobDirectory
from active_learning.submitters.guarded.guardian import Order
from active_learning.submitters.guarded.session_memory import can_be_measured

__all__ = ["check_job", "import_paths", "start_guardian", "thread_limits"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Bare (-I -S): it needs little of the standard library and two small modules of ours.
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from active_learning.submitters.guarded.guardian import main
main(sys.argv[2])
"""


def check_job(job: Job) -> None:
    """Refuse what no guardian can do.

    Raises
    ------
    BackendError
        If the directory holds no job.
    UserError
        If a limit of memory is asked for where memory cannot be measured.
    """
    try:
        JobDirectory(Path(job.directory)).read_job()
    except (OSError, ValueError) as error:
        raise BackendError(f"{job.directory} holds no job.json that can be read: {error}") from error
    if job.resources.memory_mb is not None and not can_be_measured():
        raise UserError("this system does not say how much memory a job uses (no /proc): leave the memory limit out")


def import_paths() -> list[str]:
    """Where this process imports from, for processes that work in another folder."""
    return [path or str(Path.cwd()) for path in sys.path]


def thread_limits(threads: int) -> dict[str, str]:
    """Environment variables that limit the threads of numerical libraries."""
    return dict.fromkeys(_THREADS, str(threads))


def start_guardian(order: Order, *, environment: Mapping[str, str], keep: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a guardian, in a session of its own; what it and its job print goes to the job's files.

    Parameters
    ----------
    keep : open files that it inherits

    Raises
    ------
    OSError
        If the process cannot be started.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    out = os.open(f"{order.directory}/stdout", flags, 0o600)
    try:
        err = os.open(f"{order.directory}/stderr", flags, 0o600)
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, json.dumps(order.paths), json.dumps(vars(order))],
                cwd=order.directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=keep,
                start_new_session=True,
            )
        finally:
            os.close(err)
    finally:
        os.close(out)
