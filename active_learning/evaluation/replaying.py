"""Many replays at once, each in a process of its own that uses one core; what is done is not done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Queue
from shutil import rmtree
from typing import IO

import psutil

from active_learning.evaluation.ground import Ground
from active_learning.evaluation.replayed import Order, Replayed

__all__ = ["FailedReplay", "Replays", "n_cores", "replay_all", "run_file"]

_LIMITED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
"""How many threads a process may start; the last is what joblib takes for the number of cores."""


@dataclass(frozen=True)
class FailedReplay:
    """A replay that ended with an error."""

    strategy: str
    seed: int
    error: str


@dataclass(frozen=True)
class Replays:
    """All that were asked for: those that ended well, in the order they were asked for, and the others."""

    done: tuple[Replayed, ...]
    failed: tuple[FailedReplay, ...] = ()


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_file(ground: Ground, order: Order) -> str:
    """Name of the file that a replay's result is written to."""
    return f"{order.key(ground.fingerprint)}.json"


def replay_all(
    ground: Ground,
    orders: Sequence[Order],
    folder: Path,
    *,
    n_workers: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Replays:
    """Replay what was not replayed before. Whatever ends this early, what is done stays.

    Parameters
    ----------
    folder : results lie in `runs` in it
    n_workers : processes; one for each core without it
    progress : told how many of all are done
    """
    runs = folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    files = [run_file(ground, order) for order in orders]
    missing = {file: order for file, order in zip(files, orders, strict=True) if not (runs / file).exists()}
    progress(sum(file not in missing for file in files), len(files))
    errors: dict[str, str] = {}
    if missing:
        crew = _Crew(ground, runs, _scratch(folder), deque(missing.items()))
        with closing(crew.work(min(n_workers or n_cores(), len(missing)))) as results:
            for file, error in results:
                del missing[file]
                if error is not None:
                    errors[file] = error
                progress(sum(other not in missing for other in files), len(files))
    done, failed = [], []
    for file, order in zip(files, orders, strict=True):
        if file in errors:
            failed.append(FailedReplay(order.strategy, order.seed, errors[file]))
        else:
            # Another strategy of the same tables may have written it.
            found = Replayed.from_text((runs / file).read_text(encoding="utf-8"))
            done.append(replace(found, strategy=order.strategy))
    return Replays(tuple(done), tuple(failed))


def _scratch(folder: Path) -> Path:
    """A folder for files that last as long as a replay; those of processes that are gone are removed."""
    root = folder / "scratch"
    root.mkdir(exist_ok=True)
    for entry in root.iterdir():
        if not (entry.name.isdigit() and psutil.pid_exists(int(entry.name))):
            rmtree(entry, ignore_errors=True)
    mine = root / str(os.getpid())
    mine.mkdir(exist_ok=True)
    return mine


class _Worker:
    """A process that replays, one line in, one line out."""

    def __init__(self, ground: Ground, runs: Path, scratch: Path) -> None:
        arguments = [str(path.resolve()) for path in (ground.folder, runs, scratch)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "active_learning.evaluation.replay_worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict.fromkeys(_LIMITED, "1"),
            start_new_session=True,  # Ctrl-C is for whoever asked; a worker ends when its input does
        )

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def replay(self, file: str, order: Order) -> str | None:
        """Replay; the error, if it ended with one."""
        stdin, stdout = self._pipes()
        with suppress(BrokenPipeError):  # then there is no answer either
            stdin.write(json.dumps({"file": file, "order": order.to_json()}) + "\n")
            stdin.flush()
        answer = stdout.readline()
        if not answer:
            return f"the process that replayed it died (exit status {self.end()}); what it said stands above"
        error: str | None = json.loads(answer).get("error")
        return error

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def end(self) -> int:
        """End the process, in the middle of a replay as well; its exit status."""
        with suppress(ProcessLookupError, PermissionError):  # nobody is left (macOS: but a zombie)
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def close(self) -> None:
        """Give back what the process held."""
        for pipe in self._pipes():
            with suppress(BrokenPipeError):
                pipe.close()


@dataclass
class _Crew:
    """Threads that each keep one process busy."""

    ground: Ground
    runs: Path
    scratch: Path
    waiting: deque[tuple[str, Order]]
    _ended: Queue[tuple[str, str | None] | Exception] = field(default_factory=Queue)
    _alive: set[_Worker] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_over: bool = False

    def work(self, n_workers: int) -> Generator[tuple[str, str | None], None, None]:
        """File and error (None if it ended well) of each replay, as they end."""
        n_orders = len(self.waiting)
        threads = [threading.Thread(target=self._serve, args=(number,)) for number in range(n_workers)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(n_orders):
                ended = self._ended.get()
                if isinstance(ended, Exception):
                    raise ended
                yield ended
        finally:
            self._end()
            for thread in threads:
                thread.join()
            rmtree(self.scratch, ignore_errors=True)
            with suppress(OSError):  # another process's files are there
                self.scratch.parent.rmdir()

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            workers = tuple(self._alive)
        for worker in workers:
            worker.end()

    def _serve(self, number: int) -> None:
        """One thread's work: its process is replaced if it dies."""
        worker: _Worker | None = None
        try:
            while True:
                with self._lock:
                    if self._is_over or not self.waiting:
                        return
                    file, order = self.waiting.popleft()
                    if worker is None or not worker.is_alive:
                        worker = self._hired(worker, number)
                error = worker.replay(file, order)
                with self._lock:
                    if self._is_over:
                        return
                self._ended.put((file, error))
        except Exception as error:  # noqa: BLE001 - raised again where the results are waited for
            self._ended.put(error)
        finally:
            if worker is not None:
                worker.end()
                worker.close()

    def _hired(self, dead: _Worker | None, number: int) -> _Worker:
        if dead is not None:
            self._alive.discard(dead)
            dead.close()
        worker = _Worker(self.ground, self.runs, self.scratch / str(number))
        self._alive.add(worker)
        return worker
