"""A modAL learner, spoken to as one of our trained models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError

__all__ = ["ModalModel", "model_of"]

Floats = NDArray[np.float64]


def model_of(learner: Any, goal: Goal) -> ModalModel:
    """modAL's learner as a model that can do what the learner can: committees have members to ask and to draw."""
    if goal is Goal.CLASSIFY:
        return _Committee(learner) if hasattr(learner, "vote_proba") else _Classifier(learner)
    return _CommitteeRegressor(learner) if hasattr(learner, "vote") else ModalModel(learner)


class ModalModel:
    """A learner of numbers."""

    def __init__(self, learner: Any) -> None:
        self._learner = learner

    def predict(self, X: Floats) -> Prediction:
        """Mean and std of each row.

        Raises
        ------
        ContractError
            If the learner's estimator does not answer ``predict(X, return_std=True)``.
        """
        try:
            mean, std = self._learner.predict(X, return_std=True)
        except TypeError as error:
            raise ContractError(
                f"modAL's learner cannot say how sure it is: {error}. Give it an estimator whose predict takes "
                "return_std, such as active_learning.surrogates.estimators.StdRandomForestRegressor"
            ) from error
        return Prediction(np.reshape(mean, (len(X), 1)), np.reshape(std, (len(X), 1)))

    def labels(self) -> tuple[Floats, Floats]:
        """Features and values of what it was trained on, (n_labels, n_features) and (n_labels,).

        Raises
        ------
        ContractError
            If there are none, or they are not numbers.
        """
        # A committee keeps no labels of its own; each member keeps all of them.
        source = self._learner.learner_list[0] if hasattr(self._learner, "learner_list") else self._learner
        if source.X_training is None:
            raise ContractError("modAL's learner has no labels yet: give it X_training and y_training")
        return np.asarray(source.X_training, dtype=np.float64), _numbers(source.y_training)


class _CommitteeRegressor(ModalModel):
    """A committee of regressors: its functions are its members."""

    def draws(self, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
        """What `n` members, drawn with replacement, say of each row, (n, n_candidates)."""
        return self._members(X)[rng.integers(len(self._learner), size=n)]

    def covariance_factor(self, X: Floats) -> Floats:
        """(n_candidates, n_members): the members' deviations from their mean."""
        members = self._members(X)
        factor: Floats = (members - members.mean(axis=0)).T / np.sqrt(len(members))
        return factor

    def _members(self, X: Floats) -> Floats:
        votes: Floats = np.asarray(self._learner.vote(X), dtype=np.float64).T
        return votes


class _Classifier(ModalModel):
    """A learner of classes that are numbers."""

    def predict(self, X: Floats) -> Prediction:
        """The probability of each class.

        Raises
        ------
        ContractError
            If the estimator knows no probabilities, or its classes are not numbers.
        """
        source = self._learner if hasattr(self._learner, "classes_") else self._learner.estimator
        try:
            return Prediction.of_classes(_numbers(source.classes_), self._learner.predict_proba(X))
        except AttributeError as error:
            raise ContractError(
                f"modAL's learner cannot say how likely each class is: {error}. Give it an estimator with "
                "predict_proba, such as sklearn.ensemble.RandomForestClassifier"
            ) from error


class _Committee(_Classifier):
    """A committee of classifiers, whose members can be asked one by one."""

    def member_probabilities(self, X: Floats) -> Floats:
        """(n_members, n_candidates, n_classes)."""
        return np.swapaxes(np.asarray(self._learner.vote_proba(X), dtype=np.float64), 0, 1)


def _numbers(values: Any) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise ContractError(f"labels and classes of modAL's learner must be numbers: {error}") from error
