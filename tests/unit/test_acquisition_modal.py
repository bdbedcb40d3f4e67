"""modAL's strategies in our campaigns, and our acquisitions in modAL's learners."""

from __future__ import annotations

from typing import Any

import modAL.acquisition
import modAL.disagreement
import modAL.uncertainty
import numpy as np
import pytest
from modAL.batch import uncertainty_batch_sampling
from modAL.models import ActiveLearner, BayesianOptimizer, Committee, CommitteeRegressor
from pydantic import ValidationError
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import RidgeClassifier

from active_learning.acquisition.classes import ClassEntropy, ClassMargin, ClassUncertainty, Disagreement
from active_learning.acquisition.learner_view import CommitteeView, LearnerView, view_of
from active_learning.acquisition.level_set import ProbabilityWithin, Straddle
from active_learning.acquisition.modal import ModalStrategy, as_modal_strategy
from active_learning.acquisition.modal_model import model_of
from active_learning.acquisition.model_gain import ExpectedModelGain
from active_learning.acquisition.normal import expected_improvement
from active_learning.acquisition.rules import (
    ExpectedImprovement,
    LogExpectedImprovement,
    ProbabilityOfImprovement,
    RandomScore,
    Uncertainty,
    UpperConfidenceBound,
)
from active_learning.acquisition.thompson import Thompson
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.surrogates.estimators import StdExtraTreesRegressor, StdRandomForestRegressor
from active_learning.testing.acquisition import scoring_for

EI = ExpectedImprovement(ExpectedImprovement.Options())
UCB = UpperConfidenceBound(UpperConfidenceBound.Options())
MAXIMIZE, MINIMIZE = (Target("band_gap", goal, "eV") for goal in (Goal.MAXIMIZE, Goal.MINIMIZE))


def _strategy(path: str, **options: Any) -> ModalStrategy:
    return ModalStrategy(ModalStrategy.Options(strategy=path, options=options))


def _top(scores: Any, n: int = 5) -> set[int]:
    return set(np.argsort(-scores, kind="stable")[:n].tolist())


# modAL in our campaigns


@pytest.mark.parametrize("goal", [Goal.MINIMIZE, Goal.MAXIMIZE])
@pytest.mark.parametrize(
    ("path", "options", "ours"),
    [
        ("modAL.acquisition:max_EI", {"tradeoff": 0.1}, ExpectedImprovement(ExpectedImprovement.Options(xi=0.1))),
        (
            "modAL.acquisition:max_PI",
            {"tradeoff": 0.1},
            ProbabilityOfImprovement(ProbabilityOfImprovement.Options(xi=0.1)),
        ),
        ("modAL.acquisition:max_UCB", {"beta": 2.0}, UpperConfidenceBound(UpperConfidenceBound.Options(n_sigma=2.0))),
        ("modAL.disagreement:max_std_sampling", {}, Uncertainty(Uncertainty.Options())),
    ],
)
def test_a_modal_strategy_picks_what_the_same_rule_of_ours_picks(
    goal: Goal, path: str, options: Any, ours: Any
) -> None:
    scores = _strategy(path, **options).score(*scoring_for(goal))
    assert _top(scores) == _top(ours.score(*scoring_for(goal)))
    np.testing.assert_array_equal(np.sort(scores)[::-1][:6], [5, 4, 3, 2, 1, 0])


def test_a_modal_strategy_for_classifiers_is_unsure_where_better_and_worse_are_as_likely() -> None:
    prediction, scoring = scoring_for(Goal.MAXIMIZE, n=3)
    assert scoring.best is not None
    z = np.abs(prediction.mean[:, 0] - scoring.best) / prediction.std[:, 0]
    scores = _strategy("modAL.uncertainty:uncertainty_sampling").score(prediction, scoring)
    assert _top(scores, 3) == set(np.argsort(z)[:3].tolist())


