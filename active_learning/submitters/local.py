"""Jobs run on this machine, each on its own: they outlive the campaign's process, which adopts them again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from active_learning.domain import options
from active_learning.domain.job import Job, JobPhase, JobReport
from active_learning.errors import BackendError, BackendSilent, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters import this_machine
from active_learning.submitters.guarded.guardian import GUARDIAN_FILE, Order
from active_learning.submitters.guarded.guarding import check_job, import_paths, start_guardian, thread_limits
from active_learning.submitters.process_birth import born

__all__ = ["Local"]

_SLOTS = ".slots"
_ANSWER_WITHIN_S = 60.0


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Local:
    """Run jobs on this machine as detached processes, at most `workers` of a campaign at once.

    Each job has a guardian, a small process that waits for one of the campaign's slots, runs the job, limits its time
    and memory, and notes how it died. Neither is a child of the campaign, and both go on when it ends or is killed. The
    directory's lock is taken before the guardian is born and passed on to it and to the job, so that there is no moment
    in which a job that was launched cannot be seen. If a guardian is killed, its job and the job's programs end with
    it: no job runs without its limits.
    """

    class Options(options.Options):
        """Keys of ``[submitter]`` with ``kind = "local"``."""

        workers: int | None = Field(None, ge=1, description="Jobs at once; without it, the number of cores.")
        threads: int = Field(1, ge=1, description="Threads of numerical libraries in each job (OMP_NUM_THREADS).")
        nice: int = Field(0, ge=0, le=19, description="How far jobs step back behind other programs: 0 to 19.")
        grace: options.Duration = Field(
            3.0, description="Time that a job which must end has to clean up, before it is killed."
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def submit(self, job: Job) -> str:
        """Start the job's guardian; the handle is the directory.

        Raises
        ------
        TransientSubmitError
            If the guardian could not be started, and nothing of it is left.
        BackendError
            If the directory holds no job, another living process has this job, or the guardian is there but did not
            say so in time.
        UserError
            If the job has a limit of memory and this system does not say what is used.
        """
        check_job(job)
        directory = Path(job.directory)
        lock = this_machine.hold(directory)
        try:
            # That of an earlier guardian, which did not come to run the job.
            (directory / GUARDIAN_FILE).unlink(missing_ok=True)
            fault = self._launch(job, lock)
        finally:
            os.close(lock)
        if fault is None:
            return str(directory)
        if this_machine.report(str(directory)).phase is not JobPhase.ENDED:
            raise BackendSilent(f"the job in {directory} may have been started: {fault}")
        raise TransientSubmitError(f"cannot start the guardian of the job in {directory}: {fault}")

    def _launch(self, job: Job, lock: int) -> str | None:
        """Start the guardian and wait until it is independent; what went wrong, or None."""
        directory = Path(job.directory)
        order = Order(
            directory=str(directory),
            paths=import_paths(),
            timeout_s=job.resources.timeout_s,
            memory_mb=job.resources.memory_mb,
            grace_s=self.options.grace,
            nice=self.options.nice,
            lock=lock,
            slots=str(directory.parent / _SLOTS),
            workers=self.options.workers or _n_cores(),
            is_detached=True,
        )
        try:
            environment = os.environ | thread_limits(self.options.threads)
            starter = start_guardian(order, environment=environment, keep=[lock])
        except OSError as error:
            return str(error)
        try:
            status = starter.wait(_ANSWER_WITHIN_S)
        except subprocess.TimeoutExpired:
            # Then either there is a guardian, which has the lock, or nothing is left.
            starter.kill()
            starter.wait()
            return f"no word of it for {_ANSWER_WITHIN_S:g} s"
        return None if status == 0 else JobDirectory(directory).tail("stderr") or f"it ended with status {status}"

    def find(self, job: Job) -> str | None:
        """The handle if the job ever started, or waits for its turn; else None."""
        return this_machine.find(job)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle, in any process; a job whose guardian died has ENDED."""
        return {handle: this_machine.report(handle) for handle in handles}

    def cancel(self, handles: Sequence[str]) -> None:
        """Take waiting jobs out of the line; send SIGTERM to running ones, and SIGKILL after `grace`. In any process.

        Raises
        ------
        BackendError
            If a job is alive and its guardian cannot be found.
        """
        for handle in handles:
            _cancel(Path(handle))


def _cancel(directory: Path) -> None:
    give_up = time.monotonic() + _ANSWER_WITHIN_S
    while this_machine.report(str(directory)).phase is not JobPhase.ENDED:
        # A guardian that was born this moment has not signed yet; a job whose guardian was killed ends this moment.
        if (pid := _guardian_of(directory)) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                return
        if time.monotonic() > give_up:
            raise BackendError(f"the job in {directory} is alive, and its guardian cannot be found to end it")
        time.sleep(0.01)


def _guardian_of(directory: Path) -> int | None:
    """The id of the living process that guards the job."""
    try:
        signature = json.loads((directory / GUARDIAN_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    pid = int(signature["pid"])
    return pid if born(pid) == signature["born"] else None
