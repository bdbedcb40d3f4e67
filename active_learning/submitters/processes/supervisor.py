"""The process that forks the jobs of `processes`: it queues them, limits their time, and dies with the campaign.

It is a fresh interpreter that never runs the campaign's main module, has one thread, and has imported what the jobs
need, so that a job costs one fork. It is told what to do in lines of JSON through a pipe and answers each with one
line. The end of that pipe is the campaign's death: then everything is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import ALREADY_STARTED
from active_learning.submitters import this_machine
from active_learning.submitters.processes.job_process import run_and_exit
from active_learning.submitters.sessions import kill_session, signal_session

__all__ = ["Supervisor", "main"]

_LONGEST_NAP_S = 0.5


@dataclass(frozen=True)
class _Queued:
    directory: Path
    module: str
    timeout_s: float
    lock: int


@dataclass
class _Running:
    job: _Queued
    deadline: float
    is_cancelled: bool = False
    is_late: bool = False
    kill_at: float | None = None


class Supervisor:
    """Queue, running jobs and the loop that moves them on.

    Parameters
    ----------
    orders, answers : file descriptors of the pipes from and to the campaign
    workers : jobs at once
    grace_s : seconds between SIGTERM and SIGKILL
    parent : process id of the campaign
    """

    def __init__(self, orders: int, answers: int, *, workers: int, grace_s: float, parent: int) -> None:
        self._orders, self._answers = orders, answers
        self._workers, self._grace_s, self._parent = workers, grace_s, parent
        self._queue: deque[_Queued] = deque()
        self._running: dict[int, _Running] = {}
        self._imported: set[str] = set()
        self._input = b""
        self._lifeline, self._life = os.pipe()
        self._wake, self._waker = os.pipe()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker)

    def serve(self) -> None:
        """Work until the campaign's end of the pipe closes or the campaign is gone, then kill what runs."""
        try:
            while self._listen():
                self._reap()
                self._end_late_ones()
                self._launch()
        finally:
            for pid in self._running:
                kill_session(pid)
            for pid in self._running:
                os.waitpid(pid, 0)

    def preload(self, module: str) -> None:
        """Import a module once, before the jobs that need it are forked."""
        if module in self._imported:
            return
        self._imported.add(module)
        # If it cannot be imported, the job says so, in its own stderr and exit code.
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(module)

    def _listen(self) -> bool:
        """Sleep until something happens, obey what was asked; False if the campaign is gone."""
        ready, _, _ = select.select([self._orders, self._wake], [], [], self._nap_s())
        # A copy of the pipe in a process that the campaign forked would hide its death; its successor does not.
        if os.getppid() != self._parent:
            return False
        if self._wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
        if self._orders in ready:
            received = os.read(self._orders, 1 << 16)
            *lines, self._input = (self._input + received).split(b"\n")
            for line in lines:
                self._answer(json.loads(line))
            return bool(received)
        return True

    def _nap_s(self) -> float:
        now = time.monotonic()
        times = [one.kill_at or one.deadline for one in self._running.values()]
        return max(0.0, min([_LONGEST_NAP_S, *(when - now for when in times)]))

    def _answer(self, order: dict[str, Any]) -> None:
        fault: str | None = None
        try:
            if order["do"] == "run":
                self._enqueue(Path(order["directory"]), order["module"], order["timeout_s"])
            else:
                self._cancel(Path(order["directory"]))
        except BackendError as error:
            fault = str(error)
        os.write(self._answers, json.dumps({"number": order["number"], "error": fault}).encode() + b"\n")

    def _enqueue(self, directory: Path, module: str, timeout_s: float) -> None:
        known = {one.directory for one in self._queue} | {one.job.directory for one in self._running.values()}
        if directory not in known:
            self._queue.append(_Queued(directory, module, timeout_s, this_machine.hold(directory)))

    def _cancel(self, directory: Path) -> None:
        for job in [job for job in self._queue if job.directory == directory]:
            self._queue.remove(job)
            os.close(job.lock)
        for pid, one in self._running.items():
            if one.job.directory == directory and not one.is_cancelled:
                one.is_cancelled = True
                self._terminate(pid, one)

    def _terminate(self, pid: int, one: _Running) -> None:
        if one.kill_at is None:
            one.kill_at = time.monotonic() + self._grace_s
            signal_session(pid, signal.SIGTERM)

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for pid, one in self._running.items():
            if one.kill_at is not None and now >= one.kill_at:
                one.kill_at = now + self._grace_s
                kill_session(pid)
            elif one.kill_at is None and now >= one.deadline:
                one.is_late = True
                self._terminate(pid, one)

    def _launch(self) -> None:
        while self._queue and len(self._running) < self._workers:
            job = self._queue[0]
            self.preload(job.module)
            if os.getppid() != self._parent:
                return  # the import took longer than the campaign lived
            # What an import printed and is not written out yet would be written by each job, into its own files.
            sys.stdout.flush()
            sys.stderr.flush()
            try:
                pid = os.fork()
            except OSError as error:
                # Too many processes or too little memory now: the job stays first in the queue.
                print(f"cannot fork for the job in {job.directory}: {error.strerror}", file=sys.stderr)
                return
            if pid == 0:
                run_and_exit(job.directory, self._lifeline, self._files_but(job.lock))
            self._queue.popleft()
            self._running[pid] = _Running(job, time.monotonic() + job.timeout_s)

    def _files_but(self, lock: int) -> list[int]:
        """Open files that a new job must not keep: a lock lives as long as anyone has it open."""
        locks = [one.lock for one in self._queue] + [one.job.lock for one in self._running.values()]
        others = [other for other in locks if other != lock]
        return [self._orders, self._answers, self._life, self._wake, self._waker, *others]

    def _reap(self) -> None:
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            one = self._running.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            # What it left running. A killed job may have had no chance to end its programs.
            if code < 0 or one.kill_at is not None:
                kill_session(pid)
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            failure = _failure(one, code)
            if failure and JobDirectory(one.job.directory).outcome() is None:
                try:
                    this_machine.note_failure(one.job.directory, failure)
                except OSError as error:
                    # A full disk: the reason is lost, not the request. Without one the job reads as lost.
                    print(f"cannot note in {one.job.directory}: {failure.detail}: {error.strerror}", file=sys.stderr)
            os.close(one.job.lock)


