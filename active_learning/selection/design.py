"""The first design: which candidates to label before there is a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError
from active_learning.selection.scaling import checked_matrix, clusters, standard_scale

__all__ = ["representatives"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def representatives(X: Floats, n: int, *, rng: np.random.Generator) -> Indices:
    """Candidates that stand for the whole pool: the nearest one to each center of k-means.

    Where fewer groups than `n` are found (candidates with equal features), those farthest from all chosen ones
    follow.

    Parameters
    ----------
    X : (n_candidates, n_features)
        Standardized here; a constant feature has no influence.
    n : how many; all candidates if there are no more

    Returns
    -------
    (min(n, n_candidates),) distinct rows, those of the largest groups first, ties by row

    Raises
    ------
    ContractError
        If `n` is negative, or a row of `X` is not finite (it is named).
    """
    X = checked_matrix("X", X)
    if n < 0:
        raise ContractError(f"cannot choose {n} candidates")
    if n == 0 or n >= len(X):
        return np.arange(min(n, len(X)), dtype=np.intp)
    mean, std = standard_scale(X)
    Z = (X - mean) / std
    labels, centers = clusters(Z, n, rng)
    sizes = np.bincount(labels, minlength=n)
    found = np.flatnonzero(sizes)
    nearest = np.array([_nearest(Z, np.flatnonzero(labels == k), centers[k]) for k in found], dtype=np.intp)
    chosen = nearest[np.lexsort((nearest, -sizes[found]))]
    return np.concatenate([chosen, _farthest(Z, chosen, n - len(chosen))])


def _nearest(Z: Floats, members: Indices, center: Floats) -> int:
    """The member nearest to the center, ties by row."""
    return int(members[np.argmin(((Z[members] - center) ** 2).sum(axis=1))])


def _farthest(Z: Floats, chosen: Indices, n: int) -> Indices:
    """`n` further rows, each the one farthest from all chosen so far, ties by row."""
    added: list[int] = []
    if n:
        distance = np.min([((Z - Z[row]) ** 2).sum(axis=1) for row in chosen], axis=0)
        distance[chosen] = -1.0
    for _ in range(n):
        row = int(np.argmax(distance))
        added.append(row)
        distance = np.minimum(distance, ((Z - Z[row]) ** 2).sum(axis=1))
        distance[row] = -1.0
    return np.array(added, dtype=np.intp)
