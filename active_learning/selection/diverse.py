"""High scores that do not look alike: several questions a round, not one question several times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.domain.choosing import Batch
from active_learning.domain.options import Options
from active_learning.selection.scaling import clusters, standard_scale

__all__ = ["Diverse"]

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

    def choose(self, batch: Batch) -> Indices:
        """Rows to take, best score first, (min(n, n_candidates),)."""
        n, X = batch.n, batch.X
        if n == 0 or n >= len(X):
            return batch.ranked[:n]
        places = n + len(batch.X_pending)
        promising = batch.ranked[: max(n, min(self.options.promising * places, self.options.pool_limit))]
        mean, std = standard_scale(X)
        Z = (np.concatenate([X[promising], batch.X_pending]) - mean) / std
        labels, _centers = clusters(Z, min(places, len(Z)), batch.rng)
        chosen = _best_of_each(labels[: len(promising)], taken=set(labels[len(promising) :].tolist()))[:n]
        rest = np.setdiff1d(np.arange(len(promising)), chosen)
        rows: Indices = promising[np.sort(np.concatenate([chosen, rest[: n - len(chosen)]]))]
        return rows


def _best_of_each(labels: Indices, taken: set[int]) -> Indices:
    """The first row of each cluster that is not taken; rows come best first."""
    _clusters, first = np.unique(labels, return_index=True)
    return np.sort([row for row in first if int(labels[row]) not in taken]).astype(np.intp)
