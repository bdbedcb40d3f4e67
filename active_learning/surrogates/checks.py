"""What a surrogate may be trained on and asked about: shapes, and finite numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["checked_features", "checked_training"]

Floats = NDArray[np.float64]
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def checked_features(X: Floats, *, n_features: int | None = None) -> Floats:
    """`X` as a float64 matrix.

    Raises
    ------
    ContractError
        If it is not (n_candidates, n_features), or a row holds NaN, infinity or more than float32 can hold (forests
        compare features as float32). The first such row is named.
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] == 0:
        raise ContractError(f"X has shape (n_candidates, n_features), got {X.shape}")
    if n_features is not None and X.shape[1] != n_features:
        raise ContractError(f"X has {X.shape[1]} features; the model was trained on {n_features}")
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~(np.abs(X) <= _FLOAT32_MAX).all(axis=1))
    if bad.size:
        row = int(bad[0])
        column = int(np.flatnonzero(~(np.abs(X[row]) <= _FLOAT32_MAX))[0])
        raise ContractError(
            f"X holds {X[row, column]} in row {row}, column {column} ({bad.size} bad rows in all); "
            "every feature must be finite and fit in 32 bits"
        )
    return X


def checked_training(X: Floats, y: Floats) -> tuple[Floats, Floats]:
    """`X` and `y` as float64, one finite label a row.

    Raises
    ------
    ContractError
        As `checked_features`; or if `y` is not (n_labels,), is empty, or holds NaN or infinity (the row is named).
    """
    X = checked_features(X)
    y = np.asarray(y, dtype=np.float64)
    if y.ndim != 1 or len(y) != len(X):
        raise ContractError(f"y has shape (n_labels,) with a label for each of the {len(X)} rows of X, got {y.shape}")
    if not len(y):
        raise ContractError("a model cannot be trained on no labels")
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        raise ContractError(f"y is {y[bad[0]]} in row {bad[0]} ({bad.size} bad rows in all); labels must be finite")
    return X, y
