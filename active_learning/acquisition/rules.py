"""What a candidate is worth, in closed form.

All rules speak of merit (`Target.merit`): the predicted mean, turned so that higher is better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from active_learning.acquisition.beliefs import belief, best_merit, bounds, finite, merits
from active_learning.acquisition.normal import (
    expected_improvement,
    expected_improvement_within,
    log_expected_improvement,
    probability_between,
    probability_of_improvement,
)
from active_learning.domain.choosing import Scoring
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal

__all__ = [
    "ExpectedImprovement",
    "ImprovementOptions",
    "LogExpectedImprovement",
    "ProbabilityOfImprovement",
    "RandomScore",
    "Uncertainty",
    "UpperConfidenceBound",
]

Floats = NDArray[np.float64]


class ImprovementOptions(Options):
    """Keys of ``[acquisition]`` for a rule that improves on the best label."""

    xi: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Improvement that does not count, in the target's unit; more of it explores more.",
    )


def _gain(mean: Floats, scoring: Scoring, xi: float) -> Floats:
    """By how much the mean beats the best label and `xi`, (n_candidates,)."""
    merit = merits(scoring.target, mean)
    with np.errstate(over="ignore"):
        gain: Floats = merit - best_merit(scoring) - xi
    return gain


def _band(scoring: Scoring, xi: float) -> tuple[float, float, float]:
    """The bounds of the goal `within`, and how far outside of them is still better than the best label and `xi`."""
    return *bounds(scoring.target), -best_merit(scoring) - xi


class ExpectedImprovement:
    """By how much a candidate will beat the best label, on average; what is worse counts as 0.

    For the goal `within`, by how much nearer to the bounds it will lie than the best label. Once a label lies within
    them nothing can improve, and every candidate scores 0: `probability_within` goes on from there.

    References
    ----------
    Jones, Schonlau & Welch (1998), doi:10.1023/A:1008306431147, eq. 15.
    """

    Options = ImprovementOptions
    goals = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN})
    scores_by_row = True
    scores_are_gains = True

    def __init__(self, options: ImprovementOptions) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), >= 0, in the target's unit.

        Raises
        ------
        ContractError
            If there is no best label, the prediction is not one of `scoring`'s candidates, or a gain exceeds the
            largest number (the row is named).
        """
        mean, std = belief(prediction, scoring)
        if scoring.target.goal is Goal.WITHIN:
            low, high, reach = _band(scoring, self.options.xi)
            return finite(expected_improvement_within(low, high, reach, mean, std), prediction)
        return finite(expected_improvement(_gain(mean, scoring, self.options.xi), std), prediction)


class LogExpectedImprovement:
    """The logarithm of the expected improvement: it ranks candidates as that does, also where that is 0 for them all.

    References
    ----------
    Ament, Daulton, Eriksson, Balandat & Bakshy (2023), arXiv:2310.20708, section 4.1.
    """

    Options = ImprovementOptions
    goals = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE})
    scores_by_row = True

    def __init__(self, options: ImprovementOptions) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), logarithm of a number in the target's unit; the least finite number where nothing is gained.

        Raises
        ------
        ContractError
            If there is no best label, the prediction is not one of `scoring`'s candidates, or a gain exceeds the
            largest number (the row is named).
        """
        mean, std = belief(prediction, scoring)
        return finite(log_expected_improvement(_gain(mean, scoring, self.options.xi), std), prediction)


class ProbabilityOfImprovement:
    """How likely a candidate beats the best label.

    For the goal `within`, how likely it lies nearer to the bounds; 0 for all once a label lies within them.

    References
    ----------
    Kushner (1964), doi:10.1115/1.3653121.
    """

    Options = ImprovementOptions
    goals = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN})
    scores_by_row = True
    scores_are_gains = True

    def __init__(self, options: ImprovementOptions) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), 0 to 1.

        Raises
        ------
        ContractError
            If there is no best label, or the prediction is not one of `scoring`'s candidates.
        """
        mean, std = belief(prediction, scoring)
        gain = _gain(mean, scoring, self.options.xi)
        if scoring.target.goal is not Goal.WITHIN:
            return probability_of_improvement(gain, std)
        low, high, reach = _band(scoring, self.options.xi)
        if reach <= 0:
            return np.zeros(len(mean))
        # As good as the best is no improvement: it matters where there is no doubt.
        probability: Floats = np.where(std > 0, probability_between(low - reach, high + reach, mean, std), gain > 0)
        return probability


class UpperConfidenceBound:
    """The merit of the mean plus `n_sigma` standard deviations: optimism in the face of doubt.

    For the goal `within`, a mean inside the bounds has merit 0, and the most uncertain of those scores highest.

    References
    ----------
    Srinivas, Krause, Kakade & Seeger (2010), arXiv:0912.3995, eq. 6.
    """

    class Options(Options):
        """Keys of ``[acquisition]``."""

        n_sigma: float = Field(
            1.0, ge=0, allow_inf_nan=False, description="Standard deviations of optimism; 0 exploits only."
        )

    goals = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN})
    scores_by_row = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), in the target's unit.

        Raises
        ------
        ContractError
            If the goal has no better and worse, the prediction is not one of `scoring`'s candidates, or a bound
            exceeds the largest number (the row is named).
        """
        mean, std = belief(prediction, scoring)
        merit = merits(scoring.target, mean)
        with np.errstate(over="ignore", invalid="ignore"):
            score: Floats = merit + self.options.n_sigma * std
        return finite(score, prediction)


class Uncertainty:
    """The standard deviation: where the model knows least, whatever the goal.

    Not for `classify`, where it would be that of the numbers the classes have by accident: see `class_uncertainty`.
    """

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset(Goal) - {Goal.CLASSIFY}
    scores_by_row = True
    scores_are_gains = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), >= 0, in the target's unit.

        Raises
        ------
        ContractError
            If the prediction is not one of `scoring`'s candidates.
        """
        _mean, std = belief(prediction, scoring)
        return std.copy()


class RandomScore:
    """A score drawn at random: the control that every other rule has to beat."""

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset(Goal)
    scores_by_row = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), uniform in [0, 1), from ``scoring.rng``."""
        return scoring.rng.random(len(prediction))