def test_within_bounds_the_probability_is_that_of_lying_between_them() -> None:
    prediction, scoring = scoring_for(Goal.WITHIN)
    view = LearnerView(prediction, scoring)
    draws = np.random.default_rng(0).normal(prediction.mean[:, 0], prediction.std[:, 0], size=(40_000, 30))
    expected = ((draws >= 0) & (draws <= 1)).mean(axis=0)
    np.testing.assert_allclose(view.predict_proba(view.X_pool)[:, 1], expected, atol=0.015)
    np.testing.assert_allclose(view.predict_proba(view.X_pool).sum(axis=1), 1.0)


def test_ranked_batch_mode_keeps_its_order() -> None:
    prediction, scoring = scoring_for(Goal.MAXIMIZE, n=4)
    strategy = _strategy("modAL.batch:uncertainty_batch_sampling", metric="euclidean")
    view = LearnerView(prediction, scoring)
    expected = uncertainty_batch_sampling(view, view.X_pool, n_instances=4)[0]
    np.testing.assert_array_equal(np.argsort(-strategy.score(prediction, scoring), kind="stable")[:4], expected)


def test_the_learner_that_a_strategy_sees_maximizes() -> None:
    prediction, scoring = scoring_for(Goal.MINIMIZE)
    view = LearnerView(prediction, scoring)
    X_max, y_max = view.get_max()
    row = int(np.argmin(scoring.y_labeled))
    np.testing.assert_array_equal(X_max, scoring.X_labeled[row])
    assert y_max == view.y_max == -scoring.y_labeled[row] == view.y_training.max()
    np.testing.assert_array_equal(view.predict(view.X_pool), -prediction.mean[:, 0])
    np.testing.assert_array_equal(view.estimator.predict(scoring.X_labeled), -scoring.X_labeled.sum(axis=1))
    assert view.transform_without_estimating(view.X_pool) is view.X_pool


