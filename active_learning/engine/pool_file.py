"""The pool as it is stored: one Parquet file, rows in the order of the candidates' ids."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.store import Blobs

__all__ = ["PoolFile", "write_pool"]

_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "formula", "amounts", "crystal", "origin")])


def _row(candidate: Candidate) -> dict[str, str | None]:
    return {
        "id": candidate.id,
        "formula": candidate.formula,
        "amounts": json.dumps(dict(candidate.amounts)),
        "crystal": None if candidate.crystal is None else json.dumps(candidate.crystal.to_json()),
        "origin": candidate.origin,
    }


def write_pool(found: Iterable[Candidate | Dropped], blobs: Blobs) -> dict[str, Any]:
    """Store a pool and return what the campaign notes of it (a JSON object): file, counts, elements, dropped."""
    taken: dict[str, Candidate] = {}
    dropped: list[Dropped] = []
    for item in found:
        if isinstance(item, Dropped):
            dropped.append(item)
        elif item.id in taken:
            dropped.append(Dropped(item.origin, "duplicate"))
        else:
            taken[item.id] = item
    rows = [_row(taken[key]) for key in sorted(taken)]

    def write(file: BinaryIO) -> None:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), file)

    def write_dropped(file: BinaryIO) -> None:
        file.write(json.dumps([[d.source, d.reason] for d in dropped], indent=0).encode())

    return {
        "file": blobs.put("pool", ".parquet", write),
        "dropped_file": blobs.put("pool-dropped", ".json", write_dropped),
        "n_candidates": len(rows),
        "read": len(taken) + len(dropped),
        "dropped": dict(Counter(d.kind for d in dropped).most_common()),
        "elements": sorted({symbol for candidate in taken.values() for symbol in candidate.amounts}),
    }


@dataclass(frozen=True)
class PoolFile:
    """A stored pool, read as needed."""

    path: Path

    @cached_property
    def _table(self) -> Any:
        return pq.read_table(self.path, memory_map=True)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Candidate ids, in order."""
        return tuple(self._table["id"].to_pylist())

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {candidate: row for row, candidate in enumerate(self.ids)}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, candidate_id: str) -> bool:
        return candidate_id in self._rows

    def formulas(self, candidate_ids: Sequence[str]) -> tuple[str, ...]:
        """Reduced formulas."""
        return self._column("formula", candidate_ids)

    def origins(self, candidate_ids: Sequence[str]) -> tuple[str, ...]:
        """The file, row or prototype that each came from."""
        return self._column("origin", candidate_ids)

    def _column(self, name: str, candidate_ids: Sequence[str]) -> tuple[str, ...]:
        values = self._table[name].take([self._rows[candidate] for candidate in candidate_ids])
        return tuple(values.to_pylist())

    def candidates(self, start: int, stop: int) -> list[Candidate]:
        """The candidates in rows start to stop."""
        return [self._candidate(row) for row in self._table.slice(start, stop - start).to_pylist()]

    def candidate(self, candidate_id: str) -> Candidate:
        """One candidate.

        Raises
        ------
        KeyError
            If the pool has none of this id.
        """
        row = self._rows[candidate_id]
        return self.candidates(row, row + 1)[0]

    @staticmethod
    def _candidate(row: Mapping[str, Any]) -> Candidate:
        crystal = None if row["crystal"] is None else Crystal.from_json(json.loads(row["crystal"]))
        return Candidate(json.loads(row["amounts"]), crystal, row["origin"])
