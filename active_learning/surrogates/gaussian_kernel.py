"""The kernels of Gaussian processes: how alike the target is at two points, by the distance between them.

`D2` is the squared distance between two rows whose columns were divided by their length scales, and ``r = sqrt(D2)``.
Every kernel is 1 at distance 0.

References
----------
Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, ISBN 026218253X, section 4.2.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["KERNELS", "Kernel", "correlation", "random_frequencies", "slope", "squared_distances"]

Floats = NDArray[np.float64]
Kernel = Literal["matern_32", "matern_52", "rbf"]

KERNELS: tuple[Kernel, ...] = get_args(Kernel)
"""The roughest first."""

_TWICE_NU = {"matern_32": 3, "matern_52": 5}
"""Twice the order of a Matern kernel: functions have 1 or 2 derivatives; those of "rbf" have all."""


def squared_distances(A: Floats, B: Floats) -> Floats:
    """Between each row of `A`, (n, n_columns), and each of `B`, (m, n_columns): (n, m)."""
    D2 = A @ B.T
    D2 *= -2.0
    D2 += np.square(A).sum(axis=1)[:, None]
    D2 += np.square(B).sum(axis=1)
    return np.maximum(D2, 0.0, out=D2)


def correlation(kernel: Kernel, D2: Floats) -> Floats:
    """The kernel, of the shape of `D2`: eq. 4.17 of the reference for Matern, ``exp(-D2 / 2)`` for "rbf"."""
    if kernel == "rbf":
        return np.exp(-0.5 * D2)
    r = np.sqrt(_TWICE_NU[kernel] * D2)
    K = 1.0 + r
    if kernel == "matern_52":
        K += (5.0 / 3.0) * D2
    np.negative(r, out=r)
    K *= np.exp(r, out=r)
    return K


def slope(kernel: Kernel, D2: Floats) -> Floats:
    """-2 times the derivative of the kernel with respect to `D2`, of its shape.

    At distance 0 it is the variance of a function's derivative with respect to a scaled column.
    """
    if kernel == "rbf":
        return np.exp(-0.5 * D2)
    r = np.sqrt(_TWICE_NU[kernel] * D2)
    if kernel == "matern_32":
        return 3.0 * np.exp(-r)
    return (5.0 / 3.0) * (1.0 + r) * np.exp(-r)


def random_frequencies(kernel: Kernel, n_columns: int, n: int, rng: np.random.Generator) -> Floats:
    """From the kernel's spectral density, (n_columns, n): the mean of ``cos(w @ (a - b))`` over them is the kernel.

    It is the normal distribution for "rbf", Student's t with 2 nu degrees of freedom for Matern.

    References
    ----------
    Rahimi & Recht (2007), NIPS 20, algorithm 1; eq. 4.15 of the reference of this file.
    """
    W = rng.normal(size=(n_columns, n))
    if kernel == "rbf":
        return W
    freedom = _TWICE_NU[kernel]
    return W * np.sqrt(freedom / rng.chisquare(freedom, size=n))
