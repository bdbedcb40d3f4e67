"""High scores that do not look alike: several questions a round, not one question several times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.domain.options import Options
from active_learning.errors import ContractError
from active_learning.selection.scaling import checked_matrix, clusters, standard_scale
from active_learning.selection.top import ranked

__all__ = ["Diverse"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class Diverse:
    """The best score of each group of promising candidates that look alike.

    The candidates with the highest scores, `promising` for each place in flight, are clustered together with those
    being labeled, into as many groups as there are places. A group that holds a candidate being labeled is taken
    already; each other gives its best score. Where candidates have equal features there can be fewer groups than
    places; the next best scores follow then.
    """

    class Options(Options):
        """Keys of ``[selection]``."""

        promising: int = Field(
            10, ge=1, description="Candidates considered for each one chosen or being labeled; with 1 nearly `top`."
        )
        pool_limit: int = Field(10_000, ge=1, description="Candidates considered at most.")

    def __init__(self, options: Options) -> None:
        self.options = options

    def choose(self, scores: Floats, X: Floats, n: int, *, X_pending: Floats, rng: np.random.Generator) -> Indices:
        """Rows to take, best score first, (min(n, n_candidates),).

        Raises
        ------
        ContractError
            If a score or a feature is not finite (the row is named), or shapes do not match.
        """
        X, X_pending = checked_matrix("X", X), checked_matrix("X_pending", X_pending)
        order = ranked(scores, len(X), n)
        if len(X_pending) and X_pending.shape[1] != X.shape[1]:
            raise ContractError(f"X_pending has {X_pending.shape[1]} features, X has {X.shape[1]}")
        if n == 0 or n >= len(X):
            return order[:n]
        places = n + len(X_pending)
        promising = order[: max(n, min(self.options.promising * places, self.options.pool_limit))]
        mean, std = standard_scale(X)
        Z = (np.concatenate([X[promising], X_pending.reshape(-1, X.shape[1])]) - mean) / std
        labels, _centers = clusters(Z, min(places, len(Z)), rng)
        chosen = _best_of_each(labels[: len(promising)], taken=set(labels[len(promising) :].tolist()))[:n]
        rest = np.setdiff1d(np.arange(len(promising)), chosen)
        rows: Indices = promising[np.sort(np.concatenate([chosen, rest[: n - len(chosen)]]))]
        return rows


def _best_of_each(labels: Indices, taken: set[int]) -> Indices:
    """The first row of each cluster that is not taken; rows come best first."""
    _clusters, first = np.unique(labels, return_index=True)
    return np.sort([row for row in first if int(labels[row]) not in taken]).astype(np.intp)