def _failure(one: _Running, code: int) -> Failure | None:
    """Why a job's process ended, for a job that left no exit code; None if there is nothing to say."""
    if one.is_late:
        return Failure(FailureKind.TIMEOUT, f"ran longer than {one.job.timeout_s:g} s and was ended")
    if one.is_cancelled or code == ALREADY_STARTED:
        return None
    if code >= 0:
        return Failure(FailureKind.CRASHED, f"the process ended with status {code} and left no outcome")
    text = f"killed by signal {-code} ({signal.Signals(-code).name})"
    if -code == signal.SIGKILL:
        text += ", not by the campaign; the kernel does so when memory runs out"
    return Failure(FailureKind.CRASHED, text)


def main(arguments: str) -> None:
    """Serve with the settings in `arguments`, a JSON object: workers, grace_s, parent, nice, preload."""
    settings = json.loads(arguments)
    os.nice(settings["nice"])
    # One open file for each queued job.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    orders, answers = _take_standard_pipes()
    supervisor = Supervisor(
        orders, answers, workers=settings["workers"], grace_s=settings["grace_s"], parent=settings["parent"]
    )
    for module in settings["preload"]:
        supervisor.preload(module)
    supervisor.serve()


def _take_standard_pipes() -> tuple[int, int]:
    """The pipes that are descriptors 0 and 1, put where nothing that a module prints can reach them."""
    orders, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, answers
