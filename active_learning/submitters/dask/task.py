"""What a Dask worker does for a job: it starts the job's guardian, and ends it when the scheduler wants it no more."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from distributed import Status, Worker, get_worker

from active_learning.domain.label import Failure, FailureKind
from active_learning.jobs import JobDirectory
from active_learning.submitters import this_machine
from active_learning.submitters.dask import ticket
from active_learning.submitters.guarded.guardian import Order
from active_learning.submitters.guarded.guarding import import_paths, start_guardian, thread_limits
from active_learning.submitters.guarded.session_memory import can_be_measured

__all__ = ["run"]

_LOOK_EVERY_S = 0.2
_AT_WORK = (Status.running, Status.paused, Status.closing_gracefully)


def run(directory: str, *, timeout_s: float, memory_mb: int | None, grace_s: float, threads: int) -> None:
    """Run the job in a directory, once, and return when nothing of it is left.

    It runs as a process with a guardian of its own, which end it if this worker dies, however it dies.
    """
    path = Path(directory)
    if not ticket.take(path):
        _say_what_became_of_the_first_run(path)
        return
    order = Order(directory=directory, paths=import_paths(), timeout_s=timeout_s, memory_mb=memory_mb, grace_s=grace_s)
    if memory_mb is not None and not can_be_measured():
        _fail(path, "the worker's system does not say how much memory a job uses (no /proc): leave the limit out")
    else:
        _watch(path, order, threads)
    ticket.close(path)


def _say_what_became_of_the_first_run(path: Path) -> None:
    """Dask calls a second time when the worker of the first died; the job died with it, unless it had ended."""
    if not ticket.is_taken(path) or ticket.is_over(path):
        return
    _fail(path, "the job's Dask worker died; a job is not run a second time in its directory")
    ticket.close(path)


def _fail(path: Path, detail: str) -> None:
    if JobDirectory(path).outcome() is None:
        this_machine.note_failure(path, Failure(FailureKind.NODE, detail))


def _watch(path: Path, order: Order, threads: int) -> None:
    worker = get_worker()
    key = worker.get_current_task()
    order.lifeline, life = os.pipe()
    try:
        guardian = start_guardian(order, environment=os.environ | thread_limits(threads), keep=[order.lifeline])
    except OSError as error:
        os.close(life)
        _fail(path, f"the worker cannot start the job's guardian: {error}")
        return
    finally:
        os.close(order.lifeline)
    while not _has_ended(guardian):
        if not _is_wanted(worker, key):
            guardian.terminate()
    os.close(life)


def _has_ended(guardian: subprocess.Popen[bytes]) -> bool:
    try:
        guardian.wait(_LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _is_wanted(worker: Worker, key: object) -> bool:
    """Whether the scheduler still wants this task done, and the worker goes on."""
    task = worker.state.tasks.get(key)
    return worker.status in _AT_WORK and task is not None and task.state != "cancelled"
