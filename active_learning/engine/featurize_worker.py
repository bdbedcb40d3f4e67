"""The process that featurizes: ``python -m active_learning.engine.featurize_worker TASK``; see `featurizing`.

It loads the featurizer once and forks a child for each chunk. Lines come in, a JSON object each that names a pool file,
its rows, and which parts to compute; when this chunk lies in its file, "done" goes out. A descriptor that takes too
long for a candidate is interrupted; if that does not help, or the child dies, this candidate loses this descriptor and
a new child goes on from there: what was computed lies in memory that all children share. The process ends with its
input, or with the one that started it.
"""

from __future__ import annotations

import gc
import json
import mmap
import operator
import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.candidate import Candidate, content_hash
from active_learning.domain.protocols import FeatureBlock, FeaturePart
from active_learning.engine.chunks import ChunkFolder, FeaturizerAddress, all_parts, featurizer_of, parts_of
from active_learning.engine.pool_file import PoolFile
from active_learning.errors import ContractError, StoreError

__all__ = ["main"]

_GRACE_S = 1.0
"""After the interrupt, before the child is killed, beside half of the time limit."""
_LOOK_S = 0.005
_IDLE_S = 60.0
"""A worker that nobody asks for so long ends: on a cluster it would stay, with its memory, for as long as that."""
_MOST_SAID = 300
_HYDROGEN = Candidate({"H": 1.0})
_ALL = -1
_TODO, _DONE, _LOST, _LATE = 0, 1, 2, 3


class _TookTooLong(BaseException):
    """A descriptor ran out of time. Raised by the alarm anywhere in its code, which may catch every `Exception`."""


def _alarm(_signal: int, _frame: Any) -> None:
    raise _TookTooLong


