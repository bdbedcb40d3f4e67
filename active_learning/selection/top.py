"""The highest scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.options import Options
from active_learning.errors import ContractError

__all__ = ["Top", "ranked"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def ranked(scores: Floats, n_rows: int, n: int) -> Indices:
    """All rows, the highest score first, ties by row.

    Raises
    ------
    ContractError
        If there is not one finite score a row (the first bad row is named), or `n` is negative.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (n_rows,):
        raise ContractError(f"scores have shape {scores.shape}; one for each of the {n_rows} candidates is needed")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise ContractError(f"the score of row {bad[0]} is {scores[bad[0]]} ({bad.size} rows in all)")
    if n < 0:
        raise ContractError(f"cannot choose {n} candidates")
    return np.argsort(-scores, kind="stable")


class Top:
    """The candidates with the highest scores, whatever they look like."""

    class Options(Options):
        """Keys of ``[selection]``: none."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def choose(self, scores: Floats, X: Floats, n: int, *, X_pending: Floats, rng: np.random.Generator) -> Indices:  # noqa: ARG002
        """Rows of the `n` highest scores, best first; ties by row.

        Raises
        ------
        ContractError
            If a score is not finite, or there is not one for each candidate.
        """
        return ranked(scores, len(X), n)[:n]
