"""The laws of an acquisition, as tests: subclass `AcquisitionContract` and override its fixture `acquisition`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Acquisition, Scoring
from active_learning.domain.target import Goal, Target

__all__ = ["AcquisitionContract", "KnownModel", "scoring_for"]

Floats = NDArray[np.float64]


class KnownModel:
    """A trained model with closed-form beliefs: the mean is the sum of a row, the std its spread and a bit."""

    def predict(self, X: Floats) -> Prediction:
        """Belief about each row, (n_candidates, 1)."""
        return Prediction(X.sum(axis=1, keepdims=True), X.std(axis=1, keepdims=True) + 0.1)


def scoring_for(goal: Goal, *, n_rows: int = 30, n: int = 5, seed: int = 3) -> tuple[Prediction, Scoring]:
    """A pool with beliefs and ten labels, for any goal; `within` asks for 0 to 1."""
    rng = np.random.default_rng(seed)
    X, X_labeled = rng.normal(size=(n_rows, 3)), rng.normal(size=(10, 3))
    y = X_labeled.sum(axis=1)
    low, high = (0.0, 1.0) if goal is Goal.WITHIN else (None, None)
    target = Target("property", goal, "eV", low, high)
    best = float(y[np.argmax(target.merit(y))]) if goal.has_best else None
    model = KnownModel()
    scoring = Scoring(target, best, n, len(X), lambda: X, X_labeled, y, model, np.random.default_rng(seed))
    return model.predict(X), scoring


class AcquisitionContract:
    """What every acquisition promises."""

    @pytest.fixture
    def acquisition(self) -> Acquisition:
        """The acquisition under test."""
        raise NotImplementedError("override the fixture `acquisition`")

    def test_it_serves_at_least_one_goal(self, acquisition: Acquisition) -> None:
        assert acquisition.goals
        assert acquisition.goals <= set(Goal)

    def test_every_candidate_has_a_finite_score_for_every_goal_served(self, acquisition: Acquisition) -> None:
        for goal in acquisition.goals:
            prediction, scoring = scoring_for(goal)
            scores = acquisition.score(prediction, scoring)
            assert scores.shape == (30,)
            assert np.isfinite(scores).all()

    def test_a_model_that_is_certain_gives_finite_scores(self, acquisition: Acquisition) -> None:
        for goal in acquisition.goals:
            prediction, scoring = scoring_for(goal)
            certain = Prediction(prediction.mean, np.zeros_like(prediction.std))
            assert np.isfinite(acquisition.score(certain, scoring)).all()

    def test_a_single_candidate_is_scored(self, acquisition: Acquisition) -> None:
        for goal in acquisition.goals:
            prediction, scoring = scoring_for(goal, n_rows=1)
            assert acquisition.score(prediction, scoring).shape == (1,)

    def test_the_same_generator_gives_the_same_scores(self, acquisition: Acquisition) -> None:
        for goal in acquisition.goals:
            prediction, scoring = scoring_for(goal)
            first = acquisition.score(prediction, replace(scoring, rng=np.random.default_rng(9)))
            second = acquisition.score(prediction, replace(scoring, rng=np.random.default_rng(9)))
            np.testing.assert_array_equal(first, second)

    def test_numpys_global_random_state_plays_no_part(self, acquisition: Acquisition) -> None:
        before = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
        for goal in acquisition.goals:
            acquisition.score(*scoring_for(goal))
        np.testing.assert_array_equal(before, np.random.get_state(legacy=False)["state"]["key"])  # noqa: NPY002

    def test_its_arguments_are_left_as_they_were(self, acquisition: Acquisition) -> None:
        for goal in acquisition.goals:
            prediction, scoring = scoring_for(goal)
            again, same = scoring_for(goal)
            scores = acquisition.score(prediction, scoring)
            scores += 1.0
            np.testing.assert_array_equal(prediction.mean, again.mean)
            np.testing.assert_array_equal(prediction.std, again.std)
            np.testing.assert_array_equal(scoring.X, same.X)
            np.testing.assert_array_equal(scoring.y_labeled, same.y_labeled)
