"""A campaign, seen as the modAL learner that a query strategy expects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.acquisition.beliefs import belief, best_merit, bounds, class_probabilities, merits
from active_learning.acquisition.classes import MembersClassify, member_probabilities
from active_learning.acquisition.normal import probability_between, probability_of_improvement
from active_learning.domain.choosing import Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal

__all__ = ["CommitteeView", "LearnerView", "view_of"]

Floats = NDArray[np.float64]

_LEAST_STD = float(np.finfo(np.float64).tiny)


def view_of(prediction: Prediction, scoring: Scoring) -> LearnerView:
    """A committee, if a model of classes has members that can be asked one by one; else a learner."""
    is_committee = scoring.target.goal is Goal.CLASSIFY and isinstance(scoring.model, MembersClassify)
    return CommitteeView(prediction, scoring) if is_committee else LearnerView(prediction, scoring)


class LearnerView:
    """What modAL's strategies ask of a learner, optimizer or classifier, answered from our model.

    modAL maximizes, so values are shown as merit: negated to minimize, minus the distance to the bounds for `within`;
    for `learn` and `classify` as they are. A std of 0 is shown as the least positive number, because modAL divides by
    it.

    Attributes
    ----------
    X_training, y_training : the labels, (n_labels, n_features) and (n_labels,)
    X_max, y_max : the best of them
    X_pool : the candidates to choose from, read-only
    estimator : this object
    on_transformed : False

    Raises
    ------
    ContractError
        If the prediction is not of the candidates in `scoring`, or the goal is `classify` and it has no probabilities.
    """

    on_transformed = False

    def __init__(self, prediction: Prediction, scoring: Scoring) -> None:
        self._prediction, self._scoring = prediction, scoring
        belief(prediction, scoring)
        if self._classifies:
            class_probabilities(prediction, scoring.n_candidates)
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

    @property
    def classes_(self) -> Floats:
        """The classes, (n_classes,), ascending; for a regression 0 and 1: no and yes, as `predict_proba` has them."""
        return np.array([0.0, 1.0]) if self._prediction.classes is None else self._prediction.classes

    def get_max(self) -> tuple[Floats, float]:
        """Features and merit of the best label."""
        return self.X_max, self.y_max

    def transform_without_estimating(self, X: Floats) -> Floats:
        """`X`: nothing transforms it."""
        return X

    def predict(self, X: Floats, return_std: bool = False) -> Any:
        """Merit of the mean, (n,), and on request the std, (n,), > 0; without std the likeliest class, if there are
        classes."""
        believed = self._believed(X)
        if self._classifies and not return_std:
            return self.classes_[self.predict_proba(X).argmax(axis=1)]
        shown = self._shown(believed.mean[:, 0])
        return (shown, np.maximum(believed.std[:, 0], _LEAST_STD)) if return_std else shown

    def predict_proba(self, X: Floats) -> Floats:
        """Probability of each class, (n, n_classes).

        Of a regression the probability that a candidate is (no, yes) better than the best label, or within the bounds,
        (n, 2), the belief taken as normal. This is what lets modAL's strategies for classifiers serve a regression.
        """
        believed = self._believed(X)
        if self._classifies:
            return class_probabilities(believed, len(X))[1]
        mean, std = believed.mean[:, 0], np.maximum(believed.std[:, 0], _LEAST_STD)
        target = self._scoring.target
        if target.goal is Goal.WITHIN:
            yes = probability_between(*bounds(target), mean, std)
        else:
            yes = probability_of_improvement(merits(target, mean) - self.y_max, std)
        return np.column_stack([1.0 - yes, yes])

    @property
    def _classifies(self) -> bool:
        return self._scoring.target.goal is Goal.CLASSIFY

    def _believed(self, X: Floats) -> Prediction:
        # The pool's own prediction may have been calibrated after the model made it: use that one where it holds.
        if X is self.X_pool:
            return self._prediction
        return self._scoring.model.predict(np.asarray(X, dtype=np.float64))

    def _shown(self, values: Floats) -> Floats:
        target = self._scoring.target
        return merits(target, values) if target.goal.has_best else np.asarray(values, dtype=np.float64)


class CommitteeView(LearnerView):
    """What modAL's strategies ask of a committee of classifiers beside that: each member's say.

    Attributes
    ----------
    n_classes_ : int
    """

    @property
    def n_classes_(self) -> int:
        """How many classes there are."""
        return len(self.classes_)

    def __len__(self) -> int:
        return int(self.vote_proba(self.X_pool[:1]).shape[1])

    def __iter__(self) -> Iterator[int]:
        """The members' numbers: modAL counts them, and asks them through `vote` and `vote_proba` only."""
        return iter(range(len(self)))

    def vote_proba(self, X: Floats) -> Floats:
        """What each member says, (n, n_members, n_classes)."""
        members = member_probabilities(self._scoring.model, np.asarray(X, dtype=np.float64), self.n_classes_)
        return np.swapaxes(members, 0, 1)

    def vote(self, X: Floats) -> Floats:
        """The likeliest class in each member's view, (n, n_members)."""
        votes: Floats = self.classes_[self.vote_proba(X).argmax(axis=2)]
        return votes
