"""What a preparation may be fitted on and applied to: shapes, and numbers that a model can take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["LARGEST", "checked_features", "checked_labels", "checked_names"]

Floats = NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)
"""Forests compare features as float32: nothing may be larger."""


def checked_features(X: Floats, *, n_features: int | None = None, may_lack: bool, first_row: int = 0) -> Floats:
    """`X` as a float64 matrix; with `may_lack` a copy in which what is no finite 32-bit number is NaN.

    Raises
    ------
    ContractError
        If it is not (n_candidates, n_features), or, without `may_lack`, a row holds NaN, infinity or more than float32
        can hold. The first such row is named, counted from `first_row`.
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] == 0:
        raise ContractError(f"X has shape (n_candidates, n_features), got {X.shape}")
    if n_features is not None and X.shape[1] != n_features:
        raise ContractError(f"X has {X.shape[1]} features; the preparation was fitted on {n_features}")
    with np.errstate(invalid="ignore"):
        is_good = np.abs(X) <= LARGEST
    if may_lack:
        return np.where(is_good, X, np.nan)
    bad = np.flatnonzero(~is_good.all(axis=1))
    if bad.size:
        row = int(bad[0])
        column = int(np.flatnonzero(~is_good[row])[0])
        raise ContractError(
            f"X holds {X[row, column]} in row {first_row + row}, column {column} ({bad.size} bad rows in all); every "
            'feature must be finite and fit in 32 bits, or be filled in by missing = "impute" in [features]'
        )
    return X


def checked_labels(X: Floats, y: Floats) -> Floats:
    """`y` as float64, one finite label for each row of `X`.

    Raises
    ------
    ContractError
        If `y` is not (n_labels,), is empty, or holds NaN or infinity (the row is named).
    """
    y = np.asarray(y, dtype=np.float64)
    if y.ndim != 1 or len(y) != len(X):
        raise ContractError(f"y has shape (n_labels,) with a label for each of the {len(X)} rows of X, got {y.shape}")
    if not len(y):
        raise ContractError("a preparation cannot be fitted on no labels")
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        raise ContractError(f"y is {y[bad[0]]} in row {bad[0]} ({bad.size} bad rows in all); labels must be finite")
    return y


def checked_names(names: Sequence[str], n_features: int) -> tuple[str, ...]:
    """One name for each feature.

    Raises
    ------
    ContractError
        If there are more or fewer names than features, or a name comes twice.
    """
    names = tuple(names)
    if len(names) != n_features:
        raise ContractError(f"{len(names)} names for {n_features} features")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ContractError(f"two features are called {twice!r}; names must be unique")
    return names
