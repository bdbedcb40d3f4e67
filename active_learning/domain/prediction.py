"""What a surrogate believes about candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError

__all__ = ["Prediction"]

Floats = NDArray[np.float64]


def _matrix(name: str, values: Floats) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2:
        raise ContractError(f"{name} has shape (n_candidates, n_targets), got {values.shape}")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise ContractError(f"{name} is not finite in row {bad[0]} ({bad.size} rows in all)")
    return values


@dataclass(frozen=True, eq=False)
class Prediction:
    """Mean and standard deviation of the target.

    Parameters
    ----------
    mean, std : (n_candidates, n_targets), in the target's unit; std >= 0
    draws : (n_members, n_candidates, n_targets) or None
        One prediction for each member of an ensemble.
    """

    mean: Floats
    std: Floats
    draws: Floats | None = None

    def __post_init__(self) -> None:
        mean, std = _matrix("mean", self.mean), _matrix("std", self.std)
        if mean.shape != std.shape:
            raise ContractError(f"mean {mean.shape} and std {std.shape} differ in shape")
        if (std < 0).any():
            raise ContractError(f"std is negative in row {np.flatnonzero((std < 0).any(axis=1))[0]}")
        if self.draws is not None and self.draws.shape[1:] != mean.shape:
            raise ContractError(f"draws have shape {self.draws.shape}, not (n_members, *{mean.shape})")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    def __len__(self) -> int:
        return len(self.mean)
