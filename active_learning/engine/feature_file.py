"""The features as they are stored: a matrix read as a memory map, the ids of its rows, the names of its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from active_learning.store import Blobs

__all__ = ["FeatureFile", "write_features"]

Floats = NDArray[np.float64]


def write_features(
    ids: Sequence[str], X: Floats, names: Sequence[str], failures: Mapping[str, str], blobs: Blobs
) -> dict[str, Any]:
    """Store features and return what the campaign notes of them (a JSON object)."""
    index = {"ids": list(ids), "names": list(names), "failures": dict(failures)}

    def write_matrix(file: BinaryIO) -> None:
        np.lib.format.write_array(file, np.ascontiguousarray(X, dtype=np.float64), allow_pickle=False)

    return {
        "file": blobs.put("features", ".npy", write_matrix),
        "index": blobs.put("features-index", ".json", lambda file: _write_json(file, index)),
        "n_candidates": len(ids),
        "n_features": len(names),
        "n_failed": len(failures),
    }


def _write_json(file: BinaryIO, value: Any) -> None:
    file.write(json.dumps(value).encode())


@dataclass(frozen=True)
class FeatureFile:
    """Stored features. Rows are in the order of the candidates' ids; a candidate that failed has none."""

    note: Mapping[str, Any]
    blobs: Blobs

    @cached_property
    def _index(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.blobs.path(self.note["index"]).read_bytes())
        return loaded

    @cached_property
    def X(self) -> Floats:
        """(n_candidates, n_features), a read-only memory map."""
        loaded: Floats = np.load(self.blobs.path(self.note["file"]), mmap_mode="r", allow_pickle=False)
        return loaded

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """(n_candidates,)"""
        return tuple(self._index["ids"])

    @property
    def names(self) -> tuple[str, ...]:
        """(n_features,)"""
        return tuple(self._index["names"])

    @property
    def failures(self) -> Mapping[str, str]:
        """Candidate id -> why it has no features."""
        failures: Mapping[str, str] = self._index["failures"]
        return failures

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Candidate id -> row."""
        return {candidate: row for row, candidate in enumerate(self.ids)}
