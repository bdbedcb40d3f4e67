"""The step that featurizes: groups of descriptors, put together under the policy for what is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.candidate import Candidate
from active_learning.domain.execution import Spread
from active_learning.engine.chunks import FeaturizerAddress, Group, all_parts
from active_learning.engine.feature_file import FeatureIndex, write_features, write_header
from active_learning.engine.featurizing import FeaturizedGroup, featurize_group, let_workers_go
from active_learning.engine.ids import CandidateIds
from active_learning.engine.pool_file import PoolFile, write_candidates
from active_learning.engine.workbench import Workbench
from active_learning.errors import CampaignFailed
from active_learning.preparation.checks import LARGEST
from active_learning.store import Blobs

__all__ = ["address_of", "computed", "featurize"]

Floats = NDArray[np.float64]
_BLOCK = 4096


def featurize(bench: Workbench) -> str:
    """Compute the features of the whole pool and store them.

    Raises
    ------
    CampaignFailed
        If no candidate could be featurized.
    """
    pool = bench.pool(bench.store.read())
    try:
        matrix = computed(bench, bench.spread)
    finally:
        let_workers_go(address_of(bench))
    note = _store(bench, pool, matrix)
    with bench.write() as writer:
        writer.set_features(note)
    bench.drop_chunks()  # a crash before this line costs their room until the next run
    failed = f", {note['n_failed']:,} candidates failed" if note["n_failed"] else ""
    return f"features: {note['n_candidates']:,} × {note['n_features']}{failed}"


def computed(bench: Workbench, spread: Spread) -> Matrix:
    """The features of the whole pool, in chunks on disk."""
    pool, columns = bench.pool(bench.store.read()), _Columns.of(bench)
    bench.chunks.mkdir(parents=True, exist_ok=True)
    return Matrix(columns, _groups(bench, pool, columns, spread), len(pool))


def address_of(bench: Workbench) -> FeaturizerAddress:
    """Where a worker finds this campaign's featurizer."""
    kind = bench.kit.spec.features.kind
    memory = str(bench.workdir / "memory")
    version_now = _version(kind, type(bench.kit.featurizer))
    return FeaturizerAddress(kind, bench.kit.featurizer_options, version_now, bench.kit.python_path, memory)


def _version(kind: str, featurizer: type) -> str:
    """What a cached chunk depends on beside the options: our version, those of the libraries that compute, and the
    code of a featurizer that the user wrote: chunks from before it was repaired must not be taken."""
    found = [f"motherlode {version('motherlode')}"]
    if ":" in kind and (source := getattr(sys.modules[featurizer.__module__], "__file__", None)) is not None:
        found.append(sha256(Path(source).read_bytes()).hexdigest()[:16])
    for package in ("matminer", "pymatgen", "dscribe") if kind == "matminer" else ():
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # an extra
            continue
    return ", ".join(found)


@dataclass(frozen=True)
class _Columns:
    """Names of all features, and the columns that each group fills."""

    names: tuple[str, ...]
    of_group: dict[Group, NDArray[np.intp]]

    @staticmethod
    def of(bench: Workbench) -> _Columns:
        names: list[str] = []
        of_group: dict[Group, list[int]] = {"compositions": [], "candidates": []}
        for part in all_parts(bench.kit.spec.features.kind, bench.kit.featurizer):
            width = len(part.names)
            of_group["compositions" if part.of_composition else "candidates"] += range(len(names), len(names) + width)
            names += part.names
        return _Columns(tuple(names), {g: np.array(c, dtype=np.intp) for g, c in of_group.items()})


@dataclass(frozen=True)
class _Group:
    """A group's chunks, and which of its rows belongs to each candidate (None: the candidate's own)."""

    chunks: FeaturizedGroup
    row_of: NDArray[np.intp] | None = None


def _groups(bench: Workbench, pool: PoolFile, columns: _Columns, spread: Spread) -> dict[Group, _Group]:
    """Compute what each group of descriptors needs."""
    groups: dict[Group, _Group] = {}
    if len(columns.of_group["compositions"]):
        compositions, row_of = pool, None
        if pool.column("crystal").null_count < len(pool):
            compositions, row_of = _compositions(pool, bench.chunks)
        groups["compositions"] = _Group(_run(bench, compositions, "compositions", spread, columns.names), row_of)
    if len(columns.of_group["candidates"]):
        groups["candidates"] = _Group(_run(bench, pool, "candidates", spread, columns.names))
    return groups


def _run(bench: Workbench, pool: PoolFile, group: Group, spread: Spread, names: tuple[str, ...]) -> FeaturizedGroup:
    return featurize_group(
        pool.path,
        len(pool),
        address_of(bench),
        group,
        bench.chunks,
        spread,
        time_limit_s=bench.kit.spec.features.time_limit,
        names=names,
        progress=lambda done, total: bench.progress(f"featurizing {group}", done, total),
    )


def _compositions(pool: PoolFile, root: Path) -> tuple[PoolFile, NDArray[np.intp]]:
    """The distinct compositions of a pool, as a pool of bare compositions; the row in it of each candidate."""
    coded = pool.column("formula").combine_chunks().dictionary_encode()
    codes = np.asarray(coded.indices.to_numpy(zero_copy_only=False), dtype=np.intp)
    _, first = np.unique(codes, return_index=True)
    ids = np.empty(len(first), dtype="S16")

    def bare() -> Iterator[Candidate]:
        for start in range(0, len(pool), _BLOCK):
            wanted = first[(first >= start) & (first < start + _BLOCK)]
            block = pool.candidates(start, start + _BLOCK) if len(wanted) else []
            for row in wanted:
                candidate = Candidate(block[row - start].amounts, None, block[row - start].formula)
                ids[codes[row]] = candidate.id.encode()
                yield candidate

    stored = PoolFile(root / write_candidates(bare(), Blobs(root), "compositions"))
    return stored, np.searchsorted(stored.ids.array, ids)[codes]


