"""High scores whose functions are not known from each other: the greatest determinant, greedily."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.domain.choosing import Batch
from active_learning.domain.options import Options
from active_learning.selection.joint import JointBelief, beliefs, joint_belief

__all__ = ["MaxDeterminant"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_KIND = "max_determinant"


class MaxDeterminant:
    r"""The batch whose scores are high and whose function values are unknown and independent.

    One after the other is taken, each the one that adds most to

        quality * sum(r) + (1 - quality) * log det(C),

    with ``r`` the scores, scaled to 0 (the lowest considered) to 1 (the highest), and ``C`` the covariance of the
    function, given those that are being labeled. What the next one adds to the logarithm is the logarithm of its
    variance given all taken before: a pivoted Cholesky factorization. This is the greedy mode of a determinantal point
    process with ``L = q C q``, ``q = exp(r quality / (2 (1 - quality)))``. Noise of labels plays no part.

    Where what is left is known (fewer independent candidates than places), the highest scores follow. Ties go to the
    higher score, then by row.

    References
    ----------
    Kulesza & Taskar (2012), doi:10.1561/2200000044, section 3.1 (quality and diversity); Chen, Zhang & Zhou (2018),
    arXiv:1709.05135 (greedy mode by Cholesky, trade-off of relevance and diversity).
    """

    class Options(Options):
        """Keys of ``[selection]``."""

        quality: float = Field(
            0.9, ge=0, lt=1, description="Weight of the scores: 0 looks at the covariance only, near 1 it is `top`."
        )
        pool_limit: int = Field(
            2000,
            ge=1,
            description="Candidates considered at most, those with the highest scores; never fewer than chosen.",
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def choose(self, batch: Batch) -> Indices:
        """Rows to take, in the order of taking, (min(n, n_candidates),).

        Raises
        ------
        ContractError
            If the batch does not tell what is believed or how it hangs together, or tells so in numbers that are not
            finite or of another shape.
        """
        n = min(batch.n, len(batch.X))
        _mean, std = beliefs(batch, _KIND)
        if n == 0 or n == len(batch.X):
            return batch.ranked[:n]
        rows = batch.ranked[: max(n, self.options.pool_limit)]
        belief = joint_belief(batch, rows, std, _KIND)
        for pending in range(len(rows), len(belief.unit)):
            belief = belief.given_function(pending)
        chosen = self._greedy(belief.first(len(rows)), _scaled(batch.scores[rows]), n)
        rest = np.setdiff1d(np.arange(len(rows)), chosen)
        taken: Indices = rows[np.concatenate([chosen, rest[: n - len(chosen)]])]
        return taken

    def _greedy(self, belief: JointBelief, r: Floats, n: int) -> Indices:
        """At most `n` rows of the belief, in the order of taking; fewer, if all others are known."""
        theta = self.options.quality
        free = np.ones(len(r), dtype=bool)
        chosen: list[int] = []
        while len(chosen) < n:
            candidates = np.flatnonzero(free & ~belief.is_known)
            if not candidates.size:
                break
            log_variance = 2.0 * np.log(belief.unit[candidates]) + np.log(belief.shares[candidates])
            best = int(candidates[np.argmax(theta * r[candidates] + (1.0 - theta) * log_variance)])
            chosen.append(best)
            free[best] = False
            belief = belief.given_function(best)
        return np.array(chosen, dtype=np.intp)


def _scaled(scores: Floats) -> Floats:
    """Scores from 0 to 1, (n,); all 0 if they are equal. Halved first: the span of floats can exceed the largest."""
    if not len(scores):
        return scores
    half = scores / 2.0
    span = half.max() - half.min()
    return (half - half.min()) / span if span > 0 else np.zeros(len(scores))
