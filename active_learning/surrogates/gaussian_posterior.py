"""What a Gaussian process believes once it has seen labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.linalg.lapack import dpstrf

from active_learning.domain.last_digits import blocks, one_thread
from active_learning.domain.prediction import Prediction
from active_learning.errors import ContractError
from active_learning.surrogates.checks import checked_features
from active_learning.surrogates.gaussian_kernel import (
    KERNELS,
    Kernel,
    correlation,
    random_frequencies,
    slope,
    squared_distances,
)
from active_learning.surrogates.gaussian_likelihood import LengthScales, covariance_cholesky, most_probable
from active_learning.surrogates.standardized import StandardFeatures, StandardTarget, number, taken

__all__ = ["FittedGaussianProcess"]

Floats = NDArray[np.float64]

_N_FREQUENCIES = 1024
"""Of a drawn function: its correlations are those of the kernel to within 1 / sqrt(2 * 1024) = 2 %."""
_FOLDS = 5
_NEGLIGIBLE = 1e-10
"""Variance, in units of the signal's, that a covariance factor may leave out; the noise is always above 1e-4."""


@dataclass(frozen=True, eq=False)
class FittedGaussianProcess:
    """A trained Gaussian process, which can travel as arrays.

    All arithmetic is done on one thread and in blocks of one shape: a row then has the same prediction to the last
    digit, in whatever company and on however many cores.

    Parameters
    ----------
    kernel : the prior's correlation
    features, target : how both were standardized
    length_scales : (n_varying,), of the standardized features, positive
    noise : variance of a label about the function, in units of the prior's variance, positive
    Z : (n_labels, n_varying), the standardized features of the labels
    t : (n_labels,), the standardized labels
    freedom, max_iterations : how length scales and noise were searched for

    Raises
    ------
    ContractError
        If a shape or a number is not such.
    """

    kernel: Kernel
    features: StandardFeatures
    target: StandardTarget
    length_scales: Floats
    noise: float
    Z: Floats
    t: Floats
    freedom: LengthScales
    max_iterations: int

    @classmethod
    def trained(cls, X: Floats, y: Floats, kernel: Kernel, freedom: LengthScales, max_iterations: int) -> Self:
        """The process of the most probable length scales and noise; `X` and `y` are finite and of equal length."""
        features, (target, t) = StandardFeatures.of(X), StandardTarget.of(y)
        Z = features.standard(X)
        with one_thread():
            lengths, noise = most_probable(Z, t, kernel, length_scales=freedom, max_iterations=max_iterations)
        return cls(kernel, features, target, lengths, noise, Z, t, freedom, max_iterations)

    def __post_init__(self) -> None:
        n_varying = len(self.features.columns)
        if self.kernel not in KERNELS:
            raise ContractError(f"no kernel {self.kernel!r}; there are {', '.join(KERNELS)}")
        if self.t.ndim != 1 or self.Z.shape != (len(self.t), n_varying) or self.length_scales.shape != (n_varying,):
            raise ContractError(
                f"Z {self.Z.shape}, t {self.t.shape} and length_scales {self.length_scales.shape} of a process with "
                f"{n_varying} varying features do not fit together"
            )
        if not all(np.isfinite(array).all() for array in (self.Z, self.t)):
            raise ContractError("the standardized features and labels of a process must be finite")
        if self.freedom not in get_args(LengthScales) or self.max_iterations < 1:
            raise ContractError(f"no search of length scales: {self.freedom!r}, {self.max_iterations} iterations")
        scales = np.append(self.length_scales, self.noise)
        if not ((scales > 0) & (scales < np.inf)).all():
            raise ContractError("the length scales and the noise of a process are finite and positive")

    @cached_property
    def _A(self) -> Floats:
        return self.Z / self.length_scales

    @cached_property
    def _L(self) -> Floats:
        """The lower Cholesky factor of the covariance of the labels, noise included, (n_labels, n_labels)."""
        with one_thread():
            return covariance_cholesky(correlation(self.kernel, squared_distances(self._A, self._A)), self.noise)

    @cached_property
    def _weights(self) -> Floats:
        """By which the kernels to the labels sum up to the mean, (n_labels,)."""
        return self._solved(self.t)

    def _solved(self, right: Floats) -> Floats:
        with one_thread():
            return np.asarray(cho_solve((self._L, True), right, check_finite=False), dtype=np.float64)

    def _checked(self, X: Floats) -> Floats:
        return checked_features(X, n_features=self.features.n_features)

    def _scaled(self, X: Floats) -> Floats:
        return self.features.standard(X) / self.length_scales

    def _to_labels(self, B: Floats) -> Floats:
        return correlation(self.kernel, squared_distances(B, self._A))

    def _explained(self, to_labels: Floats) -> Floats:
        """What of each row's prior the labels explain: its column's sum of squares is the variance, (n_labels, n).
        `to_labels` is used up."""
        solved = solve_triangular(self._L, to_labels.T, lower=True, overwrite_b=True, check_finite=False)
        return np.asarray(solved, dtype=np.float64)

    def predict(self, X: Floats) -> Prediction:
        """Mean and standard deviation of a label, noise included, in the target's unit.

        Parameters
        ----------
        X : (n_candidates, n_features)

        Raises
        ------
        ContractError
            If `X` has another number of features, or a row that is not finite (it is named).

        References
        ----------
        Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, algorithm 2.1.
        """
        X = self._checked(X)
        mean, variance = np.empty(len(X)), np.empty(len(X))
        with one_thread():
            for rows, block in blocks(X):
                to_labels = self._to_labels(self._scaled(block))
                n_rows = rows.stop - rows.start
                mean[rows] = (to_labels @ self._weights)[:n_rows]
                variance[rows] = 1.0 - np.square(self._explained(to_labels)).sum(axis=0)[:n_rows]
        return self._in_unit(mean, np.maximum(variance, 0.0) + self.noise)

    def _in_unit(self, mean: Floats, variance: Floats) -> Prediction:
        center, spread = self.target.center, self.target.spread
        return Prediction((center + spread * mean)[:, None], (spread * np.sqrt(variance))[:, None])

    @cached_property
    def held_out(self) -> Prediction | None:
        """Each label as predicted by a process trained without its fold (one in five labels, one of each neighboring
        five), (n_labels, 1); None for a single label.

        Leaving one out in closed form would be quicker, but length scales that have seen a label find it easier than it
        is: errors come out too small and a std that is corrected by them is too sure (docs/adr/0019).
        """
        n_folds = min(_FOLDS, len(self.t))
        if n_folds < 2:
            return None
        Z = self.Z if self.Z.shape[1] else np.zeros((len(self.t), 1))  # where no feature varies
        folds = np.arange(len(self.t)) % n_folds
        mean, variance = np.empty_like(self.t), np.empty_like(self.t)
        for fold in range(n_folds):
            is_out = folds == fold
            rest = self.trained(Z[~is_out], self.t[~is_out], self.kernel, self.freedom, self.max_iterations)
            predicted = rest.predict(Z[is_out])
            mean[is_out], variance[is_out] = predicted.mean[:, 0], np.square(predicted.std[:, 0])
        return self._in_unit(mean, variance)

    @cached_property
    def importances(self) -> Floats:
        """Share of each feature in the squared slope of the mean, averaged over the labels, (n_features,).

        The slope is with respect to the standardized feature. Before there are labels, its expected square is the
        inverse square of the length scale but for a constant; labels then tell where the target really changes. So a
        common length scale gives importances too. All are 0 if the target is constant.
        """
        with one_thread():
            G = slope(self.kernel, squared_distances(self._A, self._A))
            slopes = (
                (G @ self._weights)[:, None] * self._A - G @ (self._weights[:, None] * self._A)
            ) / self.length_scales
        squares = np.square(slopes).mean(axis=0)
        total = float(squares.sum())
        importances = np.zeros(self.features.n_features)
        if total > 0:
            importances[self.features.columns] = squares / total
        return importances

    def covariance_factor(self, X: Floats) -> Floats:
        """``factor @ factor.T`` is the posterior covariance of the function at the rows of `X`, noise left out, in the
        target's unit squared. Held in memory as a matrix of (n_candidates, n_candidates).

        Returns
        -------
        (n_candidates, rank), rank <= n_candidates; what is left out of a variance is below 1e-10 of the prior's.

        Raises
        ------
        ContractError
            As `predict`.
        """
        B = self._scaled(self._checked(X))
        if not len(B):
            return np.empty((0, 0))
        with one_thread():
            covariance = correlation(self.kernel, squared_distances(B, B))
            np.fill_diagonal(covariance, 1.0)
            explained = self._explained(self._to_labels(B))
            covariance -= explained.T @ explained
            # With pivots it needs no jitter where rows are equal or certain: it stops there.
            lower, pivots, rank, _info = dpstrf(covariance, tol=_NEGLIGIBLE, lower=1)
        factor = np.empty((len(B), rank))
        factor[pivots - 1] = np.tril(lower)[:, :rank]
        return self.target.spread * factor

    def draws(self, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
        """`n` functions from the posterior at the rows of `X`, (n, n_candidates), in the target's unit, without noise.

        A function is drawn from the prior, as a sum of waves, and corrected by what the labels say of its errors
        (Matheron's rule): it is a function of the features, the same whichever rows are asked for.

        Raises
        ------
        ContractError
            As `predict`; or if `n` is below 1.

        References
        ----------
        Wilson et al. (2020), arXiv:2002.09309, eq. 13.
        """
        if n < 1:
            raise ContractError(f"at least one function must be drawn, got {n}")
        X = self._checked(X)
        n_waves = 2 * _N_FREQUENCIES
        frequencies = random_frequencies(self.kernel, len(self.length_scales), _N_FREQUENCIES, rng)
        # One row a function: the first ones do not depend on how many are asked for.
        normal = rng.normal(size=(n, n_waves + len(self.t)))
        amplitudes = normal[:, :n_waves].T / np.sqrt(_N_FREQUENCIES)
        noise = np.sqrt(self.noise) * normal[:, n_waves:].T
        values = np.empty((n, len(X)))
        with one_thread():
            errors = self.t[:, None] - _waves(self._A, frequencies) @ amplitudes - noise
            corrections = self._solved(errors)
            for rows, block in blocks(X):
                B = self._scaled(block)
                drawn = _waves(B, frequencies) @ amplitudes + self._to_labels(B) @ corrections
                values[:, rows] = drawn[: rows.stop - rows.start].T
        return self.target.center + self.target.spread * values

    def to_arrays(self) -> Mapping[str, NDArray[Any]]:
        """What this class is made of; the rest is computed from it again."""
        own = {
            "kernel": np.array(self.kernel),
            "length_scales": self.length_scales,
            "noise": np.array(self.noise),
            "Z": self.Z,
            "t": self.t,
            "freedom": np.array(self.freedom),
            "max_iterations": np.array(self.max_iterations),
        }
        return own | self.features.to_arrays() | self.target.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The process that `to_arrays` wrote.

        Raises
        ------
        ContractError
            If an array is missing, or they are no process.
        """
        kernel, length_scales, Z, t, freedom = taken(arrays, "kernel", "length_scales", "Z", "t", "freedom")
        features, target = StandardFeatures.from_arrays(arrays), StandardTarget.from_arrays(arrays)
        # str() of an array with one text is the text; the checks of what it says follow.
        named: Any = str(kernel)
        free: Any = str(freedom)
        iterations = int(number(arrays, "max_iterations"))
        return cls(named, features, target, length_scales, number(arrays, "noise"), Z, t, free, iterations)


def _waves(A: Floats, frequencies: Floats) -> Floats:
    """Cosines and sines, (n_rows, 2 n_frequencies): of such pairs, the prior variance is the same everywhere."""
    phases = A @ frequencies
    return np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