def test_the_pool_is_seen_with_the_prediction_that_was_handed_in() -> None:
    prediction, scoring = scoring_for(Goal.LEARN)
    calibrated = Prediction(prediction.mean, prediction.std * 0.0 + np.arange(30.0)[::-1, None])
    scores = _strategy("modAL.disagreement:max_std_sampling").score(calibrated, scoring)
    assert _top(scores) == {0, 1, 2, 3, 4}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a strategy where the campaign file can name it."""

    def put(strategy: Any) -> ModalStrategy:
        monkeypatch.setattr(modAL.acquisition, "ours", strategy, raising=False)
        return _strategy("modAL.acquisition:ours")

    return put


@pytest.mark.parametrize(
    ("n", "returned"),
    [
        (2, np.array([7, 3])),
        (2, [7, 3]),
        (2, (7, 3)),
        (2, (np.array([7, 3]), np.array([0.1, 0.2]))),
        (2, (np.array([[7], [3]]), np.ones((2, 3)))),
        (1, np.int64(7)),
        (1, (np.int64(7), np.ones(3))),
        (1, (7, 1)),
        (3, np.array([7, 3, 0])),
    ],
)
def test_indices_are_understood_in_every_form_that_strategies_return(given: Any, n: int, returned: Any) -> None:
    scores = given(lambda learner, X, n_instances: returned).score(*scoring_for(Goal.MAXIMIZE, n=n))
    np.testing.assert_array_equal(np.argsort(-scores, kind="stable")[:n], [7, 3, 0][:n])
    assert (np.sort(scores)[:-n] == 0).all()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.array([1]), "2 distinct rows of 30 are needed"),
        (np.array([1, 1]), "2 distinct rows of 30 are needed"),
        (np.array([1, 30]), "2 distinct rows of 30 are needed"),
        (np.array([-1, 2]), "2 distinct rows of 30 are needed"),
        (np.array([1.0, 2.0]), "float64 where row numbers are needed"),
        ((), "float64 where row numbers are needed"),
        (None, "object where row numbers are needed"),
    ],
)
def test_anything_but_the_rows_asked_for_is_refused(given: Any, returned: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        given(lambda learner, X, n_instances: returned).score(*scoring_for(Goal.MAXIMIZE, n=2))


def test_a_strategy_that_fails_is_named_and_called_once(given: Any) -> None:
    calls = []

    def failing(learner: Any, X: Any, n_instances: int) -> Any:
        calls.append(n_instances)
        raise ZeroDivisionError("no")

    with pytest.raises(ContractError, match=r"modAL\.acquisition:ours failed: ZeroDivisionError: no"):
        given(failing).score(*scoring_for(Goal.MAXIMIZE))
    assert calls == [5]


def test_a_strategy_cannot_write_into_the_pool(given: Any) -> None:
    def writing(learner: Any, X: Any, n_instances: int) -> Any:
        X[0] = 0.0

    with pytest.raises(ContractError, match="read-only"):
        given(writing).score(*scoring_for(Goal.MAXIMIZE))


def test_a_strategy_for_committees_is_told_what_is_missing() -> None:
    with pytest.raises(ContractError, match="vote_entropy_sampling failed"):
        _strategy("modAL.disagreement:vote_entropy_sampling").score(*scoring_for(Goal.MAXIMIZE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "modAL.acquisition:max_XY"}, "cannot import 'modAL.acquisition:max_XY'"),
        ({"strategy": "max_EI"}, "write it as 'module:function'"),
        ({"strategy": "modAL:__name__"}, "is not a function"),
        ({"strategy": "modAL.acquisition:max_EI", "options": {"trade": 1}}, "unexpected keyword argument 'trade'"),
        ({"strategy": "modAL.acquisition:PI"}, "cannot be called as strategy"),
        ({"options": {"n_instances": 3}}, "n_instances"),
        ({"options": {"random_tie_break": True}}, "global state"),
    ],
)
def test_what_cannot_work_is_refused_while_the_file_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, TypeError), match=message):
        ModalStrategy.Options(**options)


def test_a_strategy_that_asks_for_a_best_value_does_not_serve_the_goal_learn() -> None:
    assert Goal.LEARN not in _strategy("modAL.acquisition:max_EI").goals
    assert Goal.LEARN in _strategy("modAL.disagreement:max_std_sampling").goals


def test_each_strategy_serves_the_goals_whose_questions_it_asks() -> None:
    with_best = {Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN}
    assert _strategy("modAL.acquisition:max_EI").goals == with_best
    assert _strategy("modAL.uncertainty:entropy_sampling").goals == with_best | {Goal.CLASSIFY}
    assert _strategy("modAL.disagreement:vote_entropy_sampling").goals == {Goal.CLASSIFY}
    assert _strategy("modAL.disagreement:max_std_sampling").goals == set(Goal)


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("modAL.uncertainty:uncertainty_sampling", ClassUncertainty(ClassUncertainty.Options())),
        ("modAL.uncertainty:margin_sampling", ClassMargin(ClassMargin.Options())),
        ("modAL.uncertainty:entropy_sampling", ClassEntropy(ClassEntropy.Options())),
        ("modAL.disagreement:consensus_entropy_sampling", ClassEntropy(ClassEntropy.Options())),
        ("modAL.disagreement:max_disagreement_sampling", Disagreement(Disagreement.Options(measure="divergence"))),
    ],
)
def test_a_modal_strategy_for_classes_picks_what_the_same_rule_of_ours_picks(path: str, ours: Any) -> None:
    scores = _strategy(path).score(*scoring_for(Goal.CLASSIFY))
    assert _top(scores) == _top(ours.score(*scoring_for(Goal.CLASSIFY)))


def test_a_modal_strategy_for_committees_picks_where_votes_are_split() -> None:
    scores = _strategy("modAL.disagreement:vote_entropy_sampling").score(*scoring_for(Goal.CLASSIFY))
    ours = Disagreement(Disagreement.Options()).score(*scoring_for(Goal.CLASSIFY))
    assert set(ours[scores > 0]) == {ours.max()}


def test_a_strategy_sees_the_classes_and_their_probabilities() -> None:
    prediction, scoring = scoring_for(Goal.CLASSIFY)
    view = view_of(prediction, scoring)
    assert isinstance(view, CommitteeView)
    assert prediction.probabilities is not None
    np.testing.assert_array_equal(view.predict_proba(view.X_pool), prediction.probabilities)
    np.testing.assert_array_equal(view.predict_proba(scoring.X), prediction.probabilities)
    np.testing.assert_array_equal(view.predict(view.X_pool), prediction.probabilities.argmax(axis=1))
    np.testing.assert_array_equal(view.predict(view.X_pool, return_std=True)[1], prediction.std[:, 0])
    np.testing.assert_array_equal(view.classes_, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(view.y_training, scoring.y_labeled)
    assert (len(view), list(view), view.n_classes_) == (4, [0, 1, 2, 3], 3)
    np.testing.assert_allclose(view.vote_proba(view.X_pool).mean(axis=1), prediction.probabilities)
    assert view.vote(view.X_pool).shape == (30, 4)


def test_the_classes_of_a_regression_are_no_and_yes() -> None:
    view = view_of(*scoring_for(Goal.MAXIMIZE))
    assert type(view) is LearnerView
    np.testing.assert_array_equal(view.classes_, [0.0, 1.0])


def test_probabilities_that_are_not_there_are_missed() -> None:
    prediction, scoring = scoring_for(Goal.CLASSIFY)
    with pytest.raises(ContractError, match="the prediction has no probabilities"):
        _strategy("modAL.uncertainty:margin_sampling").score(Prediction(prediction.mean, prediction.std), scoring)


# Ours in modAL


def _labels() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(200, 3))
    return X, X[:25], X[:25].sum(axis=1)


@pytest.mark.parametrize("forest", [StdRandomForestRegressor, StdExtraTreesRegressor])
@pytest.mark.parametrize("target", [MAXIMIZE, MINIMIZE])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_our_acquisition_queries_for_modals_active_learner(forest: Any, target: Target, n: int) -> None:
    X, X_labeled, y = _labels()
    estimator = forest(n_estimators=20, random_state=0)
    learner = ActiveLearner(estimator, as_modal_strategy(EI, target), X_training=X_labeled, y_training=y)
    rows, instances = learner.query(X, n_instances=n)
    mean, std = estimator.predict(X, return_std=True)
    best = y[np.argmax(target.merit(y))]
    expected = np.argsort(-expected_improvement(target.merit(mean) - target.merit(best), std), kind="stable")[:n]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(instances, X[expected])


def test_our_acquisition_queries_for_modals_bayesian_optimizer_as_modals_own_does() -> None:
    X, X_labeled, y = _labels()
    estimator = StdRandomForestRegressor(n_estimators=20, random_state=0)
    ours = BayesianOptimizer(estimator, as_modal_strategy(UCB, MAXIMIZE), X_training=X_labeled, y_training=y)
    theirs = BayesianOptimizer(estimator, modAL.acquisition.max_UCB, X_training=X_labeled, y_training=y)
    assert set(ours.query(X, n_instances=4)[0]) == set(theirs.query(X, n_instances=4)[0])


def test_our_acquisition_queries_for_modals_committee() -> None:
    X, X_labeled, y = _labels()
    members = [
        ActiveLearner(RandomForestRegressor(n_estimators=5, random_state=i), X_training=X_labeled, y_training=y)
        for i in range(3)
    ]
    committee = CommitteeRegressor(members, as_modal_strategy(UCB, MAXIMIZE))
    mean, std = committee.predict(X, return_std=True)
    rows, _instances = committee.query(X, n_instances=3)
    np.testing.assert_array_equal(rows, np.argsort(-(mean + std), kind="stable")[:3])


# modAL's EI divides by the std, which is 0 where all trees agree; what it computes then is right.
@pytest.mark.filterwarnings("ignore:divide by zero encountered in divide:RuntimeWarning")
@pytest.mark.parametrize("strategy", [modAL.disagreement.max_std_sampling, modAL.acquisition.max_EI])
def test_modals_own_strategies_fail_with_a_bare_forest_and_not_with_ours(strategy: Any) -> None:
    X, X_labeled, y = _labels()

    def optimizer(estimator: Any) -> BayesianOptimizer:
        return BayesianOptimizer(estimator, strategy, X_training=X_labeled, y_training=y)

    with pytest.raises(TypeError, match="return_std"):
        optimizer(RandomForestRegressor(n_estimators=5)).query(X)
    for ours in (StdRandomForestRegressor, StdExtraTreesRegressor):
        rows, _instances = optimizer(ours(n_estimators=20, random_state=0)).query(X[25:], n_instances=3)
        assert len(set(rows.tolist())) == 3


def test_our_strategy_says_what_to_use_instead_of_a_bare_forest() -> None:
    X, X_labeled, y = _labels()
    strategy = as_modal_strategy(UCB, MAXIMIZE)
    learner = ActiveLearner(RandomForestRegressor(n_estimators=5), strategy, X_training=X_labeled, y_training=y)
    with pytest.raises(ContractError, match="StdRandomForestRegressor"):
        learner.query(X)


def test_a_learner_without_labels_is_refused() -> None:
    learner = ActiveLearner(StdRandomForestRegressor(), as_modal_strategy(UCB, MAXIMIZE))
    with pytest.raises(ContractError, match="no labels yet"):
        learner.query(_labels()[0])


def test_a_goal_that_the_acquisition_does_not_serve_is_refused() -> None:
    with pytest.raises(ContractError, match="does not serve goal 'learn', but maximize, minimize"):
        as_modal_strategy(EI, Target("band_gap", Goal.LEARN, "eV"))


def test_the_seed_decides_what_a_random_strategy_picks() -> None:
    X, X_labeled, y = _labels()
    learner = ActiveLearner(StdRandomForestRegressor(n_estimators=5), X_training=X_labeled, y_training=y)
    rule, target = RandomScore(RandomScore.Options()), Target("band_gap", Goal.LEARN, "eV")
    first, again, other = (as_modal_strategy(rule, target, seed=s)(learner, X, n_instances=5)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first.tolist()) != set(other.tolist())


@pytest.mark.parametrize(
    ("rule", "goal"),
    [
        (ExpectedImprovement, Goal.WITHIN),
        (LogExpectedImprovement, Goal.MINIMIZE),
        (ProbabilityOfImprovement, Goal.MAXIMIZE),
        (UpperConfidenceBound, Goal.WITHIN),
        (ProbabilityWithin, Goal.WITHIN),
        (Straddle, Goal.WITHIN),
        (Uncertainty, Goal.LEARN),
        (RandomScore, Goal.LEARN),
        (Thompson, Goal.MAXIMIZE),
        (ExpectedModelGain, Goal.LEARN),
    ],
)
def test_every_rule_for_numbers_queries_for_a_committee(rule: Any, goal: Goal) -> None:
    X, X_labeled, y = _labels()
    members = [
        ActiveLearner(RandomForestRegressor(n_estimators=5, random_state=i), X_training=X_labeled, y_training=y)
        for i in range(3)
    ]
    target = Target("band_gap", goal, "eV", *((0.0, 0.01) if goal is Goal.WITHIN else (None, None)))
    strategy = as_modal_strategy(rule(rule.Options()), target)
    rows, instances = CommitteeRegressor(members, strategy).query(X[25:], n_instances=4)
    assert len(set(rows.tolist())) == 4
    np.testing.assert_array_equal(instances, X[25:][rows])


def test_thompson_picks_favourites_of_the_members_of_a_committee() -> None:
    X, X_labeled, y = _labels()
    members = [
        ActiveLearner(RandomForestRegressor(n_estimators=5, random_state=i), X_training=X_labeled, y_training=y)
        for i in range(3)
    ]
    committee = CommitteeRegressor(members)
    rows, _instances = as_modal_strategy(Thompson(Thompson.Options()), MAXIMIZE)(committee, X[25:])
    votes = committee.vote(X[25:])
    assert any(votes[rows[0], member] == votes[:, member].max() for member in range(3))


def test_the_covariance_of_a_committee_is_that_of_its_members() -> None:
    X, X_labeled, y = _labels()
    members = [
        ActiveLearner(RandomForestRegressor(n_estimators=5, random_state=i), X_training=X_labeled, y_training=y)
        for i in range(4)
    ]
    model: Any = model_of(CommitteeRegressor(members), Goal.LEARN)
    factor = model.covariance_factor(X)
    np.testing.assert_allclose(np.square(factor).sum(axis=1), np.square(model.predict(X).std[:, 0]), atol=1e-12)
    np.testing.assert_allclose(factor @ factor.T, np.cov(CommitteeRegressor(members).vote(X), ddof=0), atol=1e-12)


@pytest.mark.parametrize("rule", [Thompson, ExpectedModelGain])
def test_a_learner_that_cannot_do_what_a_rule_asks_is_refused(rule: Any) -> None:
    X, X_labeled, y = _labels()
    goal = Goal.LEARN if rule is ExpectedModelGain else Goal.MAXIMIZE
    learner = ActiveLearner(StdRandomForestRegressor(n_estimators=5), X_training=X_labeled, y_training=y)
    with pytest.raises(ContractError, match="take a surrogate that"):
        as_modal_strategy(rule(rule.Options()), Target("band_gap", goal, "eV"))(learner, X)


def _classifiers(y: Any) -> list[ActiveLearner]:
    _X, X_labeled, _y = _labels()
    return [
        ActiveLearner(RandomForestClassifier(n_estimators=9, random_state=i), X_training=X_labeled, y_training=y)
        for i in range(3)
    ]


@pytest.mark.parametrize(
    ("rule", "strategy"),
    [
        (ClassUncertainty, modAL.uncertainty.uncertainty_sampling),
        (ClassMargin, modAL.uncertainty.margin_sampling),
        (ClassEntropy, modAL.uncertainty.entropy_sampling),
    ],
)
def test_our_rules_for_classes_query_as_modals_own_do(rule: Any, strategy: Any) -> None:
    X, _X, values = _labels()
    y = np.digitize(values, [-1.0, 1.0])
    ours = as_modal_strategy(rule(rule.Options()), Target("phase", Goal.CLASSIFY))
    for learner in (_classifiers(y)[0], Committee(_classifiers(y))):
        probabilities = learner.predict_proba(X)
        rows, theirs = ours(learner, X, n_instances=6)[0], strategy(learner, X, n_instances=6)[0]
        np.testing.assert_allclose(
            np.sort(np.sort(probabilities[rows], axis=1)[:, -1]), np.sort(np.sort(probabilities[theirs], axis=1)[:, -1])
        )


def test_disagreement_queries_for_modals_committee() -> None:
    X, _X, values = _labels()
    committee = Committee(_classifiers(np.digitize(values, [-1.0, 1.0])))
    ours = as_modal_strategy(Disagreement(Disagreement.Options()), Target("phase", Goal.CLASSIFY))
    entropies = modAL.disagreement.vote_entropy(committee, X)
    np.testing.assert_allclose(entropies[ours(committee, X, n_instances=5)[0]], np.sort(entropies)[::-1][:5])


def test_classes_that_are_no_numbers_are_refused() -> None:
    X, _X, values = _labels()
    learner = _classifiers(np.where(values > 0, "metal", "insulator"))[0]
    with pytest.raises(ContractError, match="must be numbers: could not convert string to float"):
        as_modal_strategy(ClassMargin(ClassMargin.Options()), Target("phase", Goal.CLASSIFY))(learner, X)


def test_a_classifier_without_probabilities_is_refused() -> None:
    X, X_labeled, values = _labels()
    learner = ActiveLearner(RidgeClassifier(), X_training=X_labeled, y_training=(values > 0).astype(float))
    with pytest.raises(ContractError, match="cannot say how likely each class is: 'RidgeClassifier'"):
        as_modal_strategy(ClassMargin(ClassMargin.Options()), Target("phase", Goal.CLASSIFY))(learner, X)
