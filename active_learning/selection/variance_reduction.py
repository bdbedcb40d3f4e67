"""The batch that together teaches the model most about the pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.domain.choosing import Batch
from active_learning.domain.options import Options
from active_learning.selection.joint import JointBelief, beliefs, joint_belief

__all__ = ["VarianceReduction"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_KIND = "variance_reduction"


class VarianceReduction:
    r"""Candidates whose labels together are expected to remove most of the pool's variance.

    One after the other is taken, each the one with the largest

        sum_j cov(i, j)^2 / (var(i) + noise(i))

    over a random sample j of the candidates, given the labels of those being labeled and of those taken before (what a
    label will say plays no part in the variance that is left). Of each group of candidates that would teach the same it
    takes one, where the highest scores of `expected_model_gain` may all be of one group. Made for the goal `learn`; of
    the scores it uses only which candidates are worth considering. Where nothing is left to learn, the highest scores
    follow; ties go to the higher score, then by row.

    References
    ----------
    Cohn (1996), doi:10.1016/0893-6080(95)00137-9; Seo, Wallat, Graepel & Obermayer (2000),
    doi:10.1109/IJCNN.2000.861310.
    """

    class Options(Options):
        """Keys of ``[selection]``."""

        sample: int = Field(
            500, ge=1, le=10_000, description="Candidates, drawn anew each round, whose variance is to fall."
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
        promising = batch.ranked[: max(n, self.options.pool_limit)]
        sample = batch.rng.choice(len(batch.X), min(self.options.sample, len(batch.X)), replace=False)
        rows = np.concatenate([promising, np.sort(sample)])
        belief = joint_belief(batch, rows, std, _KIND)
        for pending in range(len(rows), len(belief.unit)):
            belief = belief.given_label(pending)
        chosen = self._greedy(belief.first(len(rows)), len(promising), n)
        rest = np.setdiff1d(np.arange(len(promising)), chosen)
        taken: Indices = promising[np.concatenate([chosen, rest[: n - len(chosen)]])]
        return taken

    def _greedy(self, belief: JointBelief, n_promising: int, n: int) -> Indices:
        """At most `n` of the first rows of the belief, in the order of taking; fewer, if nothing is left to learn."""
        free = np.ones(n_promising, dtype=bool)
        chosen: list[int] = []
        while len(chosen) < n:
            gains = np.where(free, _gains(belief, n_promising), 0.0)
            best = int(np.argmax(gains))
            if gains[best] <= 0:
                break
            chosen.append(best)
            free[best] = False
            belief = belief.given_label(best)
        return np.array(chosen, dtype=np.intp)


def _gains(belief: JointBelief, n_promising: int) -> Floats:
    """What a label of each of the first rows takes from the variance of the others, (n_promising,), in any unit.

    ``sum_j (u_j L_i . L_j)^2 / (|L_i|^2 + noise_i)`` with the loadings L in units of the stds u: the candidate's own
    unit cancels. With ``S = Q R``, ``|S L_i|^2 = |R L_i|^2``: no more products than the rank squared.
    """
    unit = belief.unit[n_promising:]
    largest = unit.max(initial=0.0)
    if largest == 0:
        return np.zeros(n_promising)
    S = belief.loadings[n_promising:] * (unit / largest)[:, None]
    R = np.asarray(np.linalg.qr(S, mode="r")) if len(S) > S.shape[1] else S
    L = belief.loadings[:n_promising]
    total = belief.shares[:n_promising] + belief.noise[:n_promising]
    # einsum adds up each row in the same order: equal rows stay equal to the last digit.
    told = np.einsum("ij,kj->ik", L, R)
    gains: Floats = np.divide(np.einsum("ik,ik->i", told, told), total, out=np.zeros(n_promising), where=total > 0)
    return gains
