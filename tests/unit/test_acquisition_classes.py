"""The rules for classes, against modAL's own functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from modAL.disagreement import KL_max_disagreement, vote_entropy
from modAL.models import ActiveLearner, Committee
from modAL.uncertainty import classifier_entropy, classifier_margin, classifier_uncertainty
from sklearn.ensemble import RandomForestClassifier

from active_learning.acquisition import classes
from active_learning.acquisition.classes import ClassEntropy, ClassMargin, ClassUncertainty, Disagreement
from active_learning.acquisition.modal_model import model_of
from active_learning.domain.choosing import Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.testing.acquisition import scoring_for

TARGET = Target("phase", Goal.CLASSIFY)


@pytest.fixture(scope="module")
def committee() -> Any:
    """Five small forests; the first knows two of the three classes only."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 3))
    y = np.digitize(X.sum(axis=1), [-0.8, 0.8]).astype(float)
    members = []
    for number in range(5):
        rows = np.flatnonzero(y != 2) if number == 0 else rng.integers(60, size=25)
        forest = RandomForestClassifier(n_estimators=7, random_state=number)
        members.append(ActiveLearner(forest, X_training=X[rows], y_training=y[rows]))
    return Committee(members)


@pytest.fixture(scope="module")
def shown(committee: Any) -> tuple[Prediction, Scoring]:
    X = np.random.default_rng(2).normal(size=(80, 3))
    model = model_of(committee, Goal.CLASSIFY)
    scoring = Scoring(TARGET, None, 5, 80, lambda: X, X[:3], np.arange(3.0), model, np.random.default_rng(0))
    return model.predict(X), scoring


def _votes() -> Disagreement:
    return Disagreement(Disagreement.Options())


def _divergence() -> Disagreement:
    return Disagreement(Disagreement.Options(measure="divergence"))


@pytest.mark.parametrize(
    ("rule", "modals", "sign"),
    [
        (ClassUncertainty(ClassUncertainty.Options()), classifier_uncertainty, 1),
        (ClassMargin(ClassMargin.Options()), classifier_margin, -1),
        (ClassEntropy(ClassEntropy.Options()), classifier_entropy, 1),
        (_votes(), vote_entropy, 1),
        (_divergence(), KL_max_disagreement, 1),
    ],
)
def test_a_rule_gives_modals_own_numbers(committee: Any, shown: Any, rule: Any, modals: Any, sign: int) -> None:
    scores = rule.score(*shown)
    np.testing.assert_allclose(scores, sign * modals(committee, shown[1].X), atol=1e-12)
    assert len(np.unique(scores.round(9))) >= 5


@pytest.mark.parametrize("rule", [_votes(), _divergence()])
def test_blocks_do_not_matter(shown: Any, rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rule.score(*shown)
    monkeypatch.setattr(classes, "_BLOCK", 9)
    np.testing.assert_array_equal(rule.score(*shown), whole)


@pytest.mark.parametrize("rule", [ClassUncertainty, ClassMargin, ClassEntropy])
def test_one_class_alone_leaves_no_doubt(rule: Any) -> None:
    _prediction, scoring = scoring_for(Goal.CLASSIFY, n_rows=4)
    prediction = Prediction.of_classes(np.array([1.0]), np.ones((4, 1)))
    np.testing.assert_array_equal(rule(rule.Options()).score(prediction, scoring), np.zeros(4))


@pytest.mark.parametrize("rule", [ClassUncertainty, ClassEntropy])
def test_a_sum_a_little_above_one_gives_no_negative_gain(rule: Any) -> None:
    _prediction, scoring = scoring_for(Goal.CLASSIFY, n_rows=2)
    prediction = Prediction.of_classes(np.array([0.0, 1.0]), np.array([[1.0 + 5e-7, 0.0], [0.0, 1.0 + 5e-7]]))
    np.testing.assert_array_equal(rule(rule.Options()).score(prediction, scoring), np.zeros(2))


def test_doubt_is_highest_where_all_classes_are_as_likely() -> None:
    _prediction, scoring = scoring_for(Goal.CLASSIFY, n_rows=2)
    prediction = Prediction.of_classes(np.arange(3.0), np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.3, 0.2]]))
    for rule, highest in ((ClassUncertainty, 2 / 3), (ClassMargin, 0.0), (ClassEntropy, np.log(3))):
        scores = rule(rule.Options()).score(prediction, scoring)  # type: ignore[arg-type]
        assert scores[0] == pytest.approx(highest)
        assert scores[1] < scores[0]


@pytest.mark.parametrize("rule", [ClassUncertainty, ClassMargin, ClassEntropy, Disagreement])
def test_a_prediction_without_probabilities_is_refused(rule: Any) -> None:
    _prediction, scoring = scoring_for(Goal.CLASSIFY)
    with pytest.raises(ContractError, match="no probabilities of classes: they come from a surrogate that classifies"):
        rule(rule.Options()).score(Prediction(np.zeros((30, 1)), np.ones((30, 1))), scoring)


@pytest.mark.parametrize("rule", [ClassUncertainty, ClassMargin, ClassEntropy, Disagreement])
def test_a_prediction_of_other_candidates_is_refused(rule: Any) -> None:
    prediction, scoring = scoring_for(Goal.CLASSIFY)
    with pytest.raises(ContractError, match="the prediction is of 30 candidates; 29 are to be scored"):
        rule(rule.Options()).score(prediction, replace(scoring, n_candidates=29))


class Alone:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def predict(self, X: Any) -> Prediction:
        return Prediction.of_classes(np.arange(3.0), np.full((len(X), 3), 1 / 3))


class Several(Alone):
    def member_probabilities(self, X: Any) -> Any:
        return self._answer


def test_a_model_without_members_is_refused_with_what_to_do() -> None:
    prediction, scoring = scoring_for(Goal.CLASSIFY)
    with pytest.raises(ContractError, match="Alone has none that can be asked: take a surrogate that has, such as"):
        _votes().score(prediction, replace(scoring, model=Alone(None)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.zeros((2, 30)), r"answer with shape \(2, 30\); \(n_members, 30, 3\) is needed"),
        (np.zeros((2, 30, 2)), r"answer with shape \(2, 30, 2\)"),
        (np.zeros((0, 30, 3)), r"answer with shape \(0, 30, 3\)"),
        (np.full((2, 30, 3), np.nan), "probabilities that are not finite"),
    ],
)
def test_members_that_answer_something_else_are_refused(answer: Any, message: str) -> None:
    prediction, scoring = scoring_for(Goal.CLASSIFY)
    with pytest.raises(ContractError, match=message):
        _votes().score(prediction, replace(scoring, model=Several(answer)))


def test_these_rules_serve_classes_only() -> None:
    for rule in (ClassUncertainty, ClassMargin, ClassEntropy, Disagreement):
        assert rule.goals == {Goal.CLASSIFY}
