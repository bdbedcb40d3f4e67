"""What a surrogate believes about candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

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
    """Mean and standard deviation of the target; of a classification, of the class as a number, with probabilities.

    Parameters
    ----------
    mean, std : (n_candidates, n_targets), in the target's unit; std >= 0
    draws : (n_members, n_candidates, n_targets) or None
        One prediction for each member of an ensemble.
    classes : (n_classes,) or None
        The classes, as labels have them, ascending.
    probabilities : (n_candidates, n_classes) or None
        Of each class; each row sums to 1.
    """

    mean: Floats
    std: Floats
    draws: Floats | None = None
    classes: Floats | None = None
    probabilities: Floats | None = None

    def __post_init__(self) -> None:
        mean, std = _matrix("mean", self.mean), _matrix("std", self.std)
        if mean.shape != std.shape:
            raise ContractError(f"mean {mean.shape} and std {std.shape} differ in shape")
        if (std < 0).any():
            raise ContractError(f"std is negative in row {np.flatnonzero((std < 0).any(axis=1))[0]}")
        if self.draws is not None and self.draws.shape[1:] != mean.shape:
            raise ContractError(f"draws have shape {self.draws.shape}, not (n_members, *{mean.shape})")
        if (self.classes is None) != (self.probabilities is None):
            raise ContractError("classes and their probabilities go together")
        if self.probabilities is not None:
            object.__setattr__(self, "probabilities", self._checked_probabilities(len(mean)))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    @classmethod
    def of_classes(cls, classes: Floats, probabilities: Floats) -> Self:
        """From the probabilities of classes: mean and std are those of the class as a number.

        >>> p = Prediction.of_classes(np.array([0.0, 1.0]), np.array([[0.25, 0.75]]))
        >>> float(p.mean[0, 0]), round(float(p.std[0, 0]), 4)
        (0.75, 0.433)
        """
        classes, probabilities = np.asarray(classes, dtype=np.float64), _matrix("probabilities", probabilities)
        mean = probabilities @ classes
        variance = (probabilities * np.square(classes - mean[:, None])).sum(axis=1)
        return cls(mean[:, None], np.sqrt(variance)[:, None], None, classes, probabilities)

    def rows(self, rows: NDArray[np.intp]) -> Self:
        """Those of some candidates, in the order of `rows`."""
        return type(self)(
            self.mean[rows],
            self.std[rows],
            None if self.draws is None else self.draws[:, rows],
            self.classes,
            None if self.probabilities is None else self.probabilities[rows],
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Several predictions by one model, one below the other; at least one."""
        draws = [part.draws for part in parts if part.draws is not None]
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return cls(
            np.concatenate([part.mean for part in parts]),
            np.concatenate([part.std for part in parts]),
            np.concatenate(draws, axis=1) if draws else None,
            parts[0].classes,
            np.concatenate(probabilities) if probabilities else None,
        )

    def _checked_probabilities(self, n_candidates: int) -> Floats:
        classes, probabilities = np.asarray(self.classes), _matrix("probabilities", np.asarray(self.probabilities))
        if classes.ndim != 1 or probabilities.shape != (n_candidates, len(classes)) or (np.diff(classes) <= 0).any():
            raise ContractError(
                f"probabilities have shape (n_candidates, n_classes), and classes ascend; got {probabilities.shape} "
                f"for {n_candidates} candidates and classes {classes.tolist()}"
            )
        wrong = np.flatnonzero((probabilities < 0).any(axis=1) | (np.abs(probabilities.sum(axis=1) - 1) > 1e-6))
        if wrong.size:
            raise ContractError(f"the probabilities of row {wrong[0]} do not sum to 1 ({wrong.size} rows in all)")
        return probabilities

    def __len__(self) -> int:
        return len(self.mean)
