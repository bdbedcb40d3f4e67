"""What all replays of a backtest share: candidates, their features, and the true value of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from active_learning.domain.candidate import content_hash
from active_learning.engine.feature_file import FeatureFile, FeatureIndex, write_features
from active_learning.engine.ids import CandidateIds
from active_learning.errors import ContractError
from active_learning.store import Blobs

__all__ = ["Ground"]

Floats = NDArray[np.float64]

_FILE = "ground.json"


@dataclass(frozen=True, eq=False)
class Ground:
    """Candidates with known values, on disk, so that many processes can replay on them.

    Parameters
    ----------
    folder : it holds the files
    pool, features : what a campaign notes of its stored pool and features
    values_file : name of the stored array (n_candidates,) of true values, in the order of the features' rows
    left_out : why candidates of the pool are not here -> how many
    made_of : what it was made of, to know it again
    """

    folder: Path
    pool: Mapping[str, Any]
    features: Mapping[str, Any]
    values_file: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    made_of: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blobs(self) -> Blobs:
        """The files."""
        return Blobs(self.folder / "files")

    @cached_property
    def values(self) -> Floats:
        """(n_candidates,), in the target's unit."""
        loaded: Floats = np.load(self.blobs.path(self.values_file), allow_pickle=False)
        return loaded

    @cached_property
    def ids(self) -> CandidateIds:
        """(n_candidates,), of the rows of `values`."""
        return FeatureFile(dict(self.features), self.blobs).ids

    def __len__(self) -> int:
        return int(self.features["n_candidates"])

    @property
    def fingerprint(self) -> str:
        """Equal for equal features and values."""
        return content_hash([self.features["file"], self.features["ids"], self.features["index"], self.values_file])

    @property
    def file_names(self) -> tuple[str, ...]:
        """The files that a campaign on this ground reads."""
        return (self.pool["file"], self.features["file"], self.features["ids"], self.features["index"])

    def save(self) -> Ground:
        """Write down where everything is, so that `load` finds it; returns itself."""
        note = {
            "pool": dict(self.pool),
            "features": dict(self.features),
            "values": self.values_file,
            "left_out": dict(self.left_out),
            "made_of": dict(self.made_of),
        }
        temporary = self.folder / f".{_FILE}"
        temporary.write_text(json.dumps(note, indent=1), encoding="utf-8")
        temporary.replace(self.folder / _FILE)
        return self

    @classmethod
    def load(cls, folder: Path) -> Ground | None:
        """The ground that lies in a folder; None if there is none."""
        if not (folder / _FILE).is_file():
            return None
        note = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(folder, note["pool"], note["features"], note["values"], note["left_out"], note["made_of"])

    @classmethod
    def of_arrays(
        cls,
        folder: Path,
        names: Sequence[str],
        X: Floats,
        y: Floats,
        *,
        feature_names: Sequence[str] | None = None,
    ) -> Ground:
        """From arrays, for a benchmark. Row i of everything here is row i of `X`.

        Parameters
        ----------
        folder : where the files are written
        names : (n_candidates,), formulas or any other names; they need not be unique
        X : (n_candidates, n_features); NaN where a feature is missing
        y : (n_candidates,), in the target's unit

        Raises
        ------
        ContractError
            If the shapes do not fit, or a value of `y` is not finite.
        """
        X, y = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        columns = tuple(feature_names or [f"feature {number}" for number in range(X.shape[-1])])
        if X.ndim != 2 or y.shape != X.shape[:1] or len(names) != len(y) or len(columns) != X.shape[1]:
            raise ContractError(
                f"{len(names)} names, X {X.shape}, y {y.shape} and {len(columns)} names of features do not fit together"
            )
        # The number of the row as the id: candidates stay in this order.
        ids = CandidateIds.of(f"{row:016x}" for row in range(len(y)))
        blobs = Blobs(folder / "files")
        table = pa.table({"id": list(ids), "formula": [str(name) for name in names]})
        pool = blobs.put("pool", ".parquet", lambda file: pq.write_table(table, file))
        index = FeatureIndex(columns, {}, {}, {c: n for c, n in zip(columns, _missing(X), strict=True) if n})
        features = write_features(ids, [X], index, blobs)
        note = {"file": pool, "n_candidates": len(y), "elements": []}
        return cls(folder, note, features, store_values(y, blobs)).save()


def _missing(X: Floats) -> list[int]:
    counts: list[int] = np.isnan(X).sum(axis=0).tolist()
    return counts


def store_values(y: Floats, blobs: Blobs) -> str:
    """Store true values, (n_candidates,), and return the file's name.

    Raises
    ------
    ContractError
        If one is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        raise ContractError(f"the value of row {bad[0]} is {y[bad[0]]} ({bad.size} rows in all)")
    return blobs.put("values", ".npy", lambda file: np.lib.format.write_array(file, y, allow_pickle=False))
