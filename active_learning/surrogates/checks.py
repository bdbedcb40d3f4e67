"""What a surrogate may be trained on and asked about: shapes, and finite numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError, UserError

__all__ = ["checked_classes", "checked_features", "checked_training"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
_MANY = 10
"""Labels from which it is seen whether they are classes."""
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


def checked_classes(y: Floats) -> tuple[Floats, Indices]:
    """The classes among the labels `y`, (n_classes,), ascending, and which of them each label is, (n_labels,).

    Raises
    ------
    UserError
        If there are many labels, more than half of them differ, and some are not whole numbers: these are the values
        of a number, and not classes.
    """
    classes, places = np.unique(y, return_inverse=True)
    fractions = y[y != np.round(y)]
    if len(y) >= _MANY and 2 * len(classes) > len(y) and len(fractions):
        raise UserError(
            f"{len(classes)} of {len(y)} labels differ, and some are like {fractions[0]:.6g}: these are no classes. "
            "With the goal 'classify' a label is the number of its class, such as 0 or 1; to learn a number, take the "
            "goal 'learn'"
        )
    return classes, np.asarray(places, dtype=np.intp).reshape(-1)
