"""The acquisition rules, against other ways to the same numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from active_learning.acquisition.level_set import ProbabilityWithin, Straddle
from active_learning.acquisition.rules import (
    ExpectedImprovement,
    LogExpectedImprovement,
    ProbabilityOfImprovement,
    RandomScore,
    Uncertainty,
    UpperConfidenceBound,
)
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError
from active_learning.testing.acquisition import scoring_for


@pytest.mark.parametrize(("goal", "sign"), [(Goal.MAXIMIZE, 1.0), (Goal.MINIMIZE, -1.0)])
def test_expected_improvement_is_that_of_the_target_over_the_best_label(goal: Goal, sign: float) -> None:
    prediction, scoring = scoring_for(goal)
    assert scoring.best is not None
    rule = ExpectedImprovement(ExpectedImprovement.Options(xi=0.2))
    mean, std = prediction.mean[:, 0], prediction.std[:, 0]
    gain = sign * (mean - scoring.best) - 0.2
    expected = gain * norm.cdf(gain / std) + std * norm.pdf(gain / std)
    np.testing.assert_allclose(rule.score(prediction, scoring), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("rule", [ExpectedImprovement, LogExpectedImprovement, ProbabilityOfImprovement])
@pytest.mark.parametrize("goal", [Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN])
def test_improving_needs_a_best_label(rule: Any, goal: Goal) -> None:
    prediction, scoring = scoring_for(goal)
    rule = rule(rule.Options())
    with pytest.raises(ContractError, match="no best label to improve on"):
        rule.score(prediction, replace(scoring, best=None))


@pytest.mark.parametrize(("goal", "sign"), [(Goal.MAXIMIZE, 1.0), (Goal.MINIMIZE, -1.0)])
def test_upper_confidence_bound_is_mean_and_sigmas(goal: Goal, sign: float) -> None:
    prediction, scoring = scoring_for(goal)
    rule = UpperConfidenceBound(UpperConfidenceBound.Options(n_sigma=2.0))
    expected = sign * prediction.mean[:, 0] + 2.0 * prediction.std[:, 0]
    np.testing.assert_array_equal(rule.score(prediction, scoring), expected)


def test_upper_confidence_bound_within_bounds_falls_off_outside() -> None:
    _prediction, scoring = scoring_for(Goal.WITHIN, n_rows=4)
    prediction = Prediction(np.array([[-0.5], [0.2], [0.8], [3.0]]), np.full((4, 1), 0.1))
    rule = UpperConfidenceBound(UpperConfidenceBound.Options())
    np.testing.assert_allclose(rule.score(prediction, scoring), [-0.4, 0.1, 0.1, -1.9])


def test_uncertainty_is_the_std() -> None:
    prediction, scoring = scoring_for(Goal.LEARN)
    np.testing.assert_array_equal(Uncertainty(Uncertainty.Options()).score(prediction, scoring), prediction.std[:, 0])


def test_random_scores_come_from_the_generator_alone() -> None:
    rule = RandomScore(RandomScore.Options())
    prediction, scoring = scoring_for(Goal.LEARN, seed=8)
    np.testing.assert_array_equal(rule.score(prediction, scoring), np.random.default_rng(8).random(30))


def _draws(prediction: Prediction, n: int = 40_000) -> Any:
    """(n, n_candidates) values from the belief."""
    rng = np.random.default_rng(0)
    return rng.normal(prediction.mean[:, 0], prediction.std[:, 0], size=(n, len(prediction)))


@pytest.mark.parametrize("goal", [Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN])
@pytest.mark.parametrize("xi", [0.0, 0.15])
def test_improvements_are_those_of_drawn_labels(goal: Goal, xi: float) -> None:
    prediction, scoring = scoring_for(goal)
    scoring = replace(scoring, best=-0.9 if goal is Goal.WITHIN else scoring.best)
    merit = scoring.target.merit(np.array([scoring.best]))[0]
    gains = np.maximum(scoring.target.merit(_draws(prediction)) - merit - xi, 0.0)
    expected = ExpectedImprovement(ExpectedImprovement.Options(xi=xi)).score(prediction, scoring)
    assert (np.abs(expected - gains.mean(axis=0)) < 5 * gains.std(axis=0) / 200 + 2e-4).all()
    assert expected.max() > 0.2
    chances = ProbabilityOfImprovement(ProbabilityOfImprovement.Options(xi=xi)).score(prediction, scoring)
    np.testing.assert_allclose(chances, (gains > 0).mean(axis=0), atol=0.012)


@pytest.mark.parametrize("goal", [Goal.MINIMIZE, Goal.MAXIMIZE])
def test_the_logarithm_ranks_as_the_improvement_does(goal: Goal) -> None:
    prediction, scoring = scoring_for(goal)
    scores = LogExpectedImprovement(LogExpectedImprovement.Options(xi=0.1)).score(prediction, scoring)
    plain = ExpectedImprovement(ExpectedImprovement.Options(xi=0.1)).score(prediction, scoring)
    np.testing.assert_allclose(np.exp(scores), plain, rtol=1e-9)


def test_the_logarithm_tells_apart_what_the_improvement_cannot() -> None:
    _prediction, scoring = scoring_for(Goal.MAXIMIZE, n_rows=3)
    prediction = Prediction(np.array([[-90.0], [-80.0], [-100.0]]), np.ones((3, 1)))
    assert (ExpectedImprovement(ExpectedImprovement.Options()).score(prediction, scoring) == 0).all()
    scores = LogExpectedImprovement(LogExpectedImprovement.Options()).score(prediction, scoring)
    assert np.argsort(-scores).tolist() == [1, 0, 2]


@pytest.mark.parametrize("rule", [ExpectedImprovement, ProbabilityOfImprovement])
def test_nothing_improves_on_a_label_within_the_bounds(rule: Any) -> None:
    prediction, scoring = scoring_for(Goal.WITHIN)
    scores = rule(rule.Options()).score(prediction, replace(scoring, best=0.5))
    np.testing.assert_array_equal(scores, np.zeros(30))
    np.testing.assert_array_equal(rule(rule.Options(xi=0.4)).score(prediction, replace(scoring, best=1.3)), scores)


def test_as_good_as_the_best_without_doubt_is_no_improvement() -> None:
    _prediction, scoring = scoring_for(Goal.WITHIN, n_rows=4)
    scoring = replace(scoring, best=2.0)
    prediction = Prediction(np.array([[2.0], [-1.0], [1.75], [0.5]]), np.zeros((4, 1)))
    chances = ProbabilityOfImprovement(ProbabilityOfImprovement.Options()).score(prediction, scoring)
    np.testing.assert_array_equal(chances, [0.0, 0.0, 1.0, 1.0])
    gains = ExpectedImprovement(ExpectedImprovement.Options()).score(prediction, scoring)
    np.testing.assert_array_equal(gains, [0.0, 0.0, 0.25, 1.0])


def test_the_probability_within_is_that_of_drawn_labels() -> None:
    prediction, scoring = scoring_for(Goal.WITHIN)
    draws = _draws(prediction)
    scores = ProbabilityWithin(ProbabilityWithin.Options()).score(prediction, scoring)
    np.testing.assert_allclose(scores, ((draws >= 0) & (draws <= 1)).mean(axis=0), atol=0.012)
    assert scores.max() > 0.3


def test_a_straddle_is_half_an_interval_of_95_percent_less_the_way_to_the_nearest_bound() -> None:
    prediction, scoring = scoring_for(Goal.WITHIN)
    low, high = np.quantile(_draws(prediction), [0.025, 0.975], axis=0)
    way = np.minimum(np.abs(prediction.mean[:, 0]), np.abs(prediction.mean[:, 0] - 1.0))
    scores = Straddle(Straddle.Options()).score(prediction, scoring)
    np.testing.assert_allclose(scores, (high - low) / 2 - way, atol=0.03 * prediction.std.max())
    is_open = ((low < 0) & (high > 0)) | ((low < 1) & (high > 1))
    clear = np.abs(scores) > 0.05
    np.testing.assert_array_equal((scores > 0)[clear], is_open[clear])
    assert is_open.any()
    assert not is_open.all()


@pytest.mark.parametrize("rule", [ProbabilityWithin, Straddle])
def test_a_goal_without_bounds_is_refused(rule: Any) -> None:
    with pytest.raises(ContractError, match="goal 'maximize' has no bounds"):
        rule(rule.Options()).score(*scoring_for(Goal.MAXIMIZE))


@pytest.mark.parametrize("rule", [ExpectedImprovement, LogExpectedImprovement, UpperConfidenceBound])
def test_a_belief_too_large_to_reckon_with_is_named(rule: Any) -> None:
    prediction, scoring = scoring_for(Goal.MAXIMIZE)
    mean, std = prediction.mean.copy(), prediction.std.copy()
    mean[7], std[7] = 1.7e308, 1.7e308
    with pytest.raises(ContractError, match=r"score of row 7 is inf \(1 rows in all\): with mean 1.7e\+308"):
        rule(rule.Options()).score(Prediction(mean, std), replace(scoring, best=-1.7e308))


def test_each_rule_says_which_goals_it_serves() -> None:
    with_best = {Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN}
    assert ExpectedImprovement.goals == ProbabilityOfImprovement.goals == with_best
    assert LogExpectedImprovement.goals == {Goal.MINIMIZE, Goal.MAXIMIZE}
    assert ProbabilityWithin.goals == Straddle.goals == {Goal.WITHIN}
    assert UpperConfidenceBound.goals == with_best
    assert Uncertainty.goals == set(Goal) - {Goal.CLASSIFY}
    assert RandomScore.goals == set(Goal)


@pytest.mark.parametrize(
    "rule",
    [
        ExpectedImprovement,
        LogExpectedImprovement,
        ProbabilityOfImprovement,
        UpperConfidenceBound,
        Uncertainty,
        ProbabilityWithin,
        Straddle,
    ],
)
def test_a_prediction_of_other_candidates_is_refused(rule: Any) -> None:
    prediction, scoring = scoring_for(Goal.WITHIN if Goal.WITHIN in rule.goals else Goal.MAXIMIZE)
    short = Prediction(prediction.mean[1:], prediction.std[1:])
    with pytest.raises(ContractError, match=r"shape \(29, 1\); \(30, 1\) is needed"):
        rule(rule.Options()).score(short, scoring)


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        (ExpectedImprovement, "xi"),
        (LogExpectedImprovement, "xi"),
        (ProbabilityOfImprovement, "xi"),
        (UpperConfidenceBound, "n_sigma"),
        (Straddle, "n_sigma"),
    ],
)
@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_options_out_of_range_are_refused(rule: Any, key: str, bad: float) -> None:
    with pytest.raises(ValidationError, match=key):
        rule.Options(**{key: bad})
