"""Featurize a stored pool: in chunks, each computed once, in processes of their own.

A chunk that is done lies in a file named by what went into it, so a campaign that was killed goes on where it was.
A worker that dies takes its chunk with it; the chunk is halved until the candidate that kills is alone, and that
candidate is recorded as failed.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.candidate import content_hash
from active_learning.domain.protocols import FeatureBlock
from active_learning.errors import BackendError

__all__ = ["CHUNK", "ChunkCache", "FeaturizerAddress", "featurize_pool"]

CHUNK = 128
Rows = tuple[int, int]


@dataclass(frozen=True)
class FeaturizerAddress:
    """Where a worker finds the featurizer: its kind, its options as JSON, and folders to import it from."""

    kind: str
    options: Mapping[str, Any]
    version: str
    python_path: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return {
            "kind": self.kind,
            "options": dict(self.options),
            "version": self.version,
            "python_path": list(self.python_path),
        }


@dataclass(frozen=True)
class ChunkCache:
    """Chunks on disk, by the hash of the featurizer and of the candidates' ids."""

    root: Path
    address: FeaturizerAddress

    def path(self, ids: Sequence[str]) -> Path:
        """Where the chunk of these candidates lies, or will."""
        key = [self.address.kind, dict(self.address.options), self.address.version, list(ids)]
        return self.root / f"{content_hash(key, length=32)}.npz"

    def save(self, ids: Sequence[str], block: FeatureBlock) -> None:
        """Write a chunk; a file that exists is whole."""
        failures = json.dumps({str(row): reason for row, reason in block.failures.items()})
        path = self.path(ids)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.part")
        with temporary.open("wb") as file:
            np.savez(file, values=block.values, failures=np.array(failures))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def load(self, ids: Sequence[str]) -> FeatureBlock | None:
        """The chunk of these candidates, or None."""
        try:
            with np.load(self.path(ids), allow_pickle=False) as file:
                failures = json.loads(str(file["failures"]))
                return FeatureBlock(file["values"], {int(row): reason for row, reason in failures.items()})
        except FileNotFoundError:
            return None


class _Worker:
    """A process that featurizes row ranges of the pool file, one line in, one line out."""

    def __init__(self, pool: Path, cache: ChunkCache) -> None:
        task = {"pool": str(pool), "cache": str(cache.root), "featurizer": cache.address.to_json()}
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
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
                f"The featurizer '{cache.address.kind}' does not start in a process of its own"
                f" (exit status {self.end()}); its message stands above."
            )

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _read(self) -> str:
        return self._pipes()[1].readline().strip()

    def featurize(self, rows: Rows) -> bool:
        """Compute a chunk; False if the process died of it."""
        stdin, _ = self._pipes()
        try:
            stdin.write(f"{rows[0]} {rows[1]}\n")
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


@dataclass
class _Crew:
    """Threads that each drive one worker, until the queue of chunks is empty or one of them fails."""

    pool: Path
    ids: Sequence[str]
    cache: ChunkCache
    done: Callable[[int], None]
    todo: queue.Queue[Rows]
    errors: list[BaseException]

    def work(self) -> None:
        worker: _Worker | None = None
        try:
            while not self.errors:
                try:
                    rows = self.todo.get_nowait()
                except queue.Empty:
                    return
                worker = worker or _Worker(self.pool, self.cache)
                if worker.featurize(rows):
                    self.done(rows[1] - rows[0])
                else:
                    self._blame(rows, worker.end())
                    worker = None
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for the crew
            self.errors.append(error)
        finally:
            if worker is not None:
                worker.end()

    def _blame(self, rows: Rows, status: int) -> None:
        start, stop = rows
        if stop - start > 1:
            middle = (start + stop) // 2
            self.todo.put((start, middle))
            self.todo.put((middle, stop))
            return
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        self.cache.save(self.ids[start:stop], FeatureBlock(np.empty((1, 0)), {0: f"killed its process: {how}"}))
        self.done(1)


def featurize_pool(
    pool: Path,
    ids: Sequence[str],
    cache: ChunkCache,
    n_features: int,
    *,
    workers: int,
    progress: Callable[[int, int], None],
) -> tuple[NDArray[np.float64], dict[str, str]]:
    """Features of the whole pool.

    Returns
    -------
    X : (n_candidates that succeeded, n_features), rows in the order of `ids`
    failures : candidate id -> reason
    """
    cache.root.mkdir(parents=True, exist_ok=True)
    chunks = [(start, min(start + CHUNK, len(ids))) for start in range(0, len(ids), CHUNK)]
    missing = [rows for rows in chunks if not _is_done(cache, ids, rows)]
    finished = len(ids) - sum(stop - start for start, stop in missing)
    lock = threading.Lock()

    def done(count: int) -> None:
        nonlocal finished
        with lock:
            finished += count
            progress(finished, len(ids))

    todo: queue.Queue[Rows] = queue.Queue()
    for rows in missing:
        todo.put(rows)
    crew = _Crew(pool, ids, cache, done, todo, [])
    threads = [threading.Thread(target=crew.work, daemon=True) for _ in range(min(workers, len(missing)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if crew.errors:
        raise crew.errors[0]
    return _assemble(cache, ids, chunks, n_features)


def _is_done(cache: ChunkCache, ids: Sequence[str], rows: Rows) -> bool:
    """Whether a chunk, or both its halves, lie in the cache."""
    start, stop = rows
    if cache.path(ids[start:stop]).exists():
        return True
    middle = (start + stop) // 2
    return middle > start and _is_done(cache, ids, (start, middle)) and _is_done(cache, ids, (middle, stop))


def _blocks(cache: ChunkCache, ids: Sequence[str], rows: Rows) -> list[tuple[Rows, FeatureBlock]]:
    """The block of a chunk, or of the halves it was cut into."""
    start, stop = rows
    block = cache.load(ids[start:stop])
    if block is not None:
        return [(rows, block)]
    if stop - start <= 1:
        raise BackendError(f"candidate {ids[start]} was not featurized, and not recorded as failed")
    middle = (start + stop) // 2
    return _blocks(cache, ids, (start, middle)) + _blocks(cache, ids, (middle, stop))


def _assemble(
    cache: ChunkCache, ids: Sequence[str], chunks: Sequence[Rows], n_features: int
) -> tuple[NDArray[np.float64], dict[str, str]]:
    kept: list[NDArray[np.float64]] = []
    failures: dict[str, str] = {}
    for chunk in chunks:
        for (start, _), block in _blocks(cache, ids, chunk):
            failures |= {ids[start + row]: reason for row, reason in block.failures.items()}
            good = [row for row in range(len(block.values)) if row not in block.failures]
            if good:
                kept.append(block.values[good])
    X = np.concatenate(kept) if kept else np.empty((0, n_features))
    return X, failures