def _shared(dtype: Any, *shape: int) -> NDArray[Any]:
    """An array in memory that a child shares, zero everywhere."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype=dtype, count=int(np.prod(shape))).reshape(shape)


@dataclass
class _Bench:
    """A chunk in work: shared with the child, and found as it was left when the child dies."""

    parts: Sequence[FeaturePart]
    values: NDArray[np.float64]
    state: NDArray[np.int8]
    """(n_rows, n_parts)"""
    together: NDArray[np.int8]
    """(n_parts,), whether a batched part may still be tried on all rows at once."""
    now: NDArray[np.float64]
    """(3,): row or _ALL, part, and since when (monotonic, 0 for nothing in hand)."""
    seconds: NDArray[np.float64]
    """(n_parts,), spent on each."""
    lost: dict[tuple[int, int], str] = field(default_factory=dict)

    @staticmethod
    def of(n_rows: int, parts: Sequence[FeaturePart]) -> _Bench:
        width = sum(len(part.names) for part in parts)
        together = _shared(np.int8, len(parts))
        together[:] = [part.is_batched for part in parts]
        values = _shared(np.float64, n_rows, width)
        state, seconds = _shared(np.int8, n_rows, len(parts)), _shared(np.float64, len(parts))
        return _Bench(parts, values, state, together, _shared(np.float64, 3), seconds)

    def columns(self, part: int) -> slice:
        first = sum(len(p.names) for p in self.parts[:part])
        return slice(first, first + len(self.parts[part].names))

    def lose(self, how: str) -> None:
        """Blame what was in hand. A part that failed on all rows at once is tried on one after another."""
        row, part, since = self.now
        if not since:
            raise RuntimeError(f"the featurizer's process died between two candidates: {how}")
        self.now[2] = 0.0
        if int(row) == _ALL:
            self.together[int(part)] = 0
            return
        self.state[int(row), int(part)] = _LOST
        self.lost[int(row), int(part)] = f"{self.parts[int(part)].label}: {how}"


class _Child:
    """What the forked process does."""

    def __init__(self, bench: _Bench, limit_s: float) -> None:
        self._bench = bench
        self._limit_s = limit_s
        self._reasons: dict[int, list[str]] = {}

    def compute(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """All that is still to do, and the whole chunk."""
        bench = self._bench
        for number, part in enumerate(bench.parts):
            started = time.perf_counter()
            todo = [row for row in range(len(candidates)) if bench.state[row, number] == _TODO]
            if bench.together[number]:
                self._together(number, part, [candidates[row] for row in todo], todo)
            else:
                for row in todo:
                    self._one(number, part, candidates[row], row)
            bench.seconds[number] += time.perf_counter() - started
        late = {(row, n): self._too_late(bench.parts[n]) for row, n in np.argwhere(bench.state == _LATE).tolist()}
        for (row, number), reason in (late | bench.lost).items():
            bench.values[row, bench.columns(number)] = np.nan
            self._reasons.setdefault(row, []).append(reason)
        failures = {row: "; ".join(reasons) for row, reasons in sorted(self._reasons.items())}
        return FeatureBlock(np.array(bench.values), failures)

    def _together(self, number: int, part: FeaturePart, candidates: list[Candidate], rows: list[int]) -> None:
        self._bench.now[:] = _ALL, number, time.monotonic()
        block = self._checked(number, part.featurize(candidates), len(rows))
        self._keep(number, rows, block)
        self._bench.now[2] = 0.0

    def _one(self, number: int, part: FeaturePart, candidate: Candidate, row: int) -> None:
        bench = self._bench
        bench.now[:] = row, number, time.monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, self._limit_s)
            try:
                given = part.featurize([candidate])
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            block = self._checked(number, given, 1)
        except _TookTooLong:
            # Shared with a child that comes after this one, which must not wait for it again.
            bench.state[row, number] = _LATE
            bench.now[2] = 0.0
            return
        except StoreError:
            bench.now[2] = 0.0  # what is kept on disk is damaged: no candidate's fault
            raise
        except Exception as error:  # noqa: BLE001 - against the law of featurizers, and costs this candidate only
            columns = bench.columns(number)
            said = _line(f"{part.label}: {type(error).__name__}: {error}")
            block = FeatureBlock(np.full((1, columns.stop - columns.start), np.nan), {0: said})
        self._keep(number, [row], block)
        bench.now[2] = 0.0

    def _checked(self, number: int, block: FeatureBlock, n_rows: int) -> FeatureBlock:
        """What a part gave, as floats; numpy would repeat one row, or one column, wherever more are wanted."""
        columns = self._bench.columns(number)
        values = np.array(block.values, dtype=np.float64)
        if values.shape != (n_rows, columns.stop - columns.start):
            raise ContractError(
                f"values have shape {values.shape}, for {n_rows} candidates and {columns.stop - columns.start} features"
            )
        failures = {operator.index(row): _line(reason) for row, reason in block.failures.items()}
        if any(not 0 <= row < n_rows for row in failures):
            raise ContractError(f"failures name the rows {sorted(failures)[:5]} of {n_rows}")
        # Who says that it failed and gives numbers all the same does not mean them.
        values[[row for row in failures if np.isfinite(values[row]).all()]] = np.nan
        return FeatureBlock(values, failures)

    def _too_late(self, part: FeaturePart) -> str:
        return f"{part.label}: {_too_long(self._limit_s)}"

    def _keep(self, number: int, rows: list[int], block: FeatureBlock) -> None:
        bench = self._bench
        bench.values[rows, bench.columns(number)] = block.values
        for place, row in enumerate(rows):
            if place in block.failures:
                # Not marked as done: a child that comes after this one must know the reason, too.
                self._reasons.setdefault(row, []).append(block.failures[place])
            else:
                bench.state[row, number] = _DONE


def _line(reason: object) -> str:
    """One short line: it is kept for each candidate that fails."""
    return " ".join(str(reason)[: 10 * _MOST_SAID].split())[:_MOST_SAID]


def _too_long(limit_s: float) -> str:
    return f"took longer than the time limit of {limit_s:g} s"


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"killed its process: signal {-code}" if code < 0 else f"ended its process: exit status {code}"


class _Nursery:
    """Forks children and sees that each chunk is finished."""

    def __init__(self, parts: Sequence[FeaturePart], limit_s: float, answers: int) -> None:
        self._parts, self._limit_s, self._answers = parts, limit_s, answers
        self._parent = os.getppid()

    def featurize(self, order: Mapping[str, Any]) -> bool:
        """Compute a chunk and store it; False if whoever asked is gone."""
        start, stop = order["rows"]
        bench = _Bench.of(stop - start, parts_of(order["group"], self._parts))
        while True:
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                self._child(bench, order)
            status, was_late = self._watch(pid, bench)
            if status is None:
                return False
            if status == 0:
                return True
            bench.lose(_too_long(self._limit_s) if was_late else _how(status))

    def _child(self, bench: _Bench, order: Mapping[str, Any]) -> None:
        """In the forked process; never returns."""
        code = 1
        try:
            signal.signal(signal.SIGALRM, _alarm)
            # Whoever asks must hear at once that the worker died, though this process may hang on.
            os.close(self._answers)
            os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
            start, stop = order["rows"]
            candidates = PoolFile(Path(order["pool"])).candidates(start, stop)
            block = _Child(bench, self._limit_s).compute(candidates)
            ChunkFolder(Path(order["chunks"])).save(start, stop, block, bench.seconds)
            code = 0
        except BaseException as error:  # noqa: BLE001 - said, and known by the exit status
            print(f"featurizing: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)

    def _watch(self, pid: int, bench: _Bench) -> tuple[int | None, bool]:
        """The child's exit status (None if our parent is gone), and whether it was killed for being late."""
        was_late = False
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status, was_late
            row, _part, since = bench.now
            limit = 1.5 * self._limit_s * (len(bench.state) if int(row) == _ALL else 1) + _GRACE_S
            orphaned = os.getppid() != self._parent
            if orphaned or (since and time.monotonic() - since > limit):
                was_late = True
                os.kill(pid, signal.SIGKILL)
                if orphaned:
                    os.waitpid(pid, 0)
                    return None, True
            time.sleep(_LOOK_S)


