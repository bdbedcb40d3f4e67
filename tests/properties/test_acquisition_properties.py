"""What holds for acquisitions whatever the beliefs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_learning.acquisition.classes import ClassEntropy, ClassMargin, ClassUncertainty, Disagreement
from active_learning.acquisition.level_set import ProbabilityWithin, Straddle
from active_learning.acquisition.model_gain import ExpectedModelGain
from active_learning.acquisition.normal import (
    expected_improvement,
    expected_improvement_within,
    log_expected_improvement,
    probability_between,
    probability_of_improvement,
)
from active_learning.acquisition.rules import (
    ExpectedImprovement,
    LogExpectedImprovement,
    ProbabilityOfImprovement,
    Uncertainty,
    UpperConfidenceBound,
)
from active_learning.acquisition.thompson import Thompson
from active_learning.acquisition.weighing import weighed
from active_learning.domain.choosing import Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
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
    LogExpectedImprovement(LogExpectedImprovement.Options(xi=0.5)),
    ProbabilityOfImprovement(ProbabilityOfImprovement.Options(xi=0.5)),
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


# One label, constant targets, duplicate rows, no doubt, next to none, and numbers at the end of the scale


class KnownAnyhow:
    """A model that believes what it was given about each row, whichever it is: its functions all move together."""

    def __init__(self, belief: Any) -> None:
        self._belief = belief

    def predict(self, X: Any) -> Prediction:
        rows = self._belief[X[:, 0].astype(int)]
        return Prediction(rows[:, :1], rows[:, 1:])

    def covariance_factor(self, X: Any) -> Any:
        return self.predict(X).std

    def draws(self, X: Any, n: int, *, rng: np.random.Generator) -> Any:
        believed = self.predict(X)
        with np.errstate(over="ignore"):
            return believed.mean[:, 0] + rng.uniform(-1, 1, (n, 1)) * believed.std[:, 0]


EVERY_RULE = [
    ExpectedImprovement,
    LogExpectedImprovement,
    ProbabilityOfImprovement,
    UpperConfidenceBound,
    Uncertainty,
    ProbabilityWithin,
    Straddle,
    Thompson,
    ExpectedModelGain,
]
any_values = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 1e-160, 1e-308, 5e-324, 1e160, -1e300, 1.7e308, -1.7e308]),
    st.floats(allow_nan=False, allow_infinity=False),
)
any_stds = st.one_of(
    st.sampled_from([0.0, 1.0, 1e-160, 5e-324, 1e160, 1.7e308]), st.floats(0.0, allow_nan=False, allow_infinity=False)
)
any_beliefs = st.lists(st.tuples(any_values, any_stds), min_size=1, max_size=6).map(np.array)


def _scored(rule: Any, goal: Goal, belief: Any, best: float, n: int = 2) -> Any:
    X = np.arange(float(len(belief)))[:, None]
    model = KnownAnyhow(belief)
    target = Target("property", goal, "eV", *((-1.0, 2.5) if goal is Goal.WITHIN else (None, None)))
    one_label = (np.zeros((1, 1)), np.array([best]))
    shown = best if goal.has_best else None
    scoring = Scoring(target, shown, n, len(X), lambda: X, *one_label, model, np.random.default_rng(0))
    return rule(rule.Options()).score(model.predict(X), scoring)


@settings(max_examples=100)
@pytest.mark.parametrize("rule", EVERY_RULE)
@given(belief=any_beliefs, best=any_values)
def test_scores_are_finite_or_the_row_that_is_not_is_named(rule: Any, belief: Any, best: float) -> None:
    for goal in rule.goals:
        try:
            scores = _scored(rule, goal, belief, best)
        except ContractError as error:
            assert re.search(r"of row \d", str(error))  # noqa: PT017
            assert np.abs(belief).max() > 1e300 or abs(best) > 1e300
            continue
        assert scores.shape == (len(belief),)
        assert np.isfinite(scores).all()
        if getattr(rule, "scores_are_gains", False):
            assert (scores >= 0).all()


@pytest.mark.parametrize("rule", EVERY_RULE)
@given(value=values, std=stds, n=st.integers(1, 6))
def test_candidates_that_are_all_alike_score_alike_or_in_the_order_of_their_rows(
    rule: Any, value: float, std: float, n: int
) -> None:
    for goal in rule.goals:
        scores = _scored(rule, goal, np.array([[value, std]] * 5), value, n)
        assert (np.diff(scores) <= 0).all()
        if rule is not Thompson:
            assert len(set(scores.tolist())) == 1


@given(gain=any_values, std=any_stds)
def test_the_logarithm_is_that_of_the_improvement_wherever_there_is_one(gain: float, std: float) -> None:
    plain = expected_improvement(np.array([gain]), np.array([std]))[0]
    log = log_expected_improvement(np.array([gain]), np.array([std]))[0]
    assert np.isfinite(log) or np.isinf(plain)
    if 1e-300 < plain < np.inf:
        assert abs(log - np.log(plain)) <= 1e-9 * max(1.0, abs(log))


@given(gain=values, std=stds, more=st.floats(0.0, 1e6))
def test_a_better_mean_is_never_less_likely_to_improve(gain: float, std: float, more: float) -> None:
    gains, stds_ = np.array([gain + more, gain]), np.array([std, std])
    better, worse = probability_of_improvement(gains, stds_)
    assert 0 <= worse <= better <= 1
    better, worse = log_expected_improvement(gains, stds_)
    assert better >= worse - 1e-11 * max(1.0, min(abs(worse), 1e300))


@given(gain=st.floats(-1e6, 0.0), std=st.floats(1e-160, 1e6), more=st.floats(1.0, 100.0))
def test_below_the_best_doubt_helps(gain: float, std: float, more: float) -> None:
    gains, stds_ = np.array([gain, gain]), np.array([std * more, std])
    for measure in (probability_of_improvement, log_expected_improvement):
        unsure, sure = measure(gains, stds_)
        assert unsure >= sure - 1e-11 * max(1.0, min(abs(sure), 1e300))


@given(mean=values, std=stds, width=st.floats(0.0, 1e4), more=st.floats(0.0, 1e4), reach=st.floats(1e-6, 1e4))
def test_wider_bounds_are_never_less_likely_nor_worth_less(
    mean: float, std: float, width: float, more: float, reach: float
) -> None:
    one = np.array([mean]), np.array([std])
    narrow, wide = (probability_between(-extent, extent, *one)[0] for extent in (width, width + more))
    assert 0 <= narrow <= wide + 1e-15
    assert wide <= 1
    narrow, wide = (expected_improvement_within(-extent, extent, reach, *one)[0] for extent in (width, width + more))
    assert 0 <= narrow <= wide + 1e-9 * reach
    assert wide <= reach


@given(mean=values, std=stds, far=st.floats(1.0, 100.0))
def test_the_further_outside_the_less_is_gained(mean: float, std: float, far: float) -> None:
    for measure in (
        lambda means: probability_between(-1.0, 1.0, means, np.full(2, std)),
        lambda means: expected_improvement_within(-1.0, 1.0, 3.0, means, np.full(2, std)),
    ):
        near, away = measure(np.array([mean, mean * far]))
        assert away <= near + 1e-9


@st.composite
def _probabilities(draw: Any) -> Any:
    """(n_members, n_candidates, n_classes), some of them certain, some equal."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4)))
    weights = draw(
        st.lists(
            st.sampled_from([0.0, 1e-300, 1e-9, 0.5, 1.0, 3.0]),
            min_size=int(np.prod(shape)),
            max_size=int(np.prod(shape)),
        )
    )
    weights = np.array(weights).reshape(shape) + np.eye(shape[2])[draw(st.integers(0, shape[2] - 1))]
    return weights / weights.sum(axis=2, keepdims=True)


