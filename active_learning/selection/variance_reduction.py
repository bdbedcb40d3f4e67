"""The batch that together teaches the model most about the pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.domain.choosing import Batch
from active_learning.domain.last_digits import blocks, one_thread
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
        covariance = _covariance(belief, n_promising)
        while len(chosen) < n:
            gains = np.where(free, _gains(belief, covariance), 0.0)
            best = int(np.argmax(gains))
            if gains[best] <= 0:
                break
            chosen.append(best)
            free[best] = False
            told = belief.covariance_with(best)
            covariance -= np.outer(told[:n_promising], told[n_promising:] * _weights(belief, n_promising)) / (
                told[best] + belief.noise[best]
            )
            belief = belief.given_label(best)
        return np.array(chosen, dtype=np.intp)


def _weights(belief: JointBelief, n_promising: int) -> Floats:
    """The stds of the sample, (n_sample,), the largest of them 1: variances are to fall in the target's unit."""
    unit = belief.unit[n_promising:]
    largest = unit.max(initial=0.0)
    weights: Floats = unit / largest if largest > 0 else np.zeros_like(unit)
    return weights


def _covariance(belief: JointBelief, n_promising: int) -> Floats:
    """Of the first rows, each in units of its std, with the sample, (n_promising, n_sample)."""
    sample = belief.loadings[n_promising:] * _weights(belief, n_promising)[:, None]
    covariance = np.empty((n_promising, len(sample)))
    with one_thread():
        for rows, block in blocks(belief.loadings[:n_promising]):
            covariance[rows] = (block @ sample.T)[: rows.stop - rows.start]
    return covariance


def _gains(belief: JointBelief, covariance: Floats) -> Floats:
    """What a label of each of the first rows takes from the variance of the sample, (n_promising,), in any unit.

    ``sum_j (u_j L_i . L_j)^2 / (|L_i|^2 + noise_i)`` with the loadings L in units of the stds u: the candidate's own
    unit cancels.
    """
    n_promising = len(covariance)
    total = belief.shares[:n_promising] + belief.noise[:n_promising]
    told = np.square(covariance).sum(axis=1)
    gains: Floats = np.divide(told, total, out=np.zeros(n_promising), where=total > 0)
    return gains
