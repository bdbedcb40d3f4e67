"""Chunks of features on disk, and where a process finds the featurizer that computes them."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.candidate import Candidate, content_hash
from active_learning.domain.protocols import FeatureBlock, FeaturePart, Featurizer, HasParts, Remembers
from active_learning.engine.memory import peak_bytes
from active_learning.plugins import load

__all__ = ["ChunkFolder", "FeaturizerAddress", "Group", "all_parts", "featurizer_of", "parts_of"]

Floats = NDArray[np.float64]

Group = Literal["compositions", "candidates"]
"""What the parts of a featurizer are computed for: distinct compositions, or all candidates."""


@dataclass(frozen=True)
class _Whole:
    """A featurizer without parts, as its only part."""

    label: str
    featurizer: Featurizer
    of_composition: bool = False
    is_batched: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.featurizer.names

    def featurize(self, candidates: Sequence[Candidate]) -> FeatureBlock:
        """Features of each candidate."""
        return self.featurizer.featurize(candidates)


@dataclass(frozen=True)
class FeaturizerAddress:
    """Where a process finds a featurizer.

    Parameters
    ----------
    kind, options : as in the campaign file, the options checked and as JSON
    version : of whatever the numbers depend on
    python_path : folders to import it from
    memory : where it may keep what is costly
    """

    kind: str
    options: Mapping[str, Any]
    version: str
    python_path: tuple[str, ...] = ()
    memory: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON value."""
        return asdict(self) | {"options": dict(self.options), "python_path": list(self.python_path)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> FeaturizerAddress:
        """What `to_json` wrote."""
        return FeaturizerAddress(**{**value, "python_path": tuple(value["python_path"])})

    def key(self, *more: Any) -> str:
        """A name for what is computed at this address, from all that the numbers depend on."""
        return content_hash([self.kind, dict(self.options), self.version, *more], length=32)


def all_parts(kind: str, featurizer: Featurizer) -> tuple[FeaturePart, ...]:
    """All parts of a featurizer; itself, if it has none."""
    return tuple(featurizer.parts) if isinstance(featurizer, HasParts) else (_Whole(kind, featurizer),)


def parts_of(group: Group, parts: Sequence[FeaturePart]) -> tuple[FeaturePart, ...]:
    """Those of a group, in order."""
    return tuple(part for part in parts if part.of_composition == (group == "compositions"))


def featurizer_of(address: FeaturizerAddress) -> Featurizer:
    """Build the featurizer."""
    sys.path.extend(folder for folder in address.python_path if folder not in sys.path)
    plugin = load("featurizers", address.kind)
    featurizer: Featurizer = plugin(plugin.Options.model_validate(address.options))
    if address.memory is not None and isinstance(featurizer, Remembers):
        return featurizer.with_memory(Path(address.memory))
    return featurizer


_NAME = re.compile(r"(\d{9})-(\d{9})\.npz")


@dataclass(frozen=True)
class ChunkFolder:
    """The chunks of one featurizer and one pool, a file for the rows from start to stop each. None is there in part."""

    path: Path

    def file(self, start: int, stop: int) -> Path:
        """Where a chunk lies, or will."""
        return self.path / f"{start:09d}-{stop:09d}.npz"

    def done(self) -> set[tuple[int, int]]:
        """The chunks that are there."""
        matches = (_NAME.fullmatch(entry.name) for entry in os.scandir(self.path))
        return {(int(match[1]), int(match[2])) for match in matches if match}

    def save(self, start: int, stop: int, block: FeatureBlock, seconds: Sequence[float] | Floats = ()) -> None:
        """Write a chunk, how long each part took, and how much memory this process had."""
        failures = json.dumps({str(row): reason for row, reason in block.failures.items()})
        path = self.file(start, stop)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.part")
        with temporary.open("wb") as file:
            spent = np.asarray(seconds, dtype=np.float64)
            np.savez(file, values=block.values, failures=np.array(failures), seconds=spent, peak=peak_bytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def load(self, start: int, stop: int) -> FeatureBlock:
        """A chunk that is there."""
        with np.load(self.file(start, stop), allow_pickle=False) as file:
            failures = json.loads(str(file["failures"]))
            return FeatureBlock(file["values"], {int(row): reason for row, reason in failures.items()})

    def costs(self, start: int, stop: int) -> tuple[Floats, float]:
        """How long each part took for a chunk, (n_parts,), and the memory of the process that computed it, bytes."""
        with np.load(self.file(start, stop), allow_pickle=False) as file:
            return np.asarray(file["seconds"], dtype=np.float64), float(file["peak"])

    def blocks(self, chunks: Sequence[tuple[int, int]]) -> Iterator[tuple[int, FeatureBlock]]:
        """Chunk by chunk, each with its first row."""
        for start, stop in chunks:
            yield start, self.load(start, stop)
