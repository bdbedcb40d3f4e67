"""Jobs run on this machine, each in a process of its own, some at once and the others in a queue."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from active_learning.domain import options
from active_learning.domain.job import Job, JobReport
from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters import this_machine

__all__ = ["Processes"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from active_learning.submitters.processes.supervisor import main
main(sys.argv[2])
"""
_ANSWER_WITHIN_S = 120.0
_CLOSE_WITHIN_S = 10.0


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes:
    """Run jobs on this machine, at most `workers` at once.

    A job that runs too long, crashes or is killed loses itself only. Jobs, and the programs they started, die with
    the process that submitted them, also when that one is killed. `poll` and `find` look at the job's directory and
    its lock and so answer in any process; `cancel` reaches the jobs that this object submitted.
    """

    class Options(options.Options):
        """Keys of ``[submitter]`` with ``kind = "processes"``."""

        workers: int | None = Field(None, ge=1, description="Jobs at once; without it, the number of cores.")
        threads: int = Field(1, ge=1, description="Threads of numerical libraries in each job (OMP_NUM_THREADS).")
        nice: int = Field(0, ge=0, le=19, description="How far jobs step back behind other programs: 0 to 19.")
        grace: options.Duration = Field(
            3.0, description="Time that a job which must end has to clean up, before it is killed."
        )
        preload: tuple[str, ...] = Field(
            (), description="Modules to import once for all jobs, such as a calculator's that is slow to import."
        )

    def __init__(self, options: Options) -> None:
        self.options = options
        self._one_at_a_time = threading.Lock()
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., Processes] | None = None
        self._owner = os.getpid()
        self._numbers = itertools.count()

    def submit(self, job: Job) -> str:
        """Put the job into the queue; the handle is its directory.

        Raises
        ------
        TransientSubmitError
            If the supervising process cannot be started now.
        BackendError
            If the directory holds no job, another living process has this job, or the supervising process does not
            answer.
        """
        directory = Path(job.directory)
        try:
            module = str(JobDirectory(directory).read_job()["entry"]).partition(":")[0]
        except (OSError, ValueError, KeyError) as error:
            raise BackendError(f"{directory} holds no job.json that can be read: {error}") from error
        self._ask({"do": "run", "directory": str(directory), "module": module, "timeout_s": job.resources.timeout_s})
        return str(directory)

    def find(self, job: Job) -> str | None:
        """The handle if the job ever started or is queued by a living process; else None."""
        return this_machine.find(job)

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobReport]:
        """One report for each handle, in any process; a job that died with its process has ENDED."""
        return {handle: this_machine.report(handle) for handle in handles}

    def cancel(self, handles: Sequence[str]) -> None:
        """Take jobs of this object out of the queue; send SIGTERM to running ones, and SIGKILL after `grace`."""
        for handle in handles:
            if self._is_alive():
                self._ask({"do": "cancel", "directory": handle})

    def close(self) -> None:
        """Kill what still runs, forget the queue; return when all processes are gone. Twice is fine."""
        with self._one_at_a_time:
            if self._end is not None:
                self._end()
            self._supervisor = self._end = None

    def _is_alive(self) -> bool:
        # After a fork the supervisor belongs to the other process.
        return self._supervisor is not None and self._owner == os.getpid() and self._supervisor.poll() is None

    def _ask(self, order: Mapping[str, Any]) -> None:
        with self._one_at_a_time:
            supervisor = self._supervisor if self._is_alive() else None
            answer = _exchange(supervisor or self._start(), {"number": next(self._numbers), **order})
        if answer["error"]:
            raise BackendError(answer["error"])

    def _start(self) -> subprocess.Popen[bytes]:
        if self._end is not None:
            self._end()
        settings = {
            "workers": self.options.workers or _n_cores(),
            "grace_s": self.options.grace,
            "nice": self.options.nice,
            "preload": list(self.options.preload),
            "parent": os.getpid(),
        }
        paths = [path or str(Path.cwd()) for path in sys.path]
        try:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(paths), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=os.environ | dict.fromkeys(_THREADS, str(self.options.threads)),
                # Ctrl-C is for the campaign; what it means for the jobs is the campaign's to decide.
                start_new_session=True,
            )
        except OSError as error:
            raise TransientSubmitError(f"cannot start the process that supervises the jobs: {error}") from error
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._supervisor, self._owner)
        return self._supervisor


def _exchange(supervisor: subprocess.Popen[bytes], order: Mapping[str, Any]) -> dict[str, Any]:
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    try:
        # One short line: the pipe takes all of it or nothing, so that Ctrl-C cannot leave half an order.
        supervisor.stdin.write(json.dumps(order).encode() + b"\n")
    except BrokenPipeError as error:
        raise BackendError("the process that supervises the jobs has died, and its jobs with it") from error
    while True:
        ready, _, _ = select.select([supervisor.stdout], [], [], _ANSWER_WITHIN_S)
        line = supervisor.stdout.readline() if ready else b""
        if not line:
            supervisor.kill()
            supervisor.wait()
            raise BackendError("the process that supervises the jobs does not answer; it and its jobs were ended")
        answer: dict[str, Any] = json.loads(line)
        # Another number is the answer to an earlier order whose sender was interrupted before it came.
        if answer["number"] == order["number"]:
            return answer


def _end(supervisor: subprocess.Popen[bytes], owner: int) -> None:
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        supervisor.stdin.close()
    supervisor.stdout.close()
    if owner != os.getpid():
        return
    try:
        supervisor.wait(_CLOSE_WITHIN_S)
    except subprocess.TimeoutExpired:
        # Its jobs see the end of their lifeline.
        supervisor.kill()
        supervisor.wait()
