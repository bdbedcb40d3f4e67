"""What featurizing a pool will take, from a sample that is really featurized, descriptor by descriptor."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from active_learning.domain.candidate import Candidate
from active_learning.engine.assembly import Kit
from active_learning.engine.chunks import FeaturizerAddress, Group, all_parts, parts_of
from active_learning.engine.featurizing import featurize_group, let_workers_go
from active_learning.engine.memory import peak_bytes
from active_learning.engine.pool_file import PoolFile, write_candidates
from active_learning.engine.spreading import Threads
from active_learning.store import Blobs

__all__ = ["Estimate", "PartCost", "described", "estimate_features", "in_words"]

_BYTES_A_CANDIDATE = 350
"""What the campaign's own process holds of each candidate of a large pool (benchmarks/growth.py)."""


@dataclass(frozen=True)
class PartCost:
    """What one descriptor costs.

    Parameters
    ----------
    seconds_each : for one candidate, or one composition if it looks at nothing else, on one core
    n_rows : for how many of them it will be computed
    """

    label: str
    n_features: int
    of_composition: bool
    seconds_each: float
    n_rows: int

    @property
    def seconds(self) -> float:
        """For the whole pool, on one core."""
        return self.seconds_each * self.n_rows


@dataclass(frozen=True)
class Estimate:
    """What featurizing will take.

    Parameters
    ----------
    parts : in the order of the features
    n_lacking : how many of the sample lack a feature at least
    n_lost : how many of them the campaign could not use, as ``missing`` in [features] says
    failures : why
    worker_bytes, own_bytes : memory of each process that featurizes, and of the campaign's own
    disk_bytes, kept_bytes, free_bytes : while it works; of it afterwards; and what the disk has
    """

    parts: tuple[PartCost, ...]
    n_lacking: int
    n_lost: int
    failures: tuple[str, ...]
    n_workers: int
    worker_bytes: float
    own_bytes: float
    disk_bytes: float
    kept_bytes: float
    free_bytes: float

    @property
    def n_features(self) -> int:
        """Features of each candidate."""
        return sum(part.n_features for part in self.parts)

    @property
    def seconds(self) -> float:
        """For the whole pool, on all workers."""
        return sum(part.seconds for part in self.parts) / self.n_workers


def in_words(seconds: float) -> str:
    """A duration for people.

    >>> in_words(0.2), in_words(90), in_words(9000)
    ('under 1 s', '90 s', '2.5 h')
    """
    if seconds < 1:
        return "under 1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def estimate_features(kit: Kit, pool: PoolFile, sample: Sequence[Candidate], folder: Path, n_workers: int) -> Estimate:
    """Featurize a sample as a campaign would, in a process of its own and under its time limit.

    Parameters
    ----------
    folder : for files that are not needed afterwards
    """
    blobs, features = Blobs(folder), kit.spec.features
    address = FeaturizerAddress(features.kind, kit.featurizer_options, "check", kit.python_path, str(folder / "memory"))
    compositions = {c.formula: Candidate(c.amounts, None, c.formula) for c in sample}
    all_of_it = all_parts(features.kind, kit.featurizer)
    n_rows: dict[Group, int] = {"candidates": len(pool), "compositions": _n_compositions(pool)}
    costs: dict[str, PartCost] = {}
    failures: dict[str, None] = {}
    n_features = sum(len(part.names) for part in all_of_it)
    worker_bytes = 0.0
    n_missing = dict.fromkeys((candidate.id for candidate in sample), 0)
    samples: dict[Group, Sequence[Candidate]] = {"compositions": tuple(compositions.values()), "candidates": sample}
    for group, some in samples.items():
        if not (parts := parts_of(group, all_of_it)):
            continue
        stored = PoolFile(blobs.path(write_candidates(some, blobs, group)))
        try:
            found = featurize_group(
                stored.path,
                len(stored),
                address,
                group,
                folder / "chunks",
                Threads(1),
                time_limit_s=features.time_limit,
                progress=lambda _done, _total: None,
            )
        finally:
            let_workers_go(address)
        ((start, stop),) = found.chunks
        block = found.folder.load(start, stop)
        failures |= dict.fromkeys(block.failures.values())
        missing = dict(zip(stored.ids, (~np.isfinite(block.values)).sum(axis=1).tolist(), strict=True))
        for candidate in sample:
            own = candidate.id if group == "candidates" else compositions[candidate.formula].id
            n_missing[candidate.id] += missing[own]
        spent, peak = found.folder.costs(start, stop)
        worker_bytes = max(worker_bytes, peak)
        for part, seconds in zip(parts, spent, strict=True):
            n = len(part.names)
            costs[part.label] = PartCost(part.label, n, part.of_composition, float(seconds) / stop, n_rows[group])
    parts_in_order = tuple(costs[part.label] for part in all_of_it)
    return Estimate(
        parts=parts_in_order,
        n_lacking=sum(n > 0 for n in n_missing.values()),
        n_lost=sum(n >= (1 if features.missing == "drop_candidate" else n_features) for n in n_missing.values()),
        failures=tuple(failures),
        n_workers=n_workers,
        worker_bytes=worker_bytes,
        own_bytes=peak_bytes() + _BYTES_A_CANDIDATE * len(pool),
        disk_bytes=_disk_bytes(parts_in_order, len(pool)) + pool.path.stat().st_size,
        kept_bytes=8.0 * len(pool) * n_features + pool.path.stat().st_size,
        free_bytes=float(shutil.disk_usage(folder).free),
    )


def _n_compositions(pool: PoolFile) -> int:
    return len(pool.column("formula").unique())


def _disk_bytes(parts: Sequence[PartCost], n_candidates: int) -> float:
    """Chunks and result at once; compositions beside candidates are brought together in a file of their own."""
    chunks = sum(8.0 * part.n_features * part.n_rows for part in parts)
    shared = sum(8.0 * part.n_features * part.n_rows for part in parts if part.of_composition)
    is_mixed = len({part.of_composition for part in parts}) == 2
    return chunks + (shared if is_mixed else 0.0) + 8.0 * n_candidates * sum(part.n_features for part in parts)


def described(estimate: Estimate) -> Iterator[str]:
    """One line a descriptor."""
    for part in estimate.parts:
        of = "composition" if part.of_composition else "candidate"
        total = in_words(part.seconds / estimate.n_workers)
        yield (
            f"{part.label}: {part.n_features} of each {of}, {part.seconds_each * 1e3:.3g} ms;"
            f" {total} for {part.n_rows:,}"
        )
