"""Scores for the goal `within`: find what lies between the bounds, or find out where the bounds are crossed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.acquisition.beliefs import belief, bounds, finite
from active_learning.acquisition.normal import probability_between
from active_learning.domain.choosing import Scoring
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal

__all__ = ["ProbabilityWithin", "Straddle"]

Floats = NDArray[np.float64]


class ProbabilityWithin:
    """How likely a candidate lies within the bounds: the rule that collects as many such candidates as it can."""

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset({Goal.WITHIN})
    scores_by_row = True
    scores_are_gains = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), 0 to 1; the belief is taken as normal.

        Raises
        ------
        ContractError
            If the goal has no bounds, or the prediction is not one of `scoring`'s candidates.
        """
        mean, std = belief(prediction, scoring)
        return probability_between(*bounds(scoring.target), mean, std)


class Straddle:
    """How far the belief straddles a bound: the rule that learns which candidates lie within, and which do not.

    ``n_sigma * std - min(|mean - low|, |mean - high|)``: high where the model is unsure and the nearest bound is near,
    above 0 where that bound lies inside of the interval of ``mean +- n_sigma * std``.

    References
    ----------
    Bryan, Schneider, Nichol, Miller, Genovese & Wasserman (2005), Active learning for identifying function threshold
    boundaries, Advances in Neural Information Processing Systems 18: the straddle heuristic, there for one threshold.
    """

    class Options(Options):
        """Keys of ``[acquisition]``."""

        n_sigma: float = Field(
            1.96,
            ge=0,
            allow_inf_nan=False,
            description="Standard deviations that doubt is worth; 1.96 is an interval of 95 %.",
        )

    goals = frozenset({Goal.WITHIN})
    scores_by_row = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), in the target's unit.

        Raises
        ------
        ContractError
            If the goal has no bounds, the prediction is not one of `scoring`'s candidates, or a score exceeds the
            largest number (the row is named).
        """
        mean, std = belief(prediction, scoring)
        low, high = bounds(scoring.target)
        with np.errstate(over="ignore", invalid="ignore"):
            score: Floats = self.options.n_sigma * std - np.minimum(np.abs(mean - low), np.abs(mean - high))
        return finite(score, prediction)