class GivenMembers:
    def __init__(self, members: Any) -> None:
        self._members = members

    def predict(self, X: Any) -> Prediction:
        return Prediction.of_classes(
            np.arange(float(self._members.shape[2])), self.member_probabilities(X).mean(axis=0)
        )

    def member_probabilities(self, X: Any) -> Any:
        return self._members[:, X[:, 0].astype(int)]


@given(members=_probabilities())
def test_doubt_about_classes_has_its_bounds(members: Any) -> None:
    X = np.arange(float(members.shape[1]))[:, None]
    model, n_classes = GivenMembers(members), members.shape[2]
    target = Target("phase", Goal.CLASSIFY)
    scoring = Scoring(target, None, 1, len(X), lambda: X, X, X[:, 0], model, np.random.default_rng(0))
    prediction = model.predict(X)
    limits = {
        ClassUncertainty(ClassUncertainty.Options()): (0.0, 1 - 1 / n_classes),
        ClassMargin(ClassMargin.Options()): (-1.0, 0.0),
        ClassEntropy(ClassEntropy.Options()): (0.0, np.log(n_classes)),
        Disagreement(Disagreement.Options()): (0.0, np.log(n_classes)),
        Disagreement(Disagreement.Options(measure="divergence")): (0.0, np.log(len(members))),
    }
    for rule, (low, high) in limits.items():
        scores = rule.score(prediction, scoring)  # type: ignore[attr-defined]
        assert np.isfinite(scores).all()
        assert (scores >= low).all()
        assert (scores <= high + 1e-9).all()


@given(
    rows=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1), st.floats(1e-3, 1e3)), min_size=1, max_size=6),
    likelier=st.floats(0, 1),
)
def test_a_likelier_or_cheaper_label_is_never_worth_less(rows: Any, likelier: float) -> None:
    scores, success, cost = np.array(rows).T
    plain = weighed(scores, success, cost, typical_cost=1.0)
    assert (weighed(scores, np.maximum(success, likelier), cost, typical_cost=1.0) >= plain).all()
    assert (weighed(scores, success, cost * 0.5, typical_cost=1.0) >= plain).all()
    assert (plain >= 0).all()
