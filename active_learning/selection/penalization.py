"""High scores that keep away from those taken before: local penalization."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial.distance import cdist
from scipy.special import log_ndtr

from active_learning.domain.choosing import Batch
from active_learning.domain.options import Options
from active_learning.selection.joint import beliefs, rescored
from active_learning.selection.scaling import standard_scale

__all__ = ["LocalPenalization", "lipschitz", "log_penalties"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_KIND = "local_penalization"


class LocalPenalization:
    r"""The best score is taken, all scores near it are lowered, and so on; near those in flight they are low already.

    If the function rises by at most `L` for each unit of distance, and its best value is `M`, then the best is not
    within ``|M - f(x_j)| / L`` of a candidate ``x_j``. The score of ``x`` is multiplied by the probability that ``x``
    lies outside this ball, ``phi(x; x_j) = erfc(-z) / 2``, ``z = (L |x - x_j| - |M - mean_j|) / sqrt(2 std_j^2)``, of
    each ``x_j`` that is pending or was taken before.

    - The scores are made positive by ``softplus(s) = log(1 + exp(s))``, as in the paper for scores that can be
      negative, of ``s``, the score less the mean of all considered, over their std: so neither the unit nor the zero
      of an acquisition matters.
    - Distances are between features, standardized over all candidates.
    - `M` is the mean of the candidate that would score best if the means were the truth (std 0): the highest mean to
      maximize, the lowest to minimize. Written as ``|M - mean_j|`` the formula holds for either.
    - `L` is the steepest slope of the mean between two of those considered (see `lipschitz`).

    A candidate equal to one taken before keeps half of its score or less. Ties go to the less penalized, then to the
    higher score, then by row.

    References
    ----------
    González, Dai, Hennig & Lawrence (2016), Batch Bayesian optimization via local penalization, arXiv:1505.08052.
    """

    class Options(Options):
        """Keys of ``[selection]``."""

        pool_limit: int = Field(
            1000,
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
            If the batch does not tell what is believed or how it would be scored without doubt, or tells so in
            numbers that are not finite or of another shape.
        """
        n = min(batch.n, len(batch.X))
        mean, std = beliefs(batch, _KIND)
        if n == 0 or n == len(batch.X):
            return batch.ranked[:n]
        rows = batch.ranked[: max(n, self.options.pool_limit)]
        best = int(np.argmax(rescored(batch, mean[rows], np.zeros(len(rows)), rows, _KIND)))
        considered = np.concatenate([rows, np.arange(len(batch.X), len(mean))])
        mean, std = _in_one_unit(mean[considered], std[considered])
        center, scale = standard_scale(batch.X)
        Z = (np.concatenate([batch.X[rows], batch.X_pending]) - center) / scale
        steepest = lipschitz(Z, mean, std)
        worth = _log_softplus(_standardized(batch.scores[rows]))
        penalty = np.zeros(len(rows))
        for pending in range(len(rows), len(Z)):
            penalty += log_penalties(Z, pending, mean, std, mean[best], steepest)[: len(rows)]
        chosen: list[int] = []
        free = np.arange(len(rows))
        while len(chosen) < n:
            row = int(free[np.lexsort((free, -penalty[free], -(worth + penalty)[free]))[0]])
            chosen.append(row)
            free = free[free != row]
            penalty += log_penalties(Z, row, mean, std, mean[best], steepest)[: len(rows)]
        return rows[np.array(chosen, dtype=np.intp)]


def lipschitz(Z: Floats, mean: Floats, std: Floats) -> float:
    """The steepest slope of `mean` between two rows of `Z`, in the target's unit for each unit of distance.

    Rows that are nearer to each other than the median row is to its neighbor do not count: the mean of a forest is
    made of steps, whose slope is without bound. At least the largest std over the largest distance: a mean that is flat
    because little is known does not say that the function is. 0 if all rows are equal.

    Parameters
    ----------
    Z : (n_rows, n_features)
    mean, std : (n_rows,)
    """
    distance = cdist(Z, Z)
    apart = distance > 0
    if not apart.any():
        return 0.0
    nearest = np.where(apart, distance, np.inf).min(axis=1)
    counts = distance >= np.median(nearest[np.isfinite(nearest)])
    slope = np.divide(np.abs(mean[:, None] - mean), distance, out=np.zeros_like(distance), where=counts)
    return float(max(slope.max(), std.max() / distance.max()))


def log_penalties(Z: Floats, center: int, mean: Floats, std: Floats, best: float, steepest: float) -> Floats:
    """Logarithm of what the scores of all rows are multiplied by if row `center` is taken, (n_rows,), at most 0.

    ``erfc(-z) / 2 = Phi(sqrt(2) z)``. In the limit of no doubt a row in the ball counts 0, on its edge 1/2, outside 1.

    Parameters
    ----------
    Z : (n_rows, n_features)
    mean, std : (n_rows,), in the target's unit
    best : the best value of the function, in the target's unit
    steepest : in the target's unit for each unit of distance
    """
    gap = steepest * np.sqrt(np.square(Z - Z[center]).sum(axis=1)) - abs(best - mean[center])
    if std[center] > 0:
        with np.errstate(over="ignore"):
            penalties: Floats = log_ndtr(gap / std[center])
        return penalties
    return np.where(gap > 0, 0.0, np.where(gap == 0, np.log(0.5), -np.inf))


def _in_one_unit(mean: Floats, std: Floats) -> tuple[Floats, Floats]:
    """Both divided by the largest of them, so that no slope is too large or too small for a float."""
    largest = max(np.abs(mean).max(initial=0.0), std.max(initial=0.0))
    return (mean / largest, std / largest) if largest > 0 else (mean, std)


def _standardized(scores: Floats) -> Floats:
    """Scores less their mean, over their std, (n,); all 0 if they are equal."""
    largest = np.abs(scores).max(initial=0.0)
    if largest == 0.0:
        return scores
    center, scale = standard_scale((scores / largest)[:, None])
    standardized: Floats = (scores / largest - center) / scale
    return standardized


def _log_softplus(scores: Floats) -> Floats:
    """``log(log(1 + exp(s)))``, (n,), which is `s` itself for `s` far below 0."""
    return np.where(scores < -30.0, scores, np.log(np.logaddexp(0.0, np.maximum(scores, -30.0))))
