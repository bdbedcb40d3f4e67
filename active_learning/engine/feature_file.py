"""The features as they are stored: a matrix on disk, the ids of its rows, the names of its columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from active_learning.engine.ids import CandidateIds
from active_learning.store import Blobs

__all__ = ["FeatureFile", "FeatureIndex", "read_rows", "read_some", "write_features", "write_header"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureIndex:
    """What is known of a feature matrix beside its numbers.

    Parameters
    ----------
    names : of the columns
    failures : candidate id -> why it has no row
    dropped : feature -> why it has no column
    missing : feature -> in how many rows it is NaN; only those that are
    """

    names: tuple[str, ...]
    failures: Mapping[str, str]
    dropped: Mapping[str, str]
    missing: Mapping[str, int]


def write_features(ids: CandidateIds, blocks: Iterable[Floats], index: FeatureIndex, blobs: Blobs) -> dict[str, Any]:
    """Store features and return what the campaign notes of them (a JSON object).

    Parameters
    ----------
    blocks : (any, n_features) each, together as many rows as there are ids, in their order
    """

    def write_matrix(file: BinaryIO) -> None:
        write_header(file, len(ids), len(index.names))
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype="<f8").data)

    def write_ids(file: BinaryIO) -> None:
        np.lib.format.write_array(file, ids.array, allow_pickle=False)

    written = {
        "names": list(index.names),
        "failures": dict(index.failures),
        "dropped": dict(index.dropped),
        "missing": dict(index.missing),
    }
    return {
        "file": blobs.put("features", ".npy", write_matrix),
        "ids": blobs.put("features-ids", ".npy", write_ids),
        "index": blobs.put("features-index", ".json", lambda file: _write_json(file, written)),
        "n_candidates": len(ids),
        "n_features": len(index.names),
        "n_failed": len(index.failures),
    }


def write_header(file: BinaryIO, n_rows: int, n_columns: int) -> None:
    """The beginning of a .npy file of floats, (n_rows, n_columns); their bytes follow, row by row."""
    header = {"descr": "<f8", "fortran_order": False, "shape": (n_rows, n_columns)}
    np.lib.format.write_array_header_1_0(file, header)


def _write_json(file: BinaryIO, value: Any) -> None:
    file.write(json.dumps(value).encode())


def read_rows(path: Path, start: int, stop: int) -> Floats:
    """Rows of a matrix in a .npy file, (stop - start, n_columns), read and not mapped: memory stays small."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    stop = min(stop, len(mapped))
    width = int(np.prod(mapped.shape[1:]))
    with path.open("rb") as file:
        file.seek(mapped.offset + start * width * mapped.itemsize)
        flat = np.fromfile(file, dtype=mapped.dtype, count=(stop - start) * width)
    return flat.reshape(stop - start, width)


def read_some(path: Path, rows: NDArray[np.intp]) -> Floats:
    """Any rows of a matrix in a .npy file, (n_rows, n_columns), read and not mapped: of a map the system takes in the
    neighbors of each row that is looked at, and a few thousand rows count as the whole file."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(mapped):
        raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(mapped)}")
    found = np.empty((len(rows), *mapped.shape[1:]), dtype=mapped.dtype)
    stride = int(np.prod(mapped.shape[1:])) * mapped.itemsize
    with path.open("rb", buffering=0) as file:
        for place, row in enumerate(rows.tolist()):
            file.seek(mapped.offset + row * stride)
            file.readinto(found[place])
    return found


@dataclass(frozen=True)
class FeatureFile:
    """Stored features. Rows are in the order of the candidates' ids; a candidate that failed has none."""

    note: Mapping[str, Any]
    blobs: Blobs

    @cached_property
    def _index(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.blobs.path(self.note["index"]).read_bytes())
        return loaded

    @property
    def path(self) -> Path:
        """The matrix: a .npy file, (n_candidates, n_features)."""
        return self.blobs.path(self.note["file"])

    @cached_property
    def X(self) -> Floats:
        """(n_candidates, n_features), a read-only memory map; NaN where a feature is missing."""
        loaded: Floats = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return loaded

    def rows(self, rows: Sequence[int] | NDArray[np.intp]) -> Floats:
        """Some rows, (n_rows, n_features), in memory."""
        return read_some(self.path, np.asarray(rows, dtype=np.intp))

    def blocks(self, size: int) -> Iterator[tuple[int, Floats]]:
        """All rows in order, `size` at a time, each block with the number of its first row."""
        for start in range(0, len(self.ids), size):
            yield start, read_rows(self.path, start, start + size)

    @cached_property
    def ids(self) -> CandidateIds:
        """(n_candidates,)"""
        if "ids" not in self.note:  # stored by version 0.1.0
            return CandidateIds.of(self._index["ids"])
        return CandidateIds(np.load(self.blobs.path(self.note["ids"]), allow_pickle=False))

    @property
    def names(self) -> tuple[str, ...]:
        """(n_features,)"""
        return tuple(self._index["names"])

    @property
    def failures(self) -> Mapping[str, str]:
        """Candidate id -> why it has no features."""
        failures: Mapping[str, str] = self._index["failures"]
        return failures

    @property
    def dropped(self) -> Mapping[str, str]:
        """Feature -> why it was dropped for all candidates."""
        dropped: Mapping[str, str] = self._index.get("dropped", {})
        return dropped

    @property
    def missing(self) -> Mapping[str, int]:
        """Feature -> how many candidates lack it."""
        missing: Mapping[str, int] = self._index.get("missing", {})
        return missing
