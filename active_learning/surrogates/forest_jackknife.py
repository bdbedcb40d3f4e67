"""The infinitesimal jackknife: how much the forest would change if the labels had been others.

A label that moves the trees when it is in their bags more often is a label that the prediction hangs on::

    V_IJ   = sum_i cov_i**2,   cov_i = sum_b (N_bi - 1) (t_b - mean) / B          eq. 5
    V_IJ-U = V_IJ - n / B**2 sum_b (t_b - mean)**2                                eq. 7

for B trees that say t_b, n labels, and label i N_bi times in the bag of tree b. V_IJ is too large by the noise of so
few trees, and eq. 7 takes this off; what is left may be negative where there are few trees for the labels (31 % of the
rows with 1,000 labels and 500 trees).

Limits: exactly 0 where all trees agree; for the bagged mean of n numbers and B -> infinity the variance of their mean,
``sum (y_i - mean y)**2 / n**2`` (Efron 2014).

The sums run over the trees in their order for each row and label alone, and in our own code: in a matrix product of a
library the last digit depends on the number of rows and of threads.

References
----------
Wager, Hastie & Efron (2014), J. Mach. Learn. Res. 15, 1625, arXiv:1311.4555; Efron (2014),
doi:10.1080/01621459.2013.823775.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.surrogates.forest_kernel import Nodes, compiled, deviations_of, each_block

__all__ = ["influences_of", "jackknife_of", "jackknife_variances"]

Floats = NDArray[np.float64]

_CHUNK_ROWS = 64
"""Rows that pass through the counts at once: their sums, for a thousand labels, fit in the cache of a core."""

_COLUMNS_PER_TREE = 4
"""A block is as much work for the cache as if each tree had this share of a feature: see `_width`."""


@compiled
def _influence(deviations: Floats, counts: Floats, begin: int, influences: Floats) -> None:
    """Add ``deviations.T @ counts`` for the rows from `begin` on to `influences`, (n_rows, n_labels)."""
    n_trees, n_labels = counts.shape
    whole = n_trees - n_trees % 4
    # Four trees at a time, so that a sum is fetched once for them; each is added after the other all the same.
    for tree in range(0, whole, 4):
        c0, c1, c2, c3 = counts[tree], counts[tree + 1], counts[tree + 2], counts[tree + 3]
        for row in range(len(influences)):
            d0, d1 = deviations[tree, begin + row], deviations[tree + 1, begin + row]
            d2, d3 = deviations[tree + 2, begin + row], deviations[tree + 3, begin + row]
            sums = influences[row]
            for label in range(n_labels):
                sums[label] = (((sums[label] + d0 * c0[label]) + d1 * c1[label]) + d2 * c2[label]) + d3 * c3[label]
    for tree in range(whole, n_trees):
        for row in range(len(influences)):
            for label in range(n_labels):
                influences[row, label] += deviations[tree, begin + row] * counts[tree, label]


@compiled
def _variances(deviations: Floats, counts: Floats, n_used: Floats, n_free: float, variances: Floats) -> None:
    """As `jackknife_variances`."""
    n_trees, n_rows = deviations.shape
    influences = np.empty((_CHUNK_ROWS, counts.shape[1]))
    for begin in range(0, n_rows, _CHUNK_ROWS):
        here = influences[: min(_CHUNK_ROWS, n_rows - begin)]
        here[:] = 0.0
        _influence(deviations, counts, begin, here)
        for row in range(len(here)):
            total, spread = 0.0, 0.0
            for label in range(counts.shape[1]):
                total += here[row, label] ** 2
            for tree in range(n_trees):
                spread += deviations[tree, begin + row] ** 2
            variances[begin + row] = (total - n_free * spread) / n_used[begin + row] ** 2


def jackknife_variances(deviations: Floats, counts: Floats, n_used: Floats, n_free: int) -> Floats:
    """V_IJ-U of each row, (n_rows,), which may be negative.

    Parameters
    ----------
    deviations : (n_trees, n_rows)
        What each tree says beyond the mean over the trees; 0 for a tree that is not asked about this row.
    counts : (n_trees, n_labels)
        How often each label is in the bag of each tree, less 1.
    n_used : (n_rows,), how many trees are asked
    n_free : the n of eq. 7
    """
    variances = np.empty(deviations.shape[1])
    _variances(np.ascontiguousarray(deviations), counts, n_used, float(n_free), variances)
    return variances


def jackknife_of(nodes: Nodes, counts: Floats, X: Floats, n_threads: int) -> tuple[Floats, Floats]:
    """Mean over the trees, and V_IJ-U, which may be negative, (n_rows,) each.

    Parameters
    ----------
    counts : as `jackknife_variances`
    X : (n_rows, n_features), finite and within the range of float32
    """
    mean, variance = np.empty((2, len(X)))

    def work(rows: slice) -> None:
        mean[rows], deviations = deviations_of(nodes, X[rows])
        n_used = np.full(deviations.shape[1], float(len(counts)))
        variance[rows] = jackknife_variances(deviations, counts, n_used, counts.shape[1])

    each_block(work, (len(X), _width(X.shape[1], len(counts))), n_threads)
    return mean, variance


def influences_of(nodes: Nodes, counts: Floats, X: Floats) -> tuple[Floats, Floats]:
    """The cov_i of eq. 5, (n_rows, n_labels), and V_IJ-U, (n_rows,), which may be negative.

    Parameters
    ----------
    counts, X : as `jackknife_of`
    """
    _mean, deviations = deviations_of(nodes, X)
    influences = np.zeros((len(X), counts.shape[1]))
    _influence(deviations, counts, 0, influences)
    n_used = np.full(len(X), float(len(counts)))
    return influences / len(counts), jackknife_variances(deviations, counts, n_used, counts.shape[1])


def _width(n_features: int, n_trees: int) -> int:
    """How wide a row is to the cache: its features, and what the trees say of it, which is fetched less often."""
    return max(n_features, n_trees // _COLUMNS_PER_TREE)
