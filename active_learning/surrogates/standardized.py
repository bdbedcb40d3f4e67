"""Features and target on one scale, as models that measure distances need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["StandardFeatures", "StandardTarget", "number", "taken"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FARTHEST = 1e140
"""No standardized feature is beyond it: the square of a distance must be finite."""
_ROUNDING = 1e-10
"""A feature that varies by less of its own size counts as constant, so that noise is not blown up."""


@dataclass(frozen=True, eq=False)
class StandardFeatures:
    """The features that vary, each with zero mean and unit variance over the labels.

    Parameters
    ----------
    n_features : how many there are, constant ones included
    columns : (n_varying,), which of them vary, ascending
    center, spread : (n_varying,), mean and standard deviation; the spread is positive

    Raises
    ------
    ContractError
        If the arrays do not have these shapes or values.
    """

    n_features: int
    columns: Integers
    center: Floats
    spread: Floats

    def __post_init__(self) -> None:
        shapes = {np.shape(array) for array in (self.columns, self.center, self.spread)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ContractError(f"columns, center and spread have one number a varying feature each; got {shapes}")
        if not np.isfinite(self.center).all() or not ((self.spread > 0) & (self.spread < np.inf)).all():
            raise ContractError("the center of every varying feature is finite, its spread finite and positive")
        inside = (self.columns >= 0) & (self.columns < self.n_features)
        if not inside.all() or (np.diff(self.columns) <= 0).any():
            raise ContractError(f"columns {self.columns.tolist()} are no ascending ones of {self.n_features}")

    @classmethod
    def of(cls, X: Floats) -> Self:
        """Those of the labeled rows `X`, (n_labels, n_features), at least one row."""
        # Of a column of size 1: squares of 1e-200 would vanish.
        size = np.abs(X).max(axis=0)
        size[size == 0] = 1.0
        part = X / size
        mean, std = part.mean(axis=0), part.std(axis=0)
        columns = np.flatnonzero((std > _ROUNDING) & (size * std > np.finfo(np.float64).tiny)).astype(np.int64)
        return cls(X.shape[1], columns, (size * mean)[columns], (size * std)[columns])

    def standard(self, X: Floats) -> Floats:
        """The varying features of `X`, (n_rows, n_varying)."""
        with np.errstate(over="ignore"):
            Z = (np.take(X, self.columns, axis=1) - self.center) / self.spread
        return np.clip(Z, -_FARTHEST, _FARTHEST, out=Z)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters of this class, by names that are unlike those of a target."""
        return {
            "n_features": np.array(self.n_features),
            "columns": self.columns,
            "feature_center": self.center,
            "feature_spread": self.spread,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """What `to_arrays` wrote.

        Raises
        ------
        ContractError
            If an array is missing, or as this class.
        """
        columns, center, spread = taken(arrays, "columns", "feature_center", "feature_spread")
        return cls(int(number(arrays, "n_features")), np.asarray(columns, dtype=np.int64), center, spread)


@dataclass(frozen=True)
class StandardTarget:
    """A target with zero mean and unit variance over the labels; the spread of a constant one is 0.

    Raises
    ------
    ContractError
        If a number is not finite, or the spread is negative.
    """

    center: float
    spread: float

    def __post_init__(self) -> None:
        if not np.isfinite([self.center, self.spread]).all() or self.spread < 0:
            raise ContractError(f"center and spread of a target are finite; got {self.center} and {self.spread}")

    @classmethod
    def of(cls, y: Floats) -> tuple[Self, Floats]:
        """That of the labels `y`, (n_labels,), at least one, and them on its scale."""
        low, span = float(y.min()), float(np.ptp(y))
        if span == 0.0:
            return cls(low, 0.0), np.zeros_like(y)
        # On [0, 1] first: squares of 1e-160 would vanish.
        part = (y - low) / span
        mean, std = float(part.mean()), float(part.std())
        return cls(low + span * mean, span * std), (part - mean) / std

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters of this class, by names that are unlike those of features."""
        return {"target_center": np.array(self.center), "target_spread": np.array(self.spread)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """What `to_arrays` wrote.

        Raises
        ------
        ContractError
            If an array is missing, or as this class.
        """
        return cls(number(arrays, "target_center"), number(arrays, "target_spread"))


def taken(arrays: Mapping[str, NDArray[Any]], *names: str) -> list[NDArray[Any]]:
    """The arrays of these names.

    Raises
    ------
    ContractError
        If one is missing.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ContractError(
            f"the arrays of this model lack {', '.join(missing)}; there are {', '.join(sorted(arrays))}"
        )
    return [np.asarray(arrays[name], order="C") for name in names]


def number(arrays: Mapping[str, NDArray[Any]], name: str) -> float:
    """The number of this name.

    Raises
    ------
    ContractError
        If it is missing, or not one number.
    """
    (array,) = taken(arrays, name)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise ContractError(f"{name} is one number; got {array.dtype}, {array.shape}")
    return float(array.item())
