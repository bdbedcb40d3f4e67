"""Featurize a stored pool: in chunks, each computed once, in processes of their own.

Descriptors of the composition are computed once for each composition of the pool, the others for each candidate. A
chunk that is done lies in a file named by its rows, so a campaign that was killed goes on where it was. A descriptor
that raises, hangs or kills its process costs its candidate that descriptor only (`featurize_worker`).
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from active_learning.domain.candidate import content_hash
from active_learning.domain.execution import Piece, Spread
from active_learning.engine.chunks import ChunkFolder, FeaturizerAddress, Group
from active_learning.errors import BackendError

__all__ = ["CHUNK", "COMPOSITIONS_CHUNK", "FeaturizedGroup", "featurize_group", "featurize_rows", "let_workers_go"]

CHUNK = 128
COMPOSITIONS_CHUNK = 4096
_MOST_PIECES = 256
"""Pieces a group is cut into at most: each may cost whoever carries it out some milliseconds."""
_DEATHS = 3
"""So often in a row may a worker die of a chunk before we give up: it is no candidate's fault then."""

Rows = tuple[int, int]


class _Worker:
    """A process that featurizes row ranges of the pool file, one line in, one line out."""

    def __init__(self, task: Piece) -> None:
        kind = task["featurizer"]["kind"]
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "active_learning.engine.featurize_worker", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | limits,
            start_new_session=True,  # Ctrl-C is for the campaign; a worker ends when its input does
        )
        # Whatever the featurizer needs is loaded once, before the first chunk, so that a chunk's death is its own.
        if self._read() != "ready":
            raise BackendError(
                f"The featurizer '{kind}' does not start in a process of its own"
                f" (exit status {self.end()}); its message stands above."
            )

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _read(self) -> str:
        return self._pipes()[1].readline().strip()

    def featurize(self, order: Piece) -> bool:
        """Compute a chunk; False if the process died meanwhile."""
        stdin, _ = self._pipes()
        try:
            stdin.write(json.dumps(order) + "\n")
            stdin.flush()
        except BrokenPipeError:
            return False
        return self._read() == "done"

    def end(self) -> int:
        """End the process, and what a descriptor may have left running; its exit status."""
        for pipe in self._pipes():
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        status = self._process.wait()
        self._kill_all()
        return status

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process in the middle of a chunk; whoever waits for the chunk hears that it died."""
        self._kill_all()
        self._process.wait()

    def _kill_all(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nobody is left (macOS: but a zombie)
            os.killpg(self._process.pid, signal.SIGKILL)


@dataclass(eq=False)
class _Crew:
    """The workers that this process has for one featurizer."""

    idle: list[_Worker] = field(default_factory=list)
    busy: set[_Worker] = field(default_factory=set)
    is_over: bool = False

    def worker(self, task: Piece) -> _Worker:
        """One to work with: one that waits, or a new one."""
        with _lock:
            waiting = [self.idle.pop()] if self.idle else []
        # Who waited too long for a piece has ended itself.
        worker = waiting[0] if waiting and waiting[0].is_alive else _Worker(task)
        for dead in waiting:
            if dead is not worker:
                dead.end()
        with _lock:
            if not self.is_over:
                self.busy.add(worker)
                return worker
        worker.end()
        raise BackendError(_WAS_ENDED)

    def take_back(self, worker: _Worker, *, is_well: bool) -> int | None:
        """A worker is done with its piece, or (not `is_well`) with life: then its exit status."""
        with _lock:
            self.busy.discard(worker)
            if is_well and not self.is_over:
                self.idle.append(worker)
                return None
        return worker.end()


_WAS_ENDED = "Featurizing was ended; what is done is kept."
_crews: dict[str, _Crew] = {}
_lock = threading.Lock()


def let_workers_go(address: FeaturizerAddress | None = None) -> None:
    """End the workers of this process, those in the middle of a chunk as well; pieces that wait for them fail.

    Parameters
    ----------
    address : of their featurizer; all workers without it
    """
    with _lock:
        gone = [key for key in _crews if address is None or json.loads(key)["featurizer"] == address.to_json()]
        crews = [_crews.pop(key) for key in gone]
        for crew in crews:
            crew.is_over = True
    for crew in crews:
        for worker in crew.idle:
            worker.end()
        for worker in tuple(crew.busy):
            worker.kill()


atexit.register(let_workers_go)


def featurize_rows(piece: Piece) -> int:
    """Compute the chunks of a piece that are not there yet; how many candidates they hold.

    Parameters
    ----------
    piece : `task` and `order` (as the worker takes them, but for the rows), `chunks` (pairs of rows)
    """
    key = json.dumps(piece["task"], sort_keys=True)
    there = ChunkFolder(Path(piece["order"]["chunks"])).done()
    missing = [(start, stop) for start, stop in piece["chunks"] if (start, stop) not in there]
    if not missing:
        return 0
    with _lock:
        crew = _crews.setdefault(key, _Crew())
    for rows in missing:
        _surely(crew, rows, piece)
    return sum(stop - start for start, stop in missing)


def _surely(crew: _Crew, rows: Rows, piece: Piece) -> None:
    """Compute a chunk, with another worker if one dies (for lack of memory, say)."""
    for _ in range(_DEATHS):
        worker, is_done = crew.worker(piece["task"]), False
        try:
            is_done = worker.featurize({**piece["order"], "rows": list(rows)})
        finally:
            status = crew.take_back(worker, is_well=is_done)
        if is_done:
            return
        if crew.is_over:
            raise BackendError(_WAS_ENDED)
    raise BackendError(
        f"The process that featurizes candidates {rows[0]:,} to {rows[1]:,} died {_DEATHS} times (exit status {status})"
        "; its message stands above. If it ran out of memory or disk, free some and run again: what is done is kept."
    )


@dataclass(frozen=True)
class FeaturizedGroup:
    """Where the chunks of a group lie."""

    folder: ChunkFolder
    chunks: tuple[Rows, ...]


def featurize_group(
    pool: Path,
    n_rows: int,
    address: FeaturizerAddress,
    group: Group,
    root: Path,
    spread: Spread,
    *,
    time_limit_s: float,
    progress: Callable[[int, int], None],
    names: Sequence[str] | None = None,
) -> FeaturizedGroup:
    """Compute the parts of one group for a pool file.

    Parameters
    ----------
    root : the chunks lie in a folder in it, named by what goes into them
    names : of all features of all groups; a worker that knows them by others, or in another order, is refused
    """
    folder = ChunkFolder(root / address.key(group, pool.name, time_limit_s))
    folder.path.mkdir(parents=True, exist_ok=True)
    chunks = _cut(n_rows, COMPOSITIONS_CHUNK if group == "compositions" else CHUNK)
    there = folder.done()
    missing = [rows for rows in chunks if rows not in there]
    finished = n_rows - sum(stop - start for start, stop in missing)
    progress(finished, n_rows)
    task: dict[str, Any] = {"featurizer": address.to_json(), "time_limit_s": time_limit_s}
    task |= {} if names is None else {"names": content_hash(list(names))}
    order = {"pool": str(pool), "chunks": str(folder.path), "group": group}
    pieces = [{"task": task, "order": order, "chunks": part} for part in _deal(missing, spread.n_workers)]

    def done(count: int) -> None:
        nonlocal finished
        finished += count
        progress(finished, n_rows)

    if pieces:
        spread.run(featurize_rows, pieces, f"featurize {group}", done)
    return FeaturizedGroup(folder, tuple(chunks))


def _cut(n_rows: int, size: int) -> list[Rows]:
    return [(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def _deal(chunks: Sequence[Rows], n_workers: int) -> list[list[Rows]]:
    """Neighboring chunks in pieces: not too many, and small enough that no worker waits long for the last."""
    n_pieces = min(len(chunks), max(_MOST_PIECES, 8 * n_workers))
    size = -(-len(chunks) // n_pieces) if n_pieces else 1
    return [list(chunks[at : at + size]) for at in range(0, len(chunks), size)]
