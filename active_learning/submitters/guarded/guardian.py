"""The process beside a job that outlives the campaign: it waits for a slot, starts the job, and ends it if it must.

Its memory is what a queued job costs, so that it is a bare interpreter: what is needed only after the job ended, or for
some jobs only, is imported then. Everything that others must know stands in the job's directory: the lock, held from
before this process was born until nothing of the job is left; `guardian`, which names this process; `ended_by`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time

__all__ = ["GUARDIAN_FILE", "Order", "main"]

GUARDIAN_FILE = "guardian"
_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SHORTEST_NAP_S, _LONGEST_NAP_S = 0.01, 0.25
_LONGEST_WATCH_S = 60.0
_ALREADY_STARTED = 75
_JOB = """
import json, sys
settings = json.loads(sys.argv[1])
sys.path[:] = settings["paths"]
from active_learning.submitters.guarded.guarded_job import main
main(settings)
"""


class Order:
    """What a guardian is told, as keywords of JSON values. (No dataclass: its module alone needs as much as this one.)

    Parameters
    ----------
    directory : of the job; absolute
    paths : where to import from, the job's process as well
    timeout_s, memory_mb : what the job may use, the memory of all its processes together; None: no limit
    grace_s : seconds between SIGTERM and SIGKILL
    nice : how far the job steps back behind other programs
    lock : the locked file of the directory, inherited; None if nobody locks it
    slots, workers : a folder and how many slots it has, of which the job needs one; None: it starts at once
    lifeline : a pipe's reading end, inherited, whose end of file ends the job; None: nobody's death ends it
    is_detached : whether this process makes itself independent of the one that started it
    """

    def __init__(
        self,
        *,
        directory: str,
        paths: list[str],
        timeout_s: float,
        memory_mb: int | None,
        grace_s: float,
        nice: int = 0,
        lock: int | None = None,
        slots: str | None = None,
        workers: int = 1,
        lifeline: int | None = None,
        is_detached: bool = False,
    ) -> None:
        self.directory, self.paths = directory, paths
        self.timeout_s, self.memory_mb, self.grace_s, self.nice = timeout_s, memory_mb, grace_s, nice
        self.lock, self.slots, self.workers, self.lifeline = lock, slots, workers, lifeline
        self.is_detached = is_detached


def main(text: str) -> None:
    """Guard one job; `text` is an `Order` in JSON."""
    order = Order(**json.loads(text))
    sys.path[:] = order.paths
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in _TO_END:
        signal.signal(number, signal.SIG_DFL)
    if order.is_detached:
        _leave_the_campaign(order.directory)
    os.nice(order.nice)
    held = [] if order.lock is None else [order.lock]
    if order.slots is not None:
        # A signal that comes now kills this process, and the job ends without having begun.
        held.append(_take_slot(order.slots, order.workers))
    _Guardian(order, held).serve()


def _leave_the_campaign(directory: str) -> None:
    """Go on in a grandchild of the campaign; the child says with its exit status whether that is there."""
    listen, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os._exit(0 if os.read(listen, 1) else 1)
    os.close(listen)
    _sign(directory)
    # Nobody listens if this took too long; then this process is found by its lock.
    with contextlib.suppress(BrokenPipeError):
        os.write(tell, b"1")
    os.close(tell)


def _sign(directory: str) -> None:
    from active_learning.submitters.process_birth import born

    temporary = f"{directory}/.{GUARDIAN_FILE}.{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(handle, json.dumps({"pid": os.getpid(), "born": born(os.getpid())}).encode())
    os.close(handle)
    os.replace(temporary, f"{directory}/{GUARDIAN_FILE}")  # noqa: PTH105 - pathlib is not light


def _take_slot(folder: str, workers: int) -> int:
    """Wait for one of the slots; return the locked file that is it.

    All wait for the first place in the line, without doing anything; who has it looks for a free slot, more and more
    seldom, so that the looking delays a job by a twentieth of its time in this place at most.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    first_place = os.open(f"{folder}/line", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(first_place, fcntl.LOCK_EX)
    begin = time.monotonic()
    slots = [os.open(f"{folder}/{number}", os.O_RDWR | os.O_CREAT, 0o600) for number in range(workers)]
    while (free := next(filter(_is_free, slots), None)) is None:
        time.sleep(min(max((time.monotonic() - begin) / 20, _SHORTEST_NAP_S), _LONGEST_NAP_S))
    for other in [first_place, *slots]:
        if other != free:
            os.close(other)
    return free


def _is_free(slot: int) -> bool:
    try:
        fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Guardian:
    """One job from its start to its end.

    Parameters
    ----------
    order : what the campaign asked for
    held : locked files, which the job shall hold as well: it counts as alive while any part of it lives
    """

    def __init__(self, order: Order, held: list[int]) -> None:
        self._order, self._held = order, held
        # Inherited under any number, also one that is too large for `select`.
        self._lifeline = None if order.lifeline is None else os.dup(order.lifeline)
        self._failure: tuple[str, str] | None = None
        self._is_ending = False
        self._kill_at: float | None = None
        self._next_look = 0.0
        self._wake, waker = os.pipe()
        for end in (self._wake, waker):
            os.set_blocking(end, False)
        for number in (signal.SIGCHLD, *_TO_END):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(waker)

    def serve(self) -> None:
        """Start the job, watch it, note what only this process knows, and leave nothing running."""
        try:
            pid, life = self._start()
        except OSError as error:
            self._note(("node", f"this machine cannot start the job's process: {error.strerror}"))
            return
        self._deadline = time.monotonic() + self._order.timeout_s
        code = None
        while code is None:
            self._listen(pid)
            self._watch(pid)
            ended, status = os.waitpid(pid, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if ended else None
        self._clean_up(pid, code)
        if (failure := self._failure or self._death(code)) and not os.path.exists(self._path("exit_code")):  # noqa: PTH110
            self._note(failure)
        os.close(life)

    def _path(self, name: str) -> str:
        return f"{self._order.directory}/{name}"

    def _start(self) -> tuple[int, int]:
        lifeline, life = os.pipe()
        settings = {
            "directory": self._order.directory,
            "paths": self._order.paths,
            "lifeline": lifeline,
            "held": self._held,
        }
        for handle in (lifeline, *self._held):
            os.set_inheritable(handle, True)
        command = [sys.executable, "-P", "-c", _JOB, json.dumps(settings)]
        pid = os.posix_spawn(sys.executable, command, os.environ, setsid=True)
        os.close(lifeline)
        return pid, life

    def _listen(self, pid: int) -> None:
        """Sleep until there is something to do."""
        ears = [self._wake] if self._lifeline is None else [self._wake, self._lifeline]
        ready, _, _ = select.select(ears, [], [], self._nap_s())
        if self._lifeline is not None and self._lifeline in ready:
            os.close(self._lifeline)
            self._lifeline = None
            self._end(pid)
        if self._wake in ready and not set(_TO_END).isdisjoint(os.read(self._wake, 4096)):
            self._end(pid)

    def _nap_s(self) -> float:
        times = [self._deadline if self._kill_at is None else self._kill_at]
        if self._order.memory_mb is not None and self._kill_at is None:
            times.append(self._next_look)
        return min(max(0.0, min(times) - time.monotonic()), _LONGEST_WATCH_S)

    def _watch(self, pid: int) -> None:
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at:
                self._kill_at = now + self._order.grace_s
                _kill(pid)
        elif now >= self._deadline:
            self._failure = "timeout", f"ran longer than {self._order.timeout_s:g} s and was ended"
            self._end(pid)
        elif self._order.memory_mb is not None and now >= self._next_look:
            self._look_at_memory(pid, now)

    def _look_at_memory(self, pid: int, now: float) -> None:
        from active_learning.submitters.guarded.session_memory import session_memory_mb

        limit = self._order.memory_mb
        assert limit is not None
        used = session_memory_mb(pid, limit)
        # On a machine with thousands of processes one look takes long; it may cost a fiftieth of a core.
        self._next_look = now + max(_LONGEST_NAP_S, 50 * (time.monotonic() - now))
        if used > limit:
            self._failure = "out_of_memory", f"used {used:.0f} MB in all, of {limit} MB that it may use, and was ended"
            # Not gently: what has too much memory may need more to clean up.
            self._kill_at = now
            self._is_ending = True

    def _end(self, pid: int) -> None:
        if self._is_ending:
            return
        from active_learning.submitters.sessions import signal_session

        self._is_ending = True
        self._kill_at = time.monotonic() + self._order.grace_s
        signal_session(pid, signal.SIGTERM)

    def _clean_up(self, pid: int, code: int) -> None:
        """End what the job left running. A killed job may have had no chance to end its programs."""
        if code < 0 or self._is_ending:
            _kill(pid)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left (macOS: but a zombie)
            os.killpg(pid, signal.SIGKILL)

    def _death(self, code: int) -> tuple[str, str] | None:
        """What there is to say of a job that ended by itself, if it left no outcome."""
        if self._is_ending or code == _ALREADY_STARTED:
            return None
        if code >= 0:
            return "crashed", f"the process ended with status {code} and left no outcome"
        text = f"killed by signal {-code} ({signal.Signals(-code).name})"
        if -code == signal.SIGKILL:
            text += ", not by the campaign; the kernel does so when memory runs out"
        return "crashed", text

    def _note(self, failure: tuple[str, str]) -> None:
        from pathlib import Path

        from active_learning.domain.label import Failure, FailureKind
        from active_learning.submitters import this_machine

        kind, detail = failure
        try:
            this_machine.note_failure(Path(self._order.directory), Failure(FailureKind(kind), detail))
        except OSError as error:
            # A full disk: the reason is lost, not the request. Without one the job reads as lost.
            print(f"cannot note why the job ended: {detail}: {error.strerror}", file=sys.stderr)


def _kill(pid: int) -> None:
    from active_learning.submitters.sessions import kill_session

    kill_session(pid)
