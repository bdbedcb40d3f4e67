"""Support vector regression as a surrogate: many machines, each trained on labels drawn with replacement; their mean is
the belief, their spread the doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.svm import SVR

from active_learning.domain.last_digits import blocks, one_thread
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.surrogates.checks import checked_features, checked_training
from active_learning.surrogates.gaussian_kernel import correlation, squared_distances
from active_learning.surrogates.settings import changed
from active_learning.surrogates.standardized import StandardFeatures, StandardTarget, number, taken

__all__ = ["FittedSupportVector", "SupportVector", "SupportVectorOptions"]

Floats = NDArray[np.float64]

_SETTINGS: Mapping[str, tuple[float, ...]] = {
    "C": (0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    "gamma": (0.03, 0.1, 0.3, 1.0, 3.0),
    "epsilon": (0.003, 0.01, 0.03, 0.1, 0.3),
}


class SupportVectorOptions(Options):
    """Keys of ``[surrogate]`` for ``kind = "support_vector"``."""

    n_members: int = Field(30, ge=2, le=1000, description="Number of machines.")
    C: float = Field(10.0, gt=0, le=1e4, description="How much an error outside the tube costs; less is smoother.")
    epsilon: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Half the width of the tube, in standard deviations of the labels: errors within it cost nothing.",
    )
    gamma: float = Field(
        0.3,
        gt=0,
        le=1e3,
        description="How fast the kernel falls with distance, in units of 1 / number of features; less is smoother.",
    )


@dataclass(frozen=True, eq=False)
class FittedSupportVector:
    """Trained machines, which can travel as arrays: all share their kernel with the labeled rows, so that they are one
    matrix of coefficients.

    Parameters
    ----------
    features, target : how both were standardized
    Z : (n_labels, n_varying), the standardized features of the labels, divided by the kernel's length scale
    coefficients : (n_labels, n_members), 0 where a label supports nothing
    intercepts : (n_members,)
    is_seen : (n_labels, n_members), whether a machine was trained on a label

    Raises
    ------
    ContractError
        If a shape or a number is not such.
    """

    features: StandardFeatures
    target: StandardTarget
    length_scale: float
    Z: Floats
    coefficients: Floats
    intercepts: Floats
    is_seen: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n_labels, n_members = len(self.Z), len(self.intercepts)
        wanted = (n_labels, n_members)
        if self.Z.ndim != 2 or self.Z.shape[1] != len(self.features.columns):
            raise ContractError(
                f"Z has {len(self.features.columns)} varying features for each label; got {self.Z.shape}"
            )
        if self.coefficients.shape != wanted or self.is_seen.shape != wanted or self.intercepts.ndim != 1:
            raise ContractError(
                f"coefficients {self.coefficients.shape} and is_seen {self.is_seen.shape} of {n_members} machines "
                f"and {n_labels} labels are {wanted}"
            )
        if self.is_seen.dtype != np.bool_:
            raise ContractError(f"is_seen is an array of bool; got {self.is_seen.dtype}")
        if not all(np.isfinite(array).all() for array in (self.Z, self.coefficients, self.intercepts)):
            raise ContractError("the numbers of support vector machines must be finite")
        if not 0 < self.length_scale < np.inf:
            raise ContractError(f"a length scale is finite and positive; got {self.length_scale}")

    def _members(self, X: Floats) -> Floats:
        """What each machine says, standardized, (n_candidates, n_members)."""
        X = checked_features(X, n_features=self.features.n_features)
        values = np.empty((len(X), len(self.intercepts)))
        with one_thread():
            for rows, block in blocks(X):
                values[rows] = self._of_scaled(self.features.standard(block) / self.length_scale)[
                    : rows.stop - rows.start
                ]
        return values

    def _of_scaled(self, B: Floats) -> Floats:
        return np.asarray(correlation("rbf", squared_distances(B, self.Z)) @ self.coefficients + self.intercepts)

    def predict(self, X: Floats) -> Prediction:
        """Mean and standard deviation over the machines, in the target's unit.

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features, or a row that is not finite (it is named).
        """
        members = self._members(X)
        return self._in_unit(members.mean(axis=1), members.std(axis=1))

    def _in_unit(self, mean: Floats, std: Floats) -> Prediction:
        center, spread = self.target.center, self.target.spread
        return Prediction((center + spread * mean)[:, None], (spread * std)[:, None])

    @cached_property
    def held_out(self) -> Prediction | None:
        """Out-of-bag: mean and spread over the machines that have not seen a label, (n_labels, 1). None if fewer than
        two have not, for some label.

        Few machines spread less about their own mean than many; the spread is corrected to that of all of them.
        """
        others = ~self.is_seen
        n_others = others.sum(axis=1)
        if (n_others < 2).any():
            return None
        with one_thread():
            members = self._of_scaled(self.Z)
        mean = (members * others).sum(axis=1) / n_others
        squares = (np.square(members - mean[:, None]) * others).sum(axis=1) / (n_others - 1)
        n_members = len(self.intercepts)
        return self._in_unit(mean, np.sqrt(squares * ((n_members - 1) / n_members)))

    def covariance_factor(self, X: Floats) -> Floats:
        """What each machine says beside their mean, over the root of their number: (n_candidates, n_members), in the
        target's unit. Parameters and errors as `predict`."""
        members = self._members(X)
        centered = members - members.mean(axis=1, keepdims=True)
        return np.asarray(self.target.spread * centered / np.sqrt(len(self.intercepts)))

    def draws(self, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
        """What `n` machines say, (n, n_candidates), in the target's unit. None comes again before all have come.

        Raises
        ------
        ContractError
            As `predict`; or if `n` is below 1.
        """
        if n < 1:
            raise ContractError(f"at least one function must be drawn, got {n}")
        n_members = len(self.intercepts)
        turns = [rng.permutation(n_members) for _ in range(-(-n // n_members))]
        members = self._members(X)[:, np.concatenate(turns)[:n]]
        return self.target.center + self.target.spread * members.T

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """What this class is made of."""
        own: dict[str, NDArray[Any]] = {
            "length_scale": np.array(self.length_scale),
            "Z": self.Z,
            "coefficients": self.coefficients,
            "intercepts": self.intercepts,
            "is_seen": self.is_seen,
        }
        return own | self.features.to_arrays() | self.target.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The machines that `to_arrays` wrote; scikit-learn plays no part.

        Raises
        ------
        ContractError
            If an array is missing, or they are no machines.
        """
        Z, coefficients, intercepts, is_seen = taken(arrays, "Z", "coefficients", "intercepts", "is_seen")
        features, target = StandardFeatures.from_arrays(arrays), StandardTarget.from_arrays(arrays)
        return cls(features, target, number(arrays, "length_scale"), Z, coefficients, intercepts, is_seen)


class SupportVector:
    """Bagged support vector regression with a Gaussian kernel.

    References
    ----------
    Smola & Schölkopf (2004), doi:10.1023/B:STCO.0000035301.49549.88; Breiman (1996), doi:10.1007/BF00058655.
    """

    Options = SupportVectorOptions

    def __init__(self, options: SupportVectorOptions) -> None:
        self.options = options

    @property
    def settings(self) -> Mapping[str, tuple[Any, ...]]:
        """Values of C, gamma and epsilon worth trying, in order."""
        return _SETTINGS

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """The same surrogate with these options.

        Raises
        ------
        ContractError
            If one is not of `settings`, or not with one of its values.
        """
        return type(self)(changed(self.options, settings, _SETTINGS))

    def fit(self, X: Floats, y: Floats, *, rng: np.random.Generator) -> FittedSupportVector:
        """Train new machines, each on as many labels as there are, drawn with replacement.

        Parameters
        ----------
        X : (n_labels, n_features)
        y : (n_labels,), in the target's unit

        Raises
        ------
        ContractError
            If shapes do not match, there is no label, or a number is not finite (its row is named).
        """
        X, y = checked_training(X, y)
        n, n_members = len(y), self.options.n_members
        features, (target, t) = StandardFeatures.of(X), StandardTarget.of(y)
        length_scale = float(np.sqrt(max(len(features.columns), 1) / (2.0 * self.options.gamma)))
        Z = features.standard(X) / length_scale
        coefficients, intercepts = np.zeros((n, n_members)), np.zeros(n_members)
        is_seen = np.zeros((n, n_members), dtype=np.bool_)
        with one_thread():
            K = correlation("rbf", squared_distances(Z, Z))
            for member in range(n_members):
                # A label that was drawn twice counts twice: the same as to repeat its row, and faster.
                rows, counts = np.unique(rng.integers(n, size=n), return_counts=True)
                machine = SVR(kernel="precomputed", C=self.options.C, epsilon=self.options.epsilon)
                machine.fit(K[np.ix_(rows, rows)], t[rows], sample_weight=counts)
                coefficients[rows[machine.support_], member] = machine.dual_coef_[0]
                intercepts[member] = machine.intercept_[0]
                is_seen[rows, member] = True
        return FittedSupportVector(features, target, length_scale, Z, coefficients, intercepts, is_seen)
