"""What the rules read from a prediction: one target, one row a candidate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Scoring
from active_learning.errors import ContractError

__all__ = ["belief", "best_merit"]

Floats = NDArray[np.float64]


def belief(prediction: Prediction, scoring: Scoring) -> tuple[Floats, Floats]:
    """Mean and std, (n_candidates,) each.

    Raises
    ------
    ContractError
        If the prediction is of several targets, or not of the candidates in `scoring`.
    """
    expected = (scoring.n_candidates, 1)
    if prediction.mean.shape != expected:
        raise ContractError(f"the prediction has shape {prediction.mean.shape}; {expected} is needed: one target")
    return prediction.mean[:, 0], prediction.std[:, 0]


def best_merit(scoring: Scoring) -> float:
    """Merit of the best label so far, in the target's unit; higher is better.

    Raises
    ------
    ContractError
        If there is no best label, or the goal has no better and worse.
    """
    if scoring.best is None:
        raise ContractError(f"there is no best label to improve on (goal '{scoring.target.goal}')")
    return float(scoring.target.merit(np.array([scoring.best]))[0])
