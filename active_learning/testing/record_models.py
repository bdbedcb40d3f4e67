"""Made-up models for made-up campaigns: beliefs about known truths, and what a round writes down of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.metrics import calibration_metrics
from active_learning.domain.prediction import Prediction
from active_learning.domain.request import Arm, Request
from active_learning.domain.target import Goal, Target
from active_learning.learning.calibration_record import CalibrationRecord
from active_learning.learning.control import acceleration, control_error

__all__ = ["RAW_SLOPE", "MadeUpModel", "calibration_of", "control_of", "forecast_of", "search_of"]

Floats = NDArray[np.float64]

RAW_SLOPE = 1.6
"""Before its correction the std of a made-up model is too small by this factor."""


@dataclass(frozen=True, eq=False)
class MadeUpModel:
    """Believes the truth, with errors that shrink with labels and stds that are about right.

    Parameters
    ----------
    truth : (n_candidates,), values, or classes as numbers
    classes : those of a classification, ascending; empty otherwise
    """

    truth: Floats
    classes: tuple[float, ...]
    rng: np.random.Generator

    def believe(self, rows: NDArray[np.intp], n_labels: int) -> Prediction:
        """What a model of so many labels believes of some candidates, (n, 1)."""
        scale = 0.14 / np.sqrt(1 + n_labels / 15)
        if self.classes:
            logits = (self.truth[rows, None] == np.array(self.classes)) * 0.13 / scale
            logits = logits + self.rng.normal(size=logits.shape)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            return Prediction.of_classes(np.array(self.classes), odds / odds.sum(axis=1, keepdims=True))
        std = scale * self.rng.uniform(0.5, 1.6, len(rows))
        mean = self.truth[rows] + std * self.rng.normal(size=len(rows))
        return Prediction(mean[:, None], std[:, None])


def calibration_of(y: Floats, prediction: Prediction) -> dict[str, Any] | None:
    """The calibration of a round whose corrected prediction of its labels this is; None for classes."""
    if prediction.probabilities is not None:
        return None
    mean, std = prediction.mean[:, 0], prediction.std[:, 0]
    before, after = calibration_metrics(y, mean, std / RAW_SLOPE), calibration_metrics(y, mean, std)
    return CalibrationRecord(len(y), "fitted", RAW_SLOPE, 0.0, before, after).to_json() | {"validation": "folds"}


def forecast_of(target: Target, number: int, n_picks: int) -> dict[str, float]:
    """Less to gain with each round."""
    known = {"stability": 1 - 0.4 / number} if number > 1 else {}
    if n_picks and target.goal.has_best:
        known |= {"expected_gain": 0.04 / number, "probability_of_improvement": 0.9 / number}
    return known | ({"run_s": 4.2 * n_picks} if n_picks else {})


def search_of(number: int, every: int) -> dict[str, Any] | None:
    """The settings of a round, from a search every so many rounds; the first finds nothing better than the file's."""
    found = (number - 1) // every * every + 1
    options = {"max_features": 0.3, "min_samples_leaf": 2} if found > 1 else {}
    error = 0.11 / found
    return {
        "settings": options,
        "error": error if options else 1.2 * error,
        "given_error": 1.2 * error,
        "n_trials": 24,
        "seconds": 31.5,
        "round": found,
        "surrogate": {"kind": "random_forest"},
    }


def control_of(target: Target, requests: list[Request], values: Mapping[str, float]) -> dict[str, Any]:
    """As the campaign's own, of requests that all have been predicted; `values` are the labels of candidates."""
    # A candidate that failed first has two requests and one label.
    newest = {r.candidate_id: r for r in requests if r.candidate_id in values}.values()
    asked = {arm: [r for r in newest if r.arm is arm] for arm in Arm}
    y, chosen = (np.array([values[r.candidate_id] for r in asked[arm]]) for arm in (Arm.CONTROL, Arm.CHOSEN))
    if not len(y):
        return {}
    found: dict[str, Any] = {"n_labels": len(y)}
    if target.goal is not Goal.CLASSIFY:
        error = control_error(y, np.array([r.mean for r in asked[Arm.CONTROL]], dtype=np.float64))
        found["error"] = None if error is None else error.to_json()
    if target.goal.has_best:
        factor = acceleration(target.merit(y), target.merit(chosen))
        found["acceleration"] = None if factor is None else factor.to_json()
    return found
