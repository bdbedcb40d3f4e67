"""The laws of an acquisition, as tests: subclass `AcquisitionContract` and override its fixture `acquisition`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.domain.choosing import Acquisition, ScoresAreGains, ScoresByRow, Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target

__all__ = ["AcquisitionContract", "KnownClassifier", "KnownModel", "scoring_for"]

Floats = NDArray[np.float64]


class KnownModel:
    """A trained model with closed-form beliefs: the mean is the sum of a row, the std its spread and a bit.

    Its functions are ``mean + std * (z1 cos w + z2 sin w)`` with `w` the first feature and normal z1, z2, so that the
    beliefs about two rows correlate by ``cos(w - w')``.
    """

    def predict(self, X: Floats) -> Prediction:
        """Belief about each row, (n_candidates, 1)."""
        return Prediction(X.sum(axis=1, keepdims=True), X.std(axis=1, keepdims=True) + 0.1)

    def covariance_factor(self, X: Floats) -> Floats:
        """(n_candidates, 2)."""
        factor: Floats = self.predict(X).std * np.column_stack([np.cos(X[:, 0]), np.sin(X[:, 0])])
        return factor

    def draws(self, X: Floats, n: int, *, rng: np.random.Generator) -> Floats:
        """(n, n_candidates)."""
        values: Floats = self.predict(X).mean[:, 0] + rng.normal(size=(n, 2)) @ self.covariance_factor(X).T
        return values


class KnownClassifier:
    """A trained classifier of three classes with closed-form beliefs: the mean of what its four members say."""

    classes = np.array([0.0, 1.0, 2.0])

    def predict(self, X: Floats) -> Prediction:
        """Probabilities of the classes for each row."""
        return Prediction.of_classes(self.classes, self.member_probabilities(X).mean(axis=0))

    def member_probabilities(self, X: Floats) -> Floats:
        """(4, n_candidates, 3)."""
        weights = np.exp(np.stack([X @ np.roll(np.eye(X.shape[1], 3), shift, axis=0) for shift in range(4)]))
        probabilities: Floats = weights / weights.sum(axis=2, keepdims=True)
        return probabilities


def scoring_for(goal: Goal, *, n_rows: int = 30, n: int = 5, seed: int = 3) -> tuple[Prediction, Scoring]:
    """A pool with beliefs, ten labels and two candidates being labeled, for any goal; `within` asks for 0 to 1, and
    `classify` for three classes."""
    rng = np.random.default_rng(seed)
    X, X_labeled = rng.normal(size=(n_rows, 3)), rng.normal(size=(10, 3))
    model = KnownClassifier() if goal is Goal.CLASSIFY else KnownModel()
    y = np.arange(10.0) % 3 if goal is Goal.CLASSIFY else X_labeled.sum(axis=1)
    low, high = (0.0, 1.0) if goal is Goal.WITHIN else (None, None)
    target = Target("property", goal, "eV", low, high)
    best = float(y[np.argmax(target.merit(y))]) if goal.has_best else None
    scoring = Scoring(
        target=target,
        best=best,
        n=n,
        n_candidates=len(X),
        load_X=lambda: X,
        X_labeled=X_labeled,
        y_labeled=y,
        model=model,
        rng=np.random.default_rng(seed),
        X_pending=np.random.default_rng(seed + 1).normal(size=(2, 3)),
    )
    return model.predict(X), scoring


def _part(prediction: Prediction, scoring: Scoring, rows: slice) -> tuple[Prediction, Scoring]:
    """The same, of some of the candidates."""
    X = scoring.X[rows]
    probabilities = None if prediction.probabilities is None else prediction.probabilities[rows]
    part = Prediction(prediction.mean[rows], prediction.std[rows], None, prediction.classes, probabilities)
    return part, replace(scoring, n_candidates=len(X), load_X=lambda: X)


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
            if prediction.classes is None:
                certain = Prediction(prediction.mean, np.zeros_like(prediction.std))
            else:
                certain = Prediction.of_classes(prediction.classes, np.eye(3)[np.arange(30) % 3])
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
            if prediction.probabilities is not None and again.probabilities is not None:
                np.testing.assert_array_equal(prediction.probabilities, again.probabilities)
            np.testing.assert_array_equal(scoring.X, same.X)
            np.testing.assert_array_equal(scoring.X_labeled, same.X_labeled)
            np.testing.assert_array_equal(scoring.y_labeled, same.y_labeled)
            np.testing.assert_array_equal(scoring.X_pending, same.X_pending)

    def test_what_it_scored_before_plays_no_part(self, acquisition: Acquisition) -> None:
        for goal in acquisition.goals:
            first = acquisition.score(*scoring_for(goal))
            acquisition.score(*scoring_for(goal, n_rows=12, n=2, seed=8))
            np.testing.assert_array_equal(acquisition.score(*scoring_for(goal)), first)

    def test_scores_by_row_do_not_depend_on_the_company(self, acquisition: Acquisition) -> None:
        if not (isinstance(acquisition, ScoresByRow) and acquisition.scores_by_row):
            pytest.skip("this acquisition looks at all candidates together")
        for goal in acquisition.goals:
            prediction, scoring = scoring_for(goal)
            whole = acquisition.score(prediction, scoring)
            # One generator for all parts, as a pool that is scored block by block has.
            shared = replace(scoring, rng=scoring_for(goal)[1].rng)
            cuts = [slice(0, 1), slice(1, 17), slice(17, 30)]
            parts = [acquisition.score(*_part(prediction, shared, rows)) for rows in cuts]
            np.testing.assert_array_equal(np.concatenate(parts), whole)

    @pytest.mark.parametrize("seed", [3, 4, 5])
    def test_gains_are_never_negative(self, acquisition: Acquisition, seed: int) -> None:
        if not (isinstance(acquisition, ScoresAreGains) and acquisition.scores_are_gains):
            pytest.skip("this acquisition's scores are no gains")
        for goal in acquisition.goals:
            assert (acquisition.score(*scoring_for(goal, n_rows=200, seed=seed)) >= 0).all()

    def test_no_candidates_have_no_scores(self, acquisition: Acquisition) -> None:
        for goal in acquisition.goals:
            assert acquisition.score(*scoring_for(goal, n_rows=0)).shape == (0,)
