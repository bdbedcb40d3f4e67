"""Rules that share a batch as their choices have paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from active_learning.acquisition.adaptive import Adaptive
from active_learning.acquisition.rules import ExpectedImprovement, RandomScore, Uncertainty, UpperConfidenceBound
from active_learning.domain.choosing import Outcome, Scoring
from active_learning.domain.prediction import Prediction
from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError

Floats = NDArray[np.float64]

MEAN, DOUBT = {"kind": "upper_confidence_bound", "n_sigma": 0.0}, {"kind": "uncertainty"}
MEAN_NAME, DOUBT_NAME = "upper_confidence_bound(n_sigma = 0.0)", "uncertainty"
N = 30


class _NoModel:
    def predict(self, X: Floats) -> Prediction:
        raise AssertionError("nobody asks it")


def _adaptive(**options: Any) -> Adaptive:
    plain = Adaptive(Adaptive.Options(rules=(MEAN, DOUBT), **options))
    rules: list[Any] = [
        UpperConfidenceBound(UpperConfidenceBound.Options(n_sigma=0.0)),
        Uncertainty(Uncertainty.Options()),
    ]
    return plain.with_members(rules)


def _scoring(n: int, outcomes: tuple[Outcome, ...] = (), goal: Goal = Goal.MAXIMIZE, seed: int = 0) -> Scoring:
    return Scoring(
        target=Target("energy", goal, "eV"),
        best=1.0,
        n=n,
        n_candidates=N,
        load_X=lambda: np.zeros((N, 1)),
        X_labeled=np.zeros((20, 1)),
        y_labeled=np.linspace(0.0, 1.0, 20),
        model=_NoModel(),
        rng=np.random.default_rng(seed),
        outcomes=outcomes,
    )


def _belief() -> Prediction:
    """The mean rises with the row, the std falls: the two rules want opposite ends."""
    return Prediction(np.arange(N, dtype=np.float64)[:, None], np.arange(N, 0.0, -1.0)[:, None])


def _outcomes(rule: str, values: Sequence[float | None]) -> tuple[Outcome, ...]:
    return tuple(Outcome(k, rule, 0.5, 0.1, value) for k, value in enumerate(values))


def _chosen(acquisition: Adaptive, scoring: Scoring) -> NDArray[np.intp]:
    return np.argsort(-acquisition.score(_belief(), scoring), kind="stable")[: scoring.n]


def test_a_batch_is_made_of_the_rules_favorites_and_nothing_is_taken_twice() -> None:
    rows = _chosen(_adaptive(), _scoring(8)).tolist()
    from_mean = [row for row in rows if row >= N // 2]
    from_doubt = [row for row in rows if row < N // 2]
    assert sorted(from_mean, reverse=True) == [N - 1 - k for k in range(len(from_mean))]
    assert sorted(from_doubt) == list(range(len(from_doubt)))
    assert from_mean
    assert from_doubt


def test_each_pick_names_the_rule_that_took_it() -> None:
    acquisition, scoring = _adaptive(), _scoring(8)
    rows = _chosen(acquisition, scoring)
    names = acquisition.rules_of(_belief(), _scoring(8), rows)
    assert [name == MEAN_NAME for name in names] == [row >= N // 2 for row in rows]


def test_the_rule_whose_choices_have_paid_gets_most_of_the_batch() -> None:
    history = _outcomes(MEAN_NAME, [1.0] * 20) + _outcomes(DOUBT_NAME, [0.1] * 20)
    shares = [np.mean(_chosen(_adaptive(), _scoring(10, history, seed=seed)) >= N // 2) for seed in range(20)]
    assert np.mean(shares) > 0.95
    turned = _outcomes(MEAN_NAME, [0.1] * 20) + _outcomes(DOUBT_NAME, [1.0] * 20)
    shares = [np.mean(_chosen(_adaptive(), _scoring(10, turned, seed=seed)) >= N // 2) for seed in range(20)]
    assert np.mean(shares) < 0.05


def test_a_choice_that_failed_has_not_paid() -> None:
    history = _outcomes(MEAN_NAME, [None] * 20) + _outcomes(DOUBT_NAME, [1.0] * 20)
    shares = [np.mean(_chosen(_adaptive(), _scoring(10, history, seed=seed)) >= N // 2) for seed in range(20)]
    assert np.mean(shares) < 0.05


def test_to_minimize_low_labels_pay() -> None:
    history = _outcomes(MEAN_NAME, [0.0] * 20) + _outcomes(DOUBT_NAME, [1.0] * 20)
    rows = [_chosen(_adaptive(), _scoring(10, history, Goal.MINIMIZE, seed=seed)) for seed in range(20)]
    # To minimize, the lowest mean is the favorite of the first rule, and its std is the largest: both want row 0 on.
    names = [
        _adaptive().rules_of(_belief(), _scoring(10, history, Goal.MINIMIZE, seed=s), r) for s, r in enumerate(rows)
    ]
    assert np.mean([name == MEAN_NAME for batch in names for name in batch]) > 0.9


def test_what_paid_long_ago_is_forgotten() -> None:
    old_glory = _outcomes(MEAN_NAME, [1.0] * 50 + [0.1] * 10) + _outcomes(DOUBT_NAME, [1.0] * 10)
    shares = [np.mean(_chosen(_adaptive(memory=10), _scoring(10, old_glory, seed=s)) >= N // 2) for s in range(20)]
    assert np.mean(shares) < 0.2


def test_with_no_history_both_rules_get_their_turn() -> None:
    shares = [np.mean(_chosen(_adaptive(), _scoring(10, seed=seed)) >= N // 2) for seed in range(60)]
    assert 0.35 < np.mean(shares) < 0.65


def test_the_same_generator_gives_the_same_scores() -> None:
    first, second = (_adaptive().score(_belief(), _scoring(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_batch_larger_than_the_pool_takes_all() -> None:
    assert sorted(_chosen(_adaptive(), _scoring(N + 5)).tolist()) == list(range(N))


def test_no_candidates_have_no_scores() -> None:
    none = Prediction(np.empty((0, 1)), np.empty((0, 1)))
    scoring = _scoring(3)
    empty = Scoring(
        scoring.target,
        1.0,
        3,
        0,
        lambda: np.empty((0, 1)),
        scoring.X_labeled,
        scoring.y_labeled,
        _NoModel(),
        scoring.rng,
    )
    assert _adaptive().score(none, empty).shape == (0,)


def test_it_serves_what_all_of_its_rules_serve() -> None:
    assert _adaptive().goals == {Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN}
    rules: list[Any] = [ExpectedImprovement(ExpectedImprovement.Options()), RandomScore(RandomScore.Options())]
    two = Adaptive(Adaptive.Options(rules=({"kind": "expected_improvement"}, {"kind": "random"}))).with_members(rules)
    assert two.goals == {Goal.MINIMIZE, Goal.MAXIMIZE, Goal.WITHIN}


def test_without_rules_it_says_so() -> None:
    with pytest.raises(ContractError, match="adaptive needs its rules"):
        Adaptive(Adaptive.Options()).score(_belief(), _scoring(2))
