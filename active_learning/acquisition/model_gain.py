"""What labeling a candidate would teach the model about all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.acquisition.beliefs import belief
from active_learning.domain.choosing import Scoring
from active_learning.domain.models import KnowsCovariance
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError

__all__ = ["ExpectedModelGain"]

Floats = NDArray[np.float64]

_BLOCK = 1024
"""Candidates whose covariance with the sample is worked out at once: a Gaussian process takes the cube of both, which
costs least for blocks about as large as the sample."""


class ExpectedModelGain:
    """The share of the pool's variance that a label of the candidate is expected to remove.

    For normal beliefs a label of i lowers the variance of j by ``cov(i, j)^2 / (var(i) + noise(i))``, whatever its
    value will be. Its mean over a random sample of the pool is divided by the mean variance of the sample now: 0 for a
    label that teaches nothing, 1 for one that teaches all. Unlike `uncertainty`, it passes over a candidate that is
    unlike all others. ``var(i) + noise(i)`` is the square of the predicted std, the noise what this exceeds the
    variance of the function by.

    References
    ----------
    Cohn (1996), doi:10.1016/0893-6080(95)00137-9; Seo, Wallat, Graepel & Obermayer (2000),
    doi:10.1109/IJCNN.2000.861310.
    """

    class Options(Options):
        """Keys of ``[acquisition]``."""

        sample: int = Field(
            1000, ge=1, le=10_000, description="Candidates, drawn anew each round, over which the gain is averaged."
        )

    goals = frozenset({Goal.LEARN})
    scores_are_gains = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), 0 to 1.

        Raises
        ------
        ContractError
            If the model does not know the covariance of its beliefs, gives a factor of another shape or one that is
            not finite (the row is named), or the prediction is not one of `scoring`'s candidates.
        """
        _mean, std = belief(prediction, scoring)
        model = scoring.model
        if not isinstance(model, KnowsCovariance):
            raise ContractError(
                f"expected_model_gain needs the covariance of the model's beliefs, and {type(model).__name__} knows "
                "none: take a surrogate that does, such as random_forest, extra_trees or gaussian_process, or the "
                "acquisition uncertainty"
            )
        size = min(self.options.sample, len(std))
        sample = np.sort(scoring.rng.choice(len(std), size=size, replace=False))
        scores = np.zeros(len(std))
        for start in range(0, len(std), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(std)))
            scores[rows] = _shares(_factor(model, scoring.X, np.concatenate([rows, sample])), std[rows])
        return scores


def _factor(model: KnowsCovariance, X: Floats, rows: NDArray[np.intp]) -> Floats:
    """The covariance factor of some rows, (n_rows, rank). Asked for all of them at once: the factors of two calls need
    not fit together."""
    factor = np.asarray(model.covariance_factor(X[rows]), dtype=np.float64)
    if factor.ndim != 2 or len(factor) != len(rows):
        raise ContractError(
            f"the covariance factor of {type(model).__name__} has shape {factor.shape}; ({len(rows)}, rank) is needed"
        )
    bad = np.flatnonzero(~np.isfinite(factor).all(axis=1))
    if bad.size:
        raise ContractError(f"the covariance factor of row {rows[bad[0]]} is not finite ({bad.size} rows in all)")
    return factor


def _shares(factor: Floats, std: Floats) -> Floats:
    """The gain of the first rows of a factor over the others, (n_rows,), each row with its predicted std, (n_rows,).

    With ``S`` the factor of the sample and ``f`` that of a candidate, ``sum_j cov(i, j)^2 = |S f|^2 = |R f|^2``, where
    ``S = Q R``: as many products as the rank squared, not as the sample times the rank, and never negative. All is
    scaled first: the squares of 1e-160 are 0.
    """
    f, S = factor[: len(std)], factor[len(std) :]
    largest = np.abs(S).max(initial=0.0)
    if largest == 0.0:
        return np.zeros(len(std))
    S = S / largest
    R: Floats = np.asarray(np.linalg.qr(S, mode="r")) if len(S) > S.shape[1] else S
    scale = np.abs(f).max(axis=1, initial=0.0)
    knows = scale > 0
    f, scale = f[knows] / scale[knows, None], scale[knows]
    with np.errstate(over="ignore"):
        noisy = np.maximum(np.sqrt(np.square(f).sum(axis=1)), std[knows] / scale)
    shares = np.zeros(len(std))
    shares[knows] = np.square((f / noisy[:, None]) @ R.T).sum(axis=1) / np.square(R).sum()
    return np.minimum(shares, 1.0)
