"""What the rules read from a prediction: one target, one row a candidate; and the check of what they answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.choosing import Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Target
from active_learning.errors import ContractError

__all__ = ["belief", "best_merit", "bounds", "class_probabilities", "finite", "merits"]

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


def class_probabilities(prediction: Prediction, n_candidates: int) -> tuple[Floats, Floats]:
    """The classes, (n_classes,), and the probability of each, (n_candidates, n_classes).

    Raises
    ------
    ContractError
        If the prediction has no probabilities, or is not of as many candidates.
    """
    if prediction.classes is None or prediction.probabilities is None:
        raise ContractError(
            "the prediction has no probabilities of classes: they come from a surrogate that classifies, with goal "
            "'classify'"
        )
    if len(prediction) != n_candidates:
        raise ContractError(f"the prediction is of {len(prediction)} candidates; {n_candidates} are to be scored")
    return prediction.classes, prediction.probabilities


def bounds(target: Target) -> tuple[float, float]:
    """The bounds of the goal `within`.

    Raises
    ------
    ContractError
        If the goal is another, which has none.
    """
    if target.low is None or target.high is None:
        raise ContractError(f"goal '{target.goal}' has no bounds; goal 'within' has")
    return target.low, target.high


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


def merits(target: Target, values: Floats) -> Floats:
    """`Target.merit`, which may overflow to -infinity: far outside of bounds that are themselves huge."""
    with np.errstate(over="ignore"):
        return target.merit(values)


def finite(scores: Floats, prediction: Prediction) -> Floats:
    """`scores`, (n_candidates,), if all are finite.

    Raises
    ------
    ContractError
        If one is not: what is believed of that row is too large to reckon with.
    """
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        row = bad[0]
        raise ContractError(
            f"the score of row {row} is {scores[row]} ({bad.size} rows in all): with mean "
            f"{prediction.mean[row, 0]:.6g} and std {prediction.std[row, 0]:.6g} it exceeds the largest number"
        )
    return scores
