"""What a candidate is worth, in closed form.

All rules speak of merit (`Target.merit`): the predicted mean, turned so that higher is better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import erfcx

from active_learning.acquisition.beliefs import belief, best_merit
from active_learning.domain.options import Options
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Scoring
from active_learning.domain.target import Goal

__all__ = ["ExpectedImprovement", "RandomScore", "Uncertainty", "UpperConfidenceBound", "expected_improvement"]

Floats = NDArray[np.float64]

_FAR = 40.0
"""Standard deviations beyond which the normal density is 0 in double precision (it is from 38.6 on)."""


def expected_improvement(gain: Floats, std: Floats) -> Floats:
    r"""Mean of ``max(0, G)`` for a normal ``G`` with mean `gain` and standard deviation `std`.

    ``gain * Phi(z) + std * phi(z)`` with ``z = gain / std``, and ``max(gain, 0)`` in the limit ``std -> 0``. Computed
    as ``max(gain, 0) + std * h(|z|)``, ``h(a) = phi(a) - a Phi(-a)``: the sum above cancels for ``z << 0`` and can
    even turn out negative, while every term here is non-negative and right to about 1e-12, relative.

    Parameters
    ----------
    gain, std : (n,), in one unit; std >= 0

    Returns
    -------
    (n,), >= 0, in the same unit

    References
    ----------
    Jones, Schonlau & Welch (1998), doi:10.1023/A:1008306431147, eq. 15.

    >>> expected_improvement(np.array([0.0, 2.0, -2.0]), np.array([1.0, 0.0, 0.0])).round(4).tolist()
    [0.3989, 2.0, 0.0]
    """
    gain, std = np.asarray(gain, dtype=np.float64), np.asarray(std, dtype=np.float64)
    a = np.full(np.shape(gain), _FAR)
    with np.errstate(over="ignore"):
        np.divide(np.abs(gain), std, out=a, where=std > 0)
    a = np.minimum(a, _FAR)
    density = np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi)
    # Mills' ratio Phi(-a) / phi(a) = sqrt(pi/2) erfcx(a / sqrt(2)); a times it is below 1, and 1 - 1/a^2 for large a.
    rest = np.maximum(1.0 - a * np.sqrt(np.pi / 2) * erfcx(a / np.sqrt(2)), 0.0)
    improvement: Floats = np.maximum(gain, 0.0) + std * (density * rest)
    return improvement


class ExpectedImprovement:
    """By how much a candidate will beat the best label, on average; what is worse counts as 0.

    References
    ----------
    Jones, Schonlau & Welch (1998), doi:10.1023/A:1008306431147, eq. 15.
    """

    class Options(Options):
        """Keys of ``[acquisition]``."""

        xi: float = Field(
            0.0,
            ge=0,
            allow_inf_nan=False,
            description="Improvement that does not count, in the target's unit; more of it explores more.",
        )

    goals = frozenset({Goal.MINIMIZE, Goal.MAXIMIZE})
    scores_by_row = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), >= 0, in the target's unit.

        Raises
        ------
        ContractError
            If there is no best label, or the prediction is not one of `scoring`'s candidates.
        """
        mean, std = belief(prediction, scoring)
        gain = scoring.target.merit(mean) - best_merit(scoring) - self.options.xi
        return expected_improvement(gain, std)


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
            If the goal has no better and worse, or the prediction is not one of `scoring`'s candidates.
        """
        mean, std = belief(prediction, scoring)
        score: Floats = scoring.target.merit(mean) + self.options.n_sigma * std
        return score


class Uncertainty:
    """The standard deviation: where the model knows least, whatever the goal."""

    class Options(Options):
        """Keys of ``[acquisition]``: none."""

    goals = frozenset(Goal) - {Goal.CLASSIFY}
    scores_by_row = True

    def __init__(self, options: Options) -> None:
        self.options = options

    def score(self, prediction: Prediction, scoring: Scoring) -> Floats:
        """(n_candidates,), >= 0, in the target's unit."""
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
