"""A campaign, seen as the modAL learner that a query strategy expects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from active_learning.acquisition.beliefs import best_merit
from active_learning.domain.protocols import Scoring
from active_learning.domain.target import Goal

__all__ = ["LearnerView"]

Floats = NDArray[np.float64]

_LEAST_STD = float(np.finfo(np.float64).tiny)


class LearnerView:
    """What modAL's strategies ask of a learner, optimizer or classifier, answered from our model.

    modAL maximizes, so values are shown as merit: negated to minimize, minus the distance to the bounds for `within`;
    for `learn` as they are. A std of 0 is shown as the least positive number, because modAL divides by it.

    Attributes
    ----------
    X_training, y_training : the labels, (n_labels, n_features) and (n_labels,)
    X_max, y_max : the best of them
    X_pool : the candidates to choose from, read-only
    estimator : this object
    on_transformed : False
    """

    on_transformed = False

    def __init__(self, mean: Floats, std: Floats, scoring: Scoring) -> None:
        self._mean, self._std, self._scoring = mean, std, scoring
        self.X_pool = scoring.X.view()
        self.X_pool.flags.writeable = False
        self.X_training = scoring.X_labeled
        self.y_training = self._shown(scoring.y_labeled)

    @property
    def estimator(self) -> LearnerView:
        """Itself: it predicts as the estimator would."""
        return self

    @property
    def X_max(self) -> Floats:
        """Features of the best label, (n_features,)."""
        row: Floats = self.X_training[int(np.argmax(self.y_training))]
        return row

    @property
    def y_max(self) -> float:
        """Merit of the best label."""
        return best_merit(self._scoring)

    def get_max(self) -> tuple[Floats, float]:
        """Features and merit of the best label."""
        return self.X_max, self.y_max

    def transform_without_estimating(self, X: Floats) -> Floats:
        """`X`: nothing transforms it."""
        return X

    def predict(self, X: Floats, return_std: bool = False) -> Any:
        """Merit of the mean, (n,), and on request the std, (n,), > 0."""
        mean, std = self._belief(X)
        shown = self._shown(mean)
        return (shown, np.maximum(std, _LEAST_STD)) if return_std else shown

    def predict_proba(self, X: Floats) -> Floats:
        """Probability that a candidate is (no, yes) better than the best label, or within the bounds, (n, 2).

        The belief is taken as normal. This is what lets modAL's strategies for classifiers serve a regression.
        """
        mean, std = self._belief(X)
        std = np.maximum(std, _LEAST_STD)
        target = self._scoring.target
        with np.errstate(over="ignore"):
            if target.goal is Goal.WITHIN:
                # The bounds are there: Target refuses this goal without them.
                yes = ndtr((np.float64(target.high) - mean) / std) - ndtr((np.float64(target.low) - mean) / std)
            else:
                yes = ndtr((target.merit(mean) - self.y_max) / std)
        return np.column_stack([1.0 - yes, yes])

    def _belief(self, X: Floats) -> tuple[Floats, Floats]:
        # The pool's own prediction may have been calibrated after the model made it: use that one where it holds.
        if X is self.X_pool:
            return self._mean, self._std
        prediction = self._scoring.model.predict(np.asarray(X, dtype=np.float64))
        return prediction.mean[:, 0], prediction.std[:, 0]

    def _shown(self, values: Floats) -> Floats:
        target = self._scoring.target
        return target.merit(values) if target.goal.has_best else np.asarray(values, dtype=np.float64)
