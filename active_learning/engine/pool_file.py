"""The pool as it is stored: one Parquet file, rows in the order of the candidates' ids, written and read in parts."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.engine.ids import CandidateIds
from active_learning.store import Blobs

__all__ = ["ROW_GROUP", "PoolFile", "Texts", "write_candidates", "write_pool"]

ROW_GROUP = 4096
"""Candidates that are written and read together."""

_COLUMNS = ("id", "formula", "amounts", "crystal", "origin", "given")
_SCHEMA = pa.schema([(name, pa.string()) for name in _COLUMNS])
_N_BUCKETS = 16
_TELL_EVERY = 1000


def _row(candidate: Candidate) -> tuple[str | None, ...]:
    return (
        candidate.id,
        candidate.formula,
        json.dumps(dict(candidate.amounts)),
        None if candidate.crystal is None else json.dumps(candidate.crystal.to_json()),
        candidate.origin,
        json.dumps(dict(candidate.given)) if candidate.given else None,
    )


def _table(rows: Sequence[tuple[str | None, ...]]) -> Any:
    columns = zip(*rows, strict=True) if rows else ([] for _ in _COLUMNS)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=_SCHEMA)


class _Buckets:
    """Rows on disk, divided by the first digit of their ids: each bucket is sorted on its own, in a part of the memory.

    Ids are hashes, so the buckets are equally full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[list[tuple[str | None, ...]]] = [[] for _ in range(_N_BUCKETS)]
        self._writers: dict[int, Any] = {}

    def add(self, row: tuple[str | None, ...]) -> None:
        number = int(str(row[0])[0], 16)
        self._waiting[number].append(row)
        if len(self._waiting[number]) >= ROW_GROUP:
            self._flush(number)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:x}.arrow"

    def _flush(self, number: int) -> None:
        if number not in self._writers:
            self._writers[number] = pa.ipc.new_file(str(self._path(number)), _SCHEMA)
        self._writers[number].write_table(_table(self._waiting[number]))
        self._waiting[number] = []

    def sorted_tables(self) -> Iterator[Any]:
        """One table a bucket, in the order of the ids."""
        for number in range(_N_BUCKETS):
            parts = [_table(self._waiting[number])]
            if number in self._writers:
                self._writers[number].close()
                with pa.memory_map(str(self._path(number))) as file:
                    parts.append(pa.ipc.open_file(file).read_all())
            table = pa.concat_tables(parts)
            yield table.take(np.argsort(table["id"].to_numpy(zero_copy_only=False)))


@dataclass
class _Tally:
    """What was read: counts, elements, and the dropped ones on disk."""

    taken: set[int] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    elements: set[str] = field(default_factory=set)


def write_candidates(candidates: Iterable[Candidate], blobs: Blobs, stem: str) -> str:
    """Store candidates of distinct ids, in the order of the ids, and return the file's name."""
    blobs.root.mkdir(parents=True, exist_ok=True)
    # With the number of this process, by which a later one knows that nobody works on it any more.
    with tempfile.TemporaryDirectory(prefix=f".{stem}.{os.getpid()}.", dir=blobs.root) as folder:
        buckets = _Buckets(Path(folder))
        for candidate in candidates:
            buckets.add(_row(candidate))
        return blobs.put(stem, ".parquet", lambda file: _write_sorted(buckets, file))


def _write_sorted(buckets: _Buckets, file: BinaryIO) -> None:
    """Row groups of equal length, across the buckets: a row's group is its number divided by `ROW_GROUP`."""
    with pq.ParquetWriter(file, _SCHEMA) as writer:
        rest = _table([])
        for table in buckets.sorted_tables():
            joined = pa.concat_tables([rest, table])
            full = joined.num_rows - joined.num_rows % ROW_GROUP
            if full:
                writer.write_table(joined.slice(0, full), row_group_size=ROW_GROUP)
            # A copy: a slice would keep the bucket in memory.
            rest = joined.slice(full).take(np.arange(joined.num_rows - full))
        if rest.num_rows:
            writer.write_table(rest, row_group_size=ROW_GROUP)


