"""Length scales and noise of a Gaussian process: the most probable ones, given the labels.

With a hundred features and a hundred labels, length scales that are free of each other fit the labels too well: the
stds are too small, and with 20 labels the search may end where all is noise. Near a common one, which is found first,
they are more honest. Free ones find the few features that matter, and stay long for the others: they extrapolate
further, which is what a search for the best needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from active_learning.surrogates.gaussian_kernel import Kernel, correlation, slope, squared_distances

__all__ = [
    "LengthScales",
    "Priors",
    "covariance_cholesky",
    "most_probable",
    "negative_log_posterior",
    "typical_log_length",
]

Floats = NDArray[np.float64]
LengthScales = Literal["common", "near_common", "free"]

_COMMON_SPREAD = math.sqrt(3.0)
_OWN_SPREAD = 0.5
"""How far a feature's length scale is from the common one, as a logarithm. 0.4 and 0.6 served as well."""

_LOG_NOISE, _LOG_NOISE_SPREAD = -4.0, 1.0
_LENGTH_BOUNDS, _NOISE_BOUNDS = (-5.0, 12.0), (-9.0, 1.0)
"""Of the logarithms. The least noise keeps the covariance of equal rows far from singular."""

_TOLERANCE = 1e-7
"""Relative gain of a step, below which a search ends."""


@dataclass(frozen=True, eq=False)
class Priors:
    """Normal ones of the logarithms of the length scales and, last, of the noise: middle and spread,
    (n_scales + 1,) each."""

    middle: Floats
    spread: Floats

    @classmethod
    def of_lengths(cls, middle: float, spread: float, n_scales: int) -> Priors:
        """The same for all length scales."""
        return cls(
            np.append(np.full(n_scales, middle), _LOG_NOISE),
            np.append(np.full(n_scales, spread), _LOG_NOISE_SPREAD),
        )


def typical_log_length(n_columns: int) -> float:
    """The middle of the prior of the logarithm of the common length scale.

    It grows as the root of the number of columns, since distances do. The source has features in [0, 1]; here they
    have unit variance, and a uniform one is then sqrt(12) wide.

    References
    ----------
    Hvarfner, Hellsten & Nardi (2024), arXiv:2402.02229: LogNormal(sqrt(2) + log(n_columns) / 2, sqrt(3)).
    """
    return math.sqrt(2.0) + 0.5 * math.log(max(n_columns, 1)) + 0.5 * math.log(12.0)


def covariance_cholesky(K: Floats, noise: float) -> Floats:
    """The lower Cholesky factor, (n, n), of the kernel `K` between the labeled rows plus noise; `K` is used up."""
    np.fill_diagonal(K, 1.0 + noise)
    return np.asarray(cholesky(K, lower=True, overwrite_a=True, check_finite=False), dtype=np.float64)


def negative_log_posterior(theta: Floats, Z: Floats, t: Floats, kernel: Kernel, priors: Priors) -> tuple[float, Floats]:
    """Of length scales and noise, without the terms that do not depend on them, and its gradient.

    Parameters
    ----------
    theta : (n_scales + 1,)
        Logarithms of the length scales, one for each column of `Z` or one for all, and of the noise's variance in
        units of the signal's.
    Z : (n_labels, n_columns), standardized
    t : (n_labels,), standardized

    Returns
    -------
    ``t' K^-1 t / 2 + log |K| / 2``, and half the squares of theta's distances from the middles of the priors in units
    of their spreads; and the gradient, (n_scales + 1,).

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, eq. 5.8 and 5.9.
    """
    scales, noise = np.exp(theta[:-1]), math.exp(theta[-1])
    A = Z / scales
    D2 = squared_distances(A, A)
    L = covariance_cholesky(correlation(kernel, D2), noise)
    weights = cho_solve((L, True), t, check_finite=False)
    off = (theta - priors.middle) / priors.spread
    value = 0.5 * float(t @ weights) + float(np.log(np.diag(L)).sum()) + 0.5 * float(off @ off)
    lower, _info = dpotri(L, lower=1)
    # What one more unit of covariance between two labels costs.
    price = 0.5 * (np.tril(lower) + np.tril(lower, -1).T - np.outer(weights, weights))
    by_noise = noise * float(np.trace(price))
    # For each column, the sum over pairs of rows of price, slope and squared distance in this column: one product.
    pairs = price * slope(kernel, D2)
    by_scale = 2.0 * ((pairs.sum(axis=1)[:, None] * A - pairs @ A) * A).sum(axis=0)
    if len(scales) < len(by_scale):
        by_scale = by_scale.sum(keepdims=True)
    return value, np.append(by_scale, by_noise) + off / priors.spread


def most_probable(
    Z: Floats, t: Floats, kernel: Kernel, *, length_scales: LengthScales, max_iterations: int
) -> tuple[Floats, float]:
    """Length scales, (n_columns,), and the noise's variance in units of the signal's.

    Parameters
    ----------
    Z : (n_labels, n_columns), standardized; there may be no column
    t : (n_labels,), standardized
    length_scales : one for all columns; one for each, near the common one; or each free of the others
    max_iterations : steps of L-BFGS-B at most, in each search
    """
    n_columns = Z.shape[1]

    def search(start: Floats, priors: Priors) -> tuple[Floats, float]:
        found = minimize(
            negative_log_posterior,
            start,
            args=(Z, t, kernel, priors),
            jac=True,
            method="L-BFGS-B",
            bounds=[_LENGTH_BOUNDS] * (len(start) - 1) + [_NOISE_BOUNDS],
            options={"maxiter": max_iterations, "ftol": _TOLERANCE},
        )
        return np.asarray(found.x, dtype=np.float64), float(found.fun)

    typical = typical_log_length(n_columns)
    one = Priors.of_lengths(typical, _COMMON_SPREAD, min(n_columns, 1))
    theta, _ = search(one.middle, one)
    if length_scales != "common" and n_columns > 1:
        start = np.append(np.full(n_columns, theta[0]), theta[-1])
        if length_scales == "near_common":
            theta, _ = search(start, Priors.of_lengths(float(theta[0]), _OWN_SPREAD, n_columns))
        else:
            # From either start alone the search may end where all is noise: the better of the two ends is taken.
            free = Priors.of_lengths(typical, _COMMON_SPREAD, n_columns)
            theta, _ = min(search(start, free), search(free.middle, free), key=lambda found: found[1])
    return np.array(np.broadcast_to(np.exp(theta[:-1]), n_columns)), float(np.exp(theta[-1]))