@dataclass(frozen=True)
class Matrix:
    """All features of the pool, block by block, and why some of them are missing."""

    columns: _Columns
    groups: dict[Group, _Group]
    n_rows: int

    def blocks(self) -> Iterator[tuple[Floats, dict[int, str]]]:
        """(any, n_features) with NaN where something is missing, and the reasons by row of the block."""
        shared, mine = self._of_compositions, self._mine
        own = self.groups.get(mine)
        spans = own.chunks.chunks if own else [(s, min(s + _BLOCK, self.n_rows)) for s in range(0, self.n_rows, _BLOCK)]
        for start, stop in spans:
            values = np.full((stop - start, len(self.columns.names)), np.nan)
            reasons: dict[int, str] = {}
            if shared is not None:
                matrix, why, row_of = shared
                values[:, self.columns.of_group["compositions"]] = matrix[row_of[start:stop]]
                reasons = {i: why[r] for i, r in enumerate(row_of[start:stop].tolist()) if r in why}
            if own:
                block = own.chunks.folder.load(start, stop)
                values[:, self.columns.of_group[mine]] = block.values
                for row, reason in block.failures.items():
                    reasons[row] = f"{reasons[row]}; {reason}" if row in reasons else reason
            yield values, reasons

    @property
    def _mine(self) -> Group:
        """The group whose chunks are taken as they are: they have a row for each candidate."""
        alone = self.groups.get("compositions") if "candidates" not in self.groups else None
        return "compositions" if alone is not None and alone.row_of is None else "candidates"

    @cached_property
    def _of_compositions(self) -> tuple[Floats, dict[int, str], NDArray[np.intp]] | None:
        """Features of all compositions (a file that is mapped), reasons, and the row of each candidate."""
        group = self.groups.get("compositions")
        if group is None or self._mine == "compositions":
            return None
        row_of = np.arange(self.n_rows) if group.row_of is None else group.row_of
        width = len(self.columns.of_group["compositions"])
        n_rows = group.chunks.chunks[-1][1] if group.chunks.chunks else 0
        path = group.chunks.folder.path / "matrix.npy"
        why: dict[int, str] = {}
        # Written, not mapped: on a full disk a mapped page kills the process instead of raising.
        with path.open("wb") as file:
            write_header(file, n_rows, width)
            for start, block in group.chunks.folder.blocks(group.chunks.chunks):
                file.write(np.ascontiguousarray(block.values, dtype="<f8").data)
                why |= {start + row: reason for row, reason in block.failures.items()}
        return np.load(path, mmap_mode="r", allow_pickle=False), why, row_of


def _store(bench: Workbench, pool: PoolFile, matrix: Matrix) -> dict[str, object]:
    """Apply the policy and write what is left."""
    policy, names = bench.kit.spec.features.missing, matrix.columns.names
    failures: dict[str, str] = {}
    missing = np.zeros(len(names), dtype=np.intp)
    is_kept = np.ones(len(pool), dtype=bool)
    at = 0
    for values, reasons in matrix.blocks():
        bad = _is_bad(values)
        lost = np.asarray(bad.any(axis=1) if policy == "drop_candidate" else bad.all(axis=1))
        for row in np.flatnonzero(lost).tolist():
            failures[pool.ids[at + row]] = reasons.get(
                row, "a feature is not a finite number of 32 bits, and nobody says why"
            )
        is_kept[at : at + len(values)] = ~lost
        missing += (bad & ~lost[:, None]).sum(axis=0)
        at += len(values)
    if not is_kept.any():
        # Whatever is repaired now, a library that is missing say, must be asked again.
        bench.drop_chunks()
        example = next(iter(failures.items()))
        raise CampaignFailed(
            f"No candidate of {len(pool):,} could be featurized. For example {pool.formulas([example[0]])[0]}"
            f" ({example[0]}): {example[1]}."
        )
    keep = _columns_to_keep(policy, missing, int(is_kept.sum()))
    index = FeatureIndex(
        names=tuple(name for name, is_there in zip(names, keep, strict=True) if is_there),
        failures=failures,
        dropped={
            name: f"missing for {count:,} candidates"
            for name, count, is_there in zip(names, missing.tolist(), keep, strict=True)
            if not is_there
        },
        missing={n: c for n, c, k in zip(names, missing.tolist(), keep, strict=True) if c and k},
    )
    if not index.names:
        raise CampaignFailed(
            'Every feature is missing for some candidate, and with missing = "drop_feature" in [features] none is left.'
            ' Choose other descriptors, or missing = "impute" or "drop_candidate".'
        )

    def kept_blocks() -> Iterator[Floats]:
        row = 0
        for values, _ in matrix.blocks():
            values[_is_bad(values)] = np.nan
            yield values[is_kept[row : row + len(values)]][:, keep]
            row += len(values)

    return write_features(CandidateIds(pool.ids.array[is_kept]), kept_blocks(), index, bench.blobs)


def _is_bad(values: Floats) -> NDArray[np.bool_]:
    """What no model takes: forests compare features as float32."""
    with np.errstate(invalid="ignore"):
        return ~(np.abs(values) <= LARGEST)


def _columns_to_keep(policy: str, missing: NDArray[np.intp], n_rows: int) -> NDArray[np.bool_]:
    """Under `drop_feature` those that no candidate lacks; else all that at least one candidate has."""
    most = 0 if policy == "drop_feature" else n_rows - 1
    return np.array([count <= most for count in missing.tolist()])