def write_pool(
    found: Iterable[Candidate | Dropped], blobs: Blobs, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Store a pool and return what the campaign notes of it (a JSON object): file, counts, elements, dropped.

    Memory grows by some 100 bytes a candidate, whatever its size.

    Parameters
    ----------
    progress : told how many were read so far, now and then
    """
    blobs.root.mkdir(parents=True, exist_ok=True)
    tally = _Tally()
    with tempfile.TemporaryFile("w+b", dir=blobs.root) as dropped:
        file = write_candidates(_taken(found, tally, dropped, progress or _nobody), blobs, "pool")
        dropped.write(b"\n]\n" if tally.dropped else b"[]\n")
        dropped.seek(0)
        dropped_file = blobs.put("pool-dropped", ".json", lambda out: shutil.copyfileobj(dropped, out))
    return {
        "file": file,
        "dropped_file": dropped_file,
        "n_candidates": len(tally.taken),
        "read": len(tally.taken) + tally.dropped.total(),
        "dropped": dict(tally.dropped.most_common()),
        "elements": sorted(tally.elements),
    }


def _nobody(_count: int) -> None:
    """Nobody listens."""


def _taken(
    found: Iterable[Candidate | Dropped], tally: _Tally, dropped: BinaryIO, progress: Callable[[int], None]
) -> Iterator[Candidate]:
    """The candidates; what is dropped is counted and written down."""
    for count, item in enumerate(found, start=1):
        if count % _TELL_EVERY == 0:
            progress(count)
        if isinstance(item, Candidate) and (key := int(item.id, 16)) not in tally.taken:
            tally.taken.add(key)
            tally.elements.update(item.amounts)
            yield item
            continue
        lost = item if isinstance(item, Dropped) else Dropped(item.origin, "duplicate")
        dropped.write(b",\n" if tally.dropped else b"[\n")
        dropped.write(json.dumps([lost.source, lost.reason]).encode())
        tally.dropped[lost.kind] += 1


class Texts(Sequence[str]):
    """Texts as Arrow holds them, in little room: each is made when it is looked at.

    Parameters
    ----------
    array : Arrow array of strings, perhaps with a dictionary
    """

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Texts: ...
    def __getitem__(self, row: Any) -> Any:
        return Texts(self._array[row]) if isinstance(row, slice) else self._array[int(row)].as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), ROW_GROUP):
            yield from self._array.slice(start, ROW_GROUP).to_pylist()


@dataclass(frozen=True)
class PoolFile:
    """A stored pool, read as needed."""

    path: Path

    @cached_property
    def _file(self) -> Any:
        return pq.ParquetFile(self.path, memory_map=True)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        """The first row of each row group."""
        sizes = [self._file.metadata.row_group(n).num_rows for n in range(self._file.metadata.num_row_groups)]
        return np.concatenate([[0], np.cumsum(sizes, dtype=np.intp)[:-1]]).astype(np.intp)

    @cached_property
    def ids(self) -> CandidateIds:
        """Candidate ids, in order."""
        column = self._file.read(columns=["id"], use_threads=False)["id"]
        # Straight from Arrow's memory: a Python text of each would take a hundred bytes.
        chunks = [chunk for chunk in column.cast(pa.binary(16)).chunks if len(chunk)]
        parts = [np.frombuffer(chunk.buffers()[1], "S16")[chunk.offset :][: len(chunk)] for chunk in chunks]
        return CandidateIds(np.concatenate([np.empty(0, "S16"), *parts]))

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def __contains__(self, candidate_id: str) -> bool:
        return candidate_id in self.ids

    def formulas(self, candidate_ids: Sequence[str]) -> tuple[str, ...]:
        """Reduced formulas."""
        return self._column("formula", candidate_ids)

    def origins(self, candidate_ids: Sequence[str]) -> tuple[str, ...]:
        """The file, row or prototype that each came from."""
        return self._column("origin", candidate_ids)

    def named(self, formulas: Collection[str]) -> dict[str, list[str]]:
        """Formula -> ids of the candidates that have it; only of those asked for, and only if there is one."""
        found: dict[str, list[str]] = {}
        if formulas:
            column = self.column("formula")
            rows = np.flatnonzero(pc.is_in(column, value_set=pa.array(sorted(formulas), pa.string())).to_numpy())
            for row, formula in zip(rows.tolist(), column.take(rows).to_pylist(), strict=True):
                found.setdefault(formula, []).append(self.ids[row])
        return found

    def texts(self, name: str, ids: CandidateIds) -> Texts:
        """A column of texts for candidates of the pool, in the order of their ids."""
        column = self.column(name)
        if name == "origin":  # long, and often the same
            column = column.dictionary_encode()
        column = column.combine_chunks()
        return Texts(column if len(ids) == len(self) else column.take(self.ids.rows(ids)))

    def column(self, name: str) -> Any:
        """A whole column, as Arrow has it."""
        return self._file.read(columns=[name], use_threads=False)[name]

    def _column(self, name: str, candidate_ids: Sequence[str]) -> tuple[str, ...]:
        rows = np.array([self.ids.row(candidate) for candidate in candidate_ids], dtype=np.intp)
        if not len(rows):
            return ()
        groups, group_of = np.unique(np.searchsorted(self._starts, rows, side="right") - 1, return_inverse=True)
        table = self._file.read_row_groups(groups.tolist(), columns=[name], use_threads=False)
        sizes = np.diff(np.append(self._starts, len(self)))[groups]
        first = np.cumsum(sizes) - sizes
        return tuple(table[name].take(first[group_of] + rows - self._starts[groups][group_of]).to_pylist())

    def candidates(self, start: int, stop: int) -> list[Candidate]:
        """The candidates in rows start to stop."""
        stop = min(stop, len(self))
        if start >= stop:
            return []
        first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
        table = self._file.read_row_groups(list(range(first, last + 1)), use_threads=False)
        return [_candidate(row) for row in table.slice(start - self._starts[first], stop - start).to_pylist()]

    def candidate(self, candidate_id: str) -> Candidate:
        """One candidate.

        Raises
        ------
        KeyError
            If the pool has none of this id.
        """
        row = self.ids.row(candidate_id)
        return self.candidates(row, row + 1)[0]


def _candidate(row: Mapping[str, Any]) -> Candidate:
    crystal = None if row["crystal"] is None else Crystal.from_json(json.loads(row["crystal"]))
    # A pool that an older version stored has no such column.
    given = json.loads(row["given"]) if row.get("given") else {}
    return Candidate(json.loads(row["amounts"]), crystal, row["origin"], given)
