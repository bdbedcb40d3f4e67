"""Predict and score a whole pool, block by block: memory does not grow with it, but for two numbers a candidate."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.execution import Piece, Spread
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import FittedSurrogate, Portable
from active_learning.engine.feature_file import FeatureFile, read_rows, write_header
from active_learning.errors import ContractError

__all__ = ["PROMISING", "Beliefs", "BestRows", "checked_scores", "predict_pool", "predict_rows"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

PROMISING = 20_000
"""Of a larger pool, as many candidates with the highest scores are kept for the selection to choose from."""

BLOCK = 32_768
"""Rows predicted at once."""
_SPREAD_FROM = 50_000
"""Smaller pools are predicted here: dealing out the pieces would take longer."""


def checked_scores(scores: Any, n_candidates: int) -> Floats:
    """Scores as floats, (n_candidates,).

    Raises
    ------
    ContractError
        If there is not one finite score for each candidate.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (n_candidates,):
        raise ContractError(
            f"scores have shape {scores.shape}; one for each of the {n_candidates} candidates is needed"
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise ContractError(f"the score of row {bad[0]} is {scores[bad[0]]} ({bad.size} rows in all)")
    return np.asarray(scores)


class BestRows:
    """The k highest scores of all that were shown, ties by row.

    >>> best = BestRows(2)
    >>> best.add(np.array([1.0, 3.0]), np.array([0, 1]))
    >>> best.add(np.array([3.0, 2.0]), np.array([2, 3]))
    >>> best.rows.tolist(), best.scores.tolist()
    ([1, 2], [3.0, 3.0])
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self._scores: Floats = np.empty(0)
        self._rows: Rows = np.empty(0, dtype=np.intp)

    def add(self, scores: Floats, rows: Rows) -> None:
        """Show some scores and the rows they belong to, (n,) each; rows come in ascending order over all calls."""
        if len(self._scores) == self._k:
            # What only equals the last of the best has a higher row than it.
            is_better = scores > self._scores[-1]
            scores, rows = scores[is_better], rows[is_better]
        if not len(scores):
            return
        scores, rows = np.concatenate([self._scores, scores]), np.concatenate([self._rows, rows])
        order = np.lexsort((rows, -scores))[: self._k]
        self._scores, self._rows = scores[order], rows[order]

    @property
    def rows(self) -> Rows:
        """Their rows, best first, (at most k,)."""
        return self._rows

    @property
    def scores(self) -> Floats:
        """Their scores, best first, (at most k,)."""
        return self._scores


@dataclass(frozen=True)
class Beliefs:
    """What is believed of every candidate of a pool, in a file that is removed with this value's context.

    A row is mean and std, and the probabilities of the classes, if there are any.
    """

    path: Path
    n_rows: int
    classes: tuple[float, ...] = ()

    def __enter__(self) -> Beliefs:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)

    def blocks(self, size: int = 1 << 18) -> Iterator[tuple[int, Prediction]]:
        """All of them in order, each block with its first row."""
        for start in range(0, self.n_rows, size):
            yield start, self._prediction(read_rows(self.path, start, start + size))

    def at(self, rows: Rows) -> Prediction:
        """Those of some candidates, in the order of `rows`."""
        return self._prediction(np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[rows]))

    def _prediction(self, block: Floats) -> Prediction:
        mean, std, probabilities = block[:, :1], block[:, 1:2], block[:, 2:]
        if not self.classes:
            return Prediction(mean, std)
        return Prediction(mean, std, None, np.array(self.classes), probabilities)

    def copy_to(self, file: BinaryIO) -> None:
        """Write the file, (n_candidates, 2) as .npy, to another."""
        with self.path.open("rb") as source:
            while part := source.read(1 << 20):
                file.write(part)


def predict_pool(
    model: FittedSurrogate,
    features: FeatureFile,
    spread: Spread,
    folder: Path,
    *,
    correction: tuple[float, float] = (1.0, 0.0),
) -> Beliefs:
    """What a model believes of all candidates.

    A model that can travel (`Portable`) is written down and predicts wherever `spread` does the work; any other
    predicts here.

    Parameters
    ----------
    folder : where the result is written; whoever does the work must see it
    correction : slope and offset (in the target's unit) of the std
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_rows = len(features.ids)
    path = folder / f".beliefs.{os.getpid()}.{uuid4().hex[:8]}.npy"
    classes = model.predict(read_rows(features.path, 0, 1)).classes if n_rows else None
    try:
        _make_room(path, n_rows, 2 if classes is None else 2 + len(classes))
        if n_rows >= _SPREAD_FROM and isinstance(model, Portable):
            _predict_spread(model, features, spread, path, correction)
        else:
            _predict_into(path, model, features.path, (0, n_rows), correction)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Beliefs(path, n_rows, () if classes is None else tuple(classes.tolist()))


def _make_room(path: Path, n_rows: int, n_columns: int) -> None:
    """A file of the right size: those who predict write their rows where they belong, in any order."""
    with path.open("wb") as file:
        write_header(file, n_rows, n_columns)
        file.truncate(file.tell() + n_rows * n_columns * 8)


def _predict_spread(
    model: Portable, features: FeatureFile, spread: Spread, path: Path, correction: tuple[float, float]
) -> None:
    written = path.with_suffix(".model.npz")
    try:
        np.savez(written, **_checked(model.to_arrays()))
        n_pieces = 4 * spread.n_workers
        size = -(-len(features.ids) // (n_pieces * BLOCK)) * BLOCK
        pieces = [
            {
                "model": str(written),
                "class": f"{type(model).__module__}:{type(model).__qualname__}",
                "features": str(features.path),
                "beliefs": str(path),
                "rows": [start, min(start + size, len(features.ids))],
                "correction": list(correction),
            }
            for start in range(0, len(features.ids), size)
        ]
        spread.run(predict_rows, pieces, "predict", lambda _count: None)
    finally:
        written.unlink(missing_ok=True)


def _checked(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    objects = [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]
    if objects:
        raise TypeError(f"a model's arrays must not hold objects: {', '.join(objects)}")
    return dict(arrays)


def predict_rows(piece: Piece) -> int:
    """Predict some rows, wherever this runs; how many."""
    model = _model(piece["model"], piece["class"])
    start, stop = piece["rows"]
    slope, offset = piece["correction"]
    _predict_into(Path(piece["beliefs"]), model, Path(piece["features"]), (start, stop), (slope, offset))
    return int(stop - start)


@lru_cache(maxsize=2)
def _model(path: str, name: str) -> FittedSurrogate:
    kind: Any = pkgutil.resolve_name(name)
    with np.load(path, allow_pickle=False) as file:
        model: FittedSurrogate = kind.from_arrays({key: file[key] for key in file.files})
    return model


def _predict_into(
    path: Path, model: FittedSurrogate, features: Path, rows: tuple[int, int], correction: tuple[float, float]
) -> None:
    """Predict rows block by block and write them where they belong. Blocks begin at multiples of `BLOCK`, wherever the
    pieces were cut, so that the last digit does not depend on it."""
    room = np.load(path, mmap_mode="r", allow_pickle=False)
    offset, n_columns = room.offset, room.shape[1]
    slope, least = correction
    # Written, not mapped: on a full disk a mapped page kills the process instead of raising, and of two machines that
    # map one page each would write down its own.
    with path.open("r+b") as file:
        for first in range(*rows, BLOCK):
            last = min(first + BLOCK, rows[1])
            prediction = model.predict(read_rows(features, first, last))
            if len(prediction) != last - first:
                raise ContractError(f"the model predicts {len(prediction)} candidates of {last - first}")
            columns = [prediction.mean[:, :1], slope * prediction.std[:, :1] + least]
            if prediction.probabilities is not None:
                columns.append(prediction.probabilities)
            block = np.concatenate(columns, axis=1)
            if block.shape[1] != n_columns:
                raise ContractError(f"the model knows {block.shape[1] - 2} classes here and {n_columns - 2} elsewhere")
            file.seek(offset + first * n_columns * 8)
            file.write(np.ascontiguousarray(block, dtype="<f8").data)
        file.flush()
        os.fsync(file.fileno())