def _lines(stdin: TextIO) -> Any:
    """What is asked; ends with the input, with the parent, or when nothing is asked for long."""
    parent, since = os.getppid(), time.monotonic()
    while os.getppid() == parent and time.monotonic() - since < _IDLE_S:
        ready, _, _ = select.select([stdin], [], [], 1.0)
        if ready:
            line = stdin.readline()
            if not line:
                return
            yield line
            since = time.monotonic()


def _warm_up(parts: Sequence[FeaturePart]) -> None:
    """Load what is heavy, compile and fill tables, which every child would do again."""
    for part in parts:
        part.names  # noqa: B018 - loads what is heavy
        if part.is_batched:
            try:
                part.featurize([_HYDROGEN])
            except Exception as error:  # noqa: BLE001 - hydrogen need not be in the pool; who is, is asked next
                print(
                    f"featurizing: {part.label}: trial with hydrogen: {type(error).__name__}: {error}", file=sys.stderr
                )


def main() -> int:
    """Serve until the input ends."""
    task = json.loads(sys.argv[1])
    address = FeaturizerAddress.from_json(task["featurizer"])
    # Answers go to a copy of stdout; what libraries print goes to stderr, and cannot be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    parts = all_parts(address.kind, featurizer_of(address))
    _warm_up(parts)
    if task.get("names") not in (None, content_hash([name for part in parts for name in part.names])):
        print(
            "featurizing: the features have other names, or another order, here than in the campaign's own process:"
            " are the same versions installed, and does the order hang on a set?",
            file=sys.stderr,
        )
        return 1
    # A child that looks through all that is loaded for garbage takes longer than for its chunk, and copies every page.
    gc.collect()
    gc.freeze()
    nursery = _Nursery(parts, float(task["time_limit_s"]), answers.fileno())
    print("ready", file=answers)
    for line in _lines(sys.stdin):
        if not nursery.featurize(json.loads(line)):
            return 1
        print("done", file=answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
