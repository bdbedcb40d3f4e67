"""The acquisition rules, against other ways to the same numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from active_learning.acquisition.rules import (
    ExpectedImprovement,
    RandomScore,
    Uncertainty,
    UpperConfidenceBound,
    expected_improvement,
)
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal
from active_learning.errors import ContractError
from active_learning.testing.acquisition import scoring_for


def _exact(gain: float, std: float) -> float:
    with mpmath.workdps(1000):
        z = mpmath.mpf(gain) / mpmath.mpf(std)
        return float(gain * mpmath.ncdf(z) + std * mpmath.npdf(z))


@pytest.mark.parametrize("z", [-37.0, -20.0, -8.0, -3.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 3.0, 8.0, 20.0, 1e3, 1e8])
@pytest.mark.parametrize("std", [1e-160, 1e-9, 1.0, 1e12])
def test_expected_improvement_is_right_to_eleven_digits(z: float, std: float) -> None:
    got = expected_improvement(np.array([z * std]), np.array([std]))[0]
    assert got == pytest.approx(_exact(z * std, std), rel=1e-11, abs=0)


def test_the_textbook_sum_would_be_wrong_in_the_tail() -> None:
    z = -12.0
    textbook = z * norm.cdf(z) + norm.pdf(z)
    ours = expected_improvement(np.array([z]), np.array([1.0]))[0]
    assert abs(ours / _exact(z, 1.0) - 1) < 1e-12 < abs(textbook / _exact(z, 1.0) - 1)


@pytest.mark.parametrize(
    ("gain", "std", "expected"),
    [
        (2.5, 0.0, 2.5),
        (-2.5, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (1e200, 1e-160, 1e200),
        (-1e200, 1e-160, 0.0),
        (0.0, 5e-324, 0.0),
        (-1.0, 1e-3, 0.0),
    ],
)
def test_expected_improvement_at_its_limits(gain: float, std: float, expected: float) -> None:
    assert expected_improvement(np.array([gain]), np.array([std]))[0] == expected


@pytest.mark.parametrize(("goal", "sign"), [(Goal.MAXIMIZE, 1.0), (Goal.MINIMIZE, -1.0)])
def test_expected_improvement_is_that_of_the_target_over_the_best_label(goal: Goal, sign: float) -> None:
    prediction, scoring = scoring_for(goal)
    assert scoring.best is not None
    rule = ExpectedImprovement(ExpectedImprovement.Options(xi=0.2))
    mean, std = prediction.mean[:, 0], prediction.std[:, 0]
    gain = sign * (mean - scoring.best) - 0.2
    expected = gain * norm.cdf(gain / std) + std * norm.pdf(gain / std)
    np.testing.assert_allclose(rule.score(prediction, scoring), expected, rtol=1e-6, atol=1e-12)


def test_expected_improvement_needs_a_best_label() -> None:
    prediction, scoring = scoring_for(Goal.MINIMIZE)
    rule = ExpectedImprovement(ExpectedImprovement.Options())
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


def test_each_rule_says_which_goals_it_serves() -> None:
    assert ExpectedImprovement.goals == {Goal.MINIMIZE, Goal.MAXIMIZE}
    assert UpperConfidenceBound.goals == {Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN}
    assert Uncertainty.goals == set(Goal) - {Goal.CLASSIFY}
    assert RandomScore.goals == set(Goal)


@pytest.mark.parametrize("rule", [ExpectedImprovement, UpperConfidenceBound, Uncertainty])
def test_a_prediction_of_other_candidates_is_refused(rule: Any) -> None:
    prediction, scoring = scoring_for(Goal.MAXIMIZE)
    short = Prediction(prediction.mean[1:], prediction.std[1:])
    with pytest.raises(ContractError, match=r"shape \(29, 1\); \(30, 1\) is needed"):
        rule(rule.Options()).score(short, scoring)


@pytest.mark.parametrize(("rule", "key"), [(ExpectedImprovement, "xi"), (UpperConfidenceBound, "n_sigma")])
@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_options_out_of_range_are_refused(rule: Any, key: str, bad: float) -> None:
    with pytest.raises(ValidationError, match=key):
        rule.Options(**{key: bad})
