"""Test sets that represent the descriptor space: each group of like candidates has its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.errors import ContractError
from active_learning.selection.scaling import checked_matrix, clusters, standard_scale

__all__ = ["GROUPS", "Groups", "representative_rows"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

GROUPS = 10
"""Groups of a pool at most."""


class Groups:
    """Rows in groups by k-means over their descriptors, and the rows to take so that each group has its share.

    Parameters
    ----------
    X : (n_rows, n_features), finite; standardized here
    n_groups : at most n_rows; groups that stay empty have no share

    Raises
    ------
    ContractError
        If a row of `X` is not finite (it is named).
    """

    def __init__(self, X: Floats, *, rng: np.random.Generator, n_groups: int = GROUPS) -> None:
        X = checked_matrix("X", X)
        mean, std = standard_scale(X) if len(X) else (0.0, 1.0)
        n_groups = min(n_groups, len(X))
        self.group = clusters((X - mean) / std, n_groups, rng)[0] if n_groups > 1 else np.zeros(len(X), dtype=np.intp)
        self._shares = np.bincount(self.group, minlength=max(n_groups, 1)) / max(len(X), 1)

    def take(self, n: int, *, taken: Indices, free: Indices, rng: np.random.Generator) -> Indices:
        """`n` more rows, so that with those taken before each group comes as near to its share as can be.

        One after another: of the groups that have a free row, the one that lacks most, and of its rows any. A set that
        grew step by step represents the rows as well as one taken at once.

        Parameters
        ----------
        taken, free : rows taken before, and rows that may be taken; none is in both

        Returns
        -------
        (min(n, n_free),) rows of `free`, in the order they were taken
        """
        counts = np.bincount(self.group[taken], minlength=len(self._shares)).astype(np.float64)
        waiting = [list(rng.permutation(np.sort(free[self.group[free] == k]))) for k in range(len(self._shares))]
        rows: list[int] = []
        for _ in range(min(n, len(free))):
            lacking = self._shares * (counts.sum() + 1) - counts
            group = max((k for k in range(len(waiting)) if waiting[k]), key=lambda k: (lacking[k], -k))
            rows.append(int(waiting[group].pop()))
            counts[group] += 1
        return np.array(rows, dtype=np.intp)


def representative_rows(X: Floats, n: int, *, rng: np.random.Generator) -> Indices:
    """Rows that represent all of `X`, in as many groups as there are rows wanted, at most `GROUPS`.

    Parameters
    ----------
    X : (n_rows, n_features), finite
    n : how many

    Returns
    -------
    (n,) rows, ascending

    Raises
    ------
    ContractError
        If there are fewer rows, or one is not finite (it is named).
    """
    if not 0 <= n <= len(X):
        raise ContractError(f"{n} of {len(X)} rows cannot represent them")
    groups = Groups(X, rng=rng, n_groups=min(GROUPS, max(n, 1)))
    none = np.empty(0, dtype=np.intp)
    return np.sort(groups.take(n, taken=none, free=np.arange(len(X)), rng=rng))
