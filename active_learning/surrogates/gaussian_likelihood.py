"""Length scales and noise of a Gaussian process: the most probable ones, given the labels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from active_learning.surrogates.gaussian_kernel import Kernel, correlation, slope, squared_distances

__all__ = ["factor_of", "most_probable", "negative_log_posterior", "typical_log_length"]

Floats = NDArray[np.float64]

_LENGTH_SPREAD = math.sqrt(3.0)
_LOG_NOISE, _LOG_NOISE_SPREAD = -4.0, 1.0
_LENGTH_BOUNDS, _NOISE_BOUNDS = (-5.0, 12.0), (-9.0, 1.0)
"""Of the logarithms. The noise keeps the matrix of equal rows far from singular."""


def typical_log_length(n_columns: int) -> float:
    """Where the prior of the logarithm of a length scale has its middle.

    It grows as the root of the number of columns, since distances do. The source has features in [0, 1]; here they
    have unit variance, and a uniform one is then sqrt(12) wide.
    """
    return math.sqrt(2.0) + 0.5 * math.log(max(n_columns, 1)) + 0.5 * math.log(12.0)


def factor_of(kernel: Kernel, A: Floats, noise: float) -> Floats:
    """The lower Cholesky factor of the covariance of the labels, (n, n), at the scaled rows `A`."""
    K = correlation(kernel, squared_distances(A, A))
    np.fill_diagonal(K, 1.0 + noise)
    return np.asarray(cholesky(K, lower=True, overwrite_a=True, check_finite=False), dtype=np.float64)


def negative_log_posterior(theta: Floats, Z: Floats, t: Floats, kernel: Kernel) -> tuple[float, Floats]:
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
    ``t' K^-1 t / 2 + log |K| / 2`` (Rasmussen & Williams 2006, eq. 5.8) plus half the squares of the distances of theta
    from the middles of its normal priors, in their standard deviations; and the gradient (eq. 5.9), (n_scales + 1,).

    References
    ----------
    The priors are those of Hvarfner, Hellsten & Nardi (2024), arXiv:2402.02229, eq. 7, and that of BoTorch for noise.
    """
    n, n_columns = Z.shape
    n_scales = len(theta) - 1
    A, noise = Z / np.exp(theta[:-1]), math.exp(theta[-1])
    D2 = squared_distances(A, A)
    K = correlation(kernel, D2)
    np.fill_diagonal(K, 1.0 + noise)
    L = cholesky(K, lower=True, overwrite_a=True, check_finite=False)
    weights = cho_solve((L, True), t, check_finite=False)
    middles = np.append(np.full(n_scales, typical_log_length(n_columns)), _LOG_NOISE)
    spreads = np.append(np.full(n_scales, _LENGTH_SPREAD), _LOG_NOISE_SPREAD)
    off = (theta - middles) / spreads
    value = 0.5 * float(t @ weights) + float(np.log(np.diag(L)).sum()) + 0.5 * float(off @ off)
    by_covariance, _info = dpotri(L, lower=1)
    by_covariance = np.tril(by_covariance) + np.tril(by_covariance, -1).T
    by_covariance -= np.outer(weights, weights)
    by_covariance *= 0.5
    by_noise = noise * float(np.trace(by_covariance))
    # What is left is a sum over pairs of rows: of by_covariance, the kernel's slope and the squared distance in one
    # column. One product with A gives it for all columns.
    pairs = by_covariance * slope(kernel, D2)
    by_scale = 2.0 * ((pairs.sum(axis=1)[:, None] * A - pairs @ A) * A).sum(axis=0)
    if n_scales == 1:
        by_scale = by_scale.sum(keepdims=True)
    return value, np.append(by_scale, by_noise) + off / spreads


def most_probable(Z: Floats, t: Floats, kernel: Kernel, *, ard: bool, max_iterations: int) -> tuple[Floats, float]:
    """Length scales, (n_columns,), and the noise's variance in units of the signal's.

    Found by L-BFGS-B from the middle of the priors, in at most `max_iterations` steps.

    Parameters
    ----------
    Z : (n_labels, n_columns), standardized; there may be no column
    t : (n_labels,), standardized
    ard : one length scale for each column, or one for all
    """
    n_columns = Z.shape[1]
    n_scales = n_columns if ard else min(n_columns, 1)
    start = np.append(np.full(n_scales, typical_log_length(n_columns)), _LOG_NOISE)
    found = minimize(
        negative_log_posterior,
        start,
        args=(Z, t, kernel),
        jac=True,
        method="L-BFGS-B",
        bounds=[_LENGTH_BOUNDS] * n_scales + [_NOISE_BOUNDS],
        options={"maxiter": max_iterations},
    )
    scales = np.broadcast_to(np.exp(found.x[:-1]), n_columns)
    return np.array(scales, dtype=np.float64), float(np.exp(found.x[-1]))
