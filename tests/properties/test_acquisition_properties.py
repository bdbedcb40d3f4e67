"""What holds for acquisitions whatever the beliefs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_learning.acquisition.rules import (
    ExpectedImprovement,
    Uncertainty,
    UpperConfidenceBound,
    expected_improvement,
)
from active_learning.domain.prediction import Prediction
from active_learning.domain.protocols import Scoring
from active_learning.domain.target import Goal, Target
from active_learning.testing.acquisition import KnownModel

values = st.floats(-1e6, 1e6)
stds = st.one_of(st.just(0.0), st.just(1e-160), st.floats(0.0, 1e6))
beliefs = st.lists(st.tuples(values, stds), min_size=1, max_size=8).map(np.array)


def _score(rule: Any, goal: Goal, belief: Any, best: float) -> Any:
    X = np.zeros((len(belief), 1))
    target = Target("property", goal, "eV")
    scoring = Scoring(target, best, 1, len(X), lambda: X, X, belief[:, 0], KnownModel(), np.random.default_rng(0))
    return rule.score(Prediction(belief[:, :1], belief[:, 1:]), scoring)


RULES = [
    ExpectedImprovement(ExpectedImprovement.Options(xi=0.5)),
    UpperConfidenceBound(UpperConfidenceBound.Options(n_sigma=1.5)),
    Uncertainty(Uncertainty.Options()),
]


@given(gain=values, std=stds)
def test_expected_improvement_is_never_below_zero_nor_below_the_gain(gain: float, std: float) -> None:
    assert expected_improvement(np.array([gain]), np.array([std]))[0] >= max(gain, 0.0)


@given(gain=values, std=stds, more=st.floats(1.0, 100.0))
def test_expected_improvement_does_not_fall_with_the_std(gain: float, std: float, more: float) -> None:
    less_sure, sure = expected_improvement(np.array([gain, gain]), np.array([std * more, std]))
    assert less_sure >= sure * (1 - 1e-11)


@given(gain=values, std=stds, more=st.floats(0.0, 1e6))
def test_expected_improvement_does_not_fall_with_the_mean(gain: float, std: float, more: float) -> None:
    better, worse = expected_improvement(np.array([gain + more, gain]), np.array([std, std]))
    assert better >= worse * (1 - 1e-11)


@settings(max_examples=25)
@given(gain=st.floats(-2.0, 2.0), std=st.floats(0.1, 3.0), seed=st.integers(0, 2**31))
def test_expected_improvement_is_the_mean_of_drawn_improvements(gain: float, std: float, seed: int) -> None:
    drawn = np.maximum(np.random.default_rng(seed).normal(gain, std, 40_000), 0.0)
    error = 6 * drawn.std() / np.sqrt(len(drawn)) + 1e-4
    assert abs(expected_improvement(np.array([gain]), np.array([std]))[0] - drawn.mean()) < error


@pytest.mark.parametrize("rule", RULES)
@given(belief=beliefs, best=values, seed=st.integers(0, 100))
def test_the_order_of_the_candidates_does_not_matter(rule: Any, belief: Any, best: float, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(belief))
    scores = _score(rule, Goal.MAXIMIZE, belief, best)
    np.testing.assert_allclose(_score(rule, Goal.MAXIMIZE, belief[order], best), scores[order], rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
@given(belief=beliefs, best=values)
def test_minimizing_is_maximizing_in_a_mirror(rule: Any, belief: Any, best: float) -> None:
    mirrored = belief * [-1.0, 1.0]
    np.testing.assert_array_equal(
        _score(rule, Goal.MINIMIZE, belief, best), _score(rule, Goal.MAXIMIZE, mirrored, -best)
    )


@given(belief=beliefs, best=values)
def test_without_optimism_the_bound_is_the_mean(belief: Any, best: float) -> None:
    rule = UpperConfidenceBound(UpperConfidenceBound.Options(n_sigma=0.0))
    np.testing.assert_array_equal(_score(rule, Goal.MAXIMIZE, belief, best), belief[:, 0])


@given(value=values, std=stds, low=st.floats(-1e3, 0), width=st.floats(1e-3, 1e3))
def test_within_bounds_no_merit_exceeds_the_optimism(value: float, std: float, low: float, width: float) -> None:
    X = np.zeros((1, 1))
    target = Target("property", Goal.WITHIN, "eV", low, low + width)
    scoring = Scoring(target, None, 1, len(X), lambda: X, X, np.zeros(1), KnownModel(), np.random.default_rng(0))
    prediction = Prediction(np.array([[value]]), np.array([[std]]))
    score = UpperConfidenceBound(UpperConfidenceBound.Options()).score(prediction, replace(scoring, best=low))
    assert score[0] <= std
    assert (score[0] == std) or not low <= value <= low + width
