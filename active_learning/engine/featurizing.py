"""Featurize a stored pool: in chunks, each computed once, in processes of their own.

Descriptors of the composition are computed once for each composition of the pool, the others for each candidate. A
chunk that is done lies in a file named by its rows, so a campaign that was killed goes on where it was. A descriptor
that raises, hangs or kills its process costs its candidate that descriptor only (`featurize_worker`).
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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
        """End the process; its exit status."""
        for pipe in self._pipes():
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        return self._process.wait()


_idle: dict[str, list[_Worker]] = {}
_lock = threading.Lock()


def let_workers_go() -> None:
    """End the workers that this process keeps ready for the next piece."""
    with _lock:
        workers = [worker for idle in _idle.values() for worker in idle]
        _idle.clear()
    for worker in workers:
        worker.end()


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
        worker = _idle[key].pop() if _idle.get(key) else None
    worker = worker or _Worker(piece["task"])
    try:
        for rows in missing:
            worker = _surely(worker, rows, piece)
    except BaseException:
        worker.end()
        raise
    with _lock:
        _idle.setdefault(key, []).append(worker)
    return sum(stop - start for start, stop in missing)


def _surely(worker: _Worker, rows: Rows, piece: Piece) -> _Worker:
    """Compute a chunk, with a new worker if this one dies (for lack of memory, say); the worker that did it."""
    for _ in range(_DEATHS):
        if worker.featurize({**piece["order"], "rows": list(rows)}):
            return worker
        status = worker.end()
        worker = _Worker(piece["task"])
    worker.end()
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
) -> FeaturizedGroup:
    """Compute the parts of one group for a pool file.

    Parameters
    ----------
    root : the chunks lie in a folder in it, named by what goes into them
    """
    folder = ChunkFolder(root / address.key(group, pool.name, time_limit_s))
    folder.path.mkdir(parents=True, exist_ok=True)
    chunks = _cut(n_rows, COMPOSITIONS_CHUNK if group == "compositions" else CHUNK)
    there = folder.done()
    missing = [rows for rows in chunks if rows not in there]
    finished = n_rows - sum(stop - start for start, stop in missing)
    progress(finished, n_rows)
    task = {"featurizer": address.to_json(), "time_limit_s": time_limit_s}
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
