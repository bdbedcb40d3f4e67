"""What labels drawn at random say of a running campaign."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from active_learning.learning.control import Drawn, acceleration, control_error

Floats = NDArray[np.float64]


def test_the_error_of_a_control_is_its_mean_absolute_error() -> None:
    found = control_error(np.array([1.0, 2.0, 3.0, 8.0]), np.array([1.5, 2.0, 2.0, 8.5]))
    assert found is not None
    assert found.mae == pytest.approx(0.5)
    assert 0.0 <= found.low < 0.5 < found.high <= 1.0
    assert control_error(np.array([1.0]), np.array([1.0])) is None


def test_the_interval_of_the_error_holds_the_true_error_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    true = np.sqrt(2 / np.pi)
    intervals = [control_error(rng.normal(size=40), np.zeros(40)) for _ in range(300)]
    inside = np.mean([i is not None and i.low <= true <= i.high for i in intervals])
    assert 0.89 <= inside <= 0.98


def test_without_a_control_or_choices_nothing_is_said_of_acceleration() -> None:
    none = np.empty(0)
    assert acceleration(none, np.ones(3)) is None
    assert acceleration(np.ones(3), none) is None


def test_a_model_that_is_not_there_yet_may_never_get_there() -> None:
    found = acceleration(np.array([0.9]), np.array([0.1, 0.2]))
    assert found is not None
    assert not found.has_reached
    assert (found.low, found.n_chosen) == (0.0, 2)


@pytest.mark.parametrize("n_control", [1, 5, 40])
def test_the_interval_holds_the_true_factor_as_often_as_it_says(n_control: int) -> None:
    """Of a model whose first choice is always the best of all: t = 1, and chance needs 1 / (1 - level) labels."""
    rng = np.random.default_rng(n_control)
    inside = []
    for _ in range(2_000):
        control = rng.random(n_control)
        found = acceleration(control, np.array([1.0]))
        assert found is not None
        inside.append(found.low <= 1 / (1 - control.max()) <= found.high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_a_model_that_chooses_at_random_is_not_faster_than_chance() -> None:
    """The median factor is near 1, whatever the distribution: here one with a heavy tail."""
    rng = np.random.default_rng(3)
    factors = []
    for _ in range(3_000):
        control, chosen = rng.pareto(1.0, size=10), rng.pareto(1.0, size=4_000)
        found = acceleration(control, chosen)
        assert found is not None
        factors.append(found.factor)
    assert 0.7 <= np.median(factors) <= 1.6


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_the_factor_lies_in_its_interval_and_falls_with_every_label_needed(
    control: list[float], chosen: list[float]
) -> None:
    found = acceleration(np.array(control), np.array(chosen))
    assert found is not None
    assert 0 <= found.low <= found.factor <= found.high < np.inf
    later = acceleration(np.array(control), np.array([min(control) - 1.0, *chosen]))
    assert later is not None
    assert later.factor < found.factor or not found.has_reached


def _campaign(pool: Floats, guess: Floats, n_rounds: int, batch: int, rng: np.random.Generator) -> tuple[Any, float]:
    """What is said of a campaign that takes the best of `guess`, one at random beside them; and its true factor."""
    is_free = np.ones(len(pool), dtype=bool)
    control, chosen, n_before = [], [], []
    for _ in range(n_rounds):
        n_before.append(len(chosen))
        at_random = int(rng.choice(np.flatnonzero(is_free)))
        is_free[at_random] = False
        control.append(pool[at_random])
        free = np.flatnonzero(is_free)
        best = free[np.argsort(-guess[free])[: batch - 1]]
        is_free[best] = False
        chosen += pool[best].tolist()
    drawn = Drawn(len(pool), np.array(chosen), np.array(n_before))
    found = acceleration(np.array(control), np.array(chosen), drawn)
    assert found is not None
    by_chance = (len(pool) + 1) / ((pool >= max(control)).sum() + 1)
    return found, by_chance / found.n_chosen


@pytest.mark.parametrize("skill", [0.5, 1.0])
@pytest.mark.parametrize(("n_candidates", "n_rounds"), [(200, 10), (500, 20), (500, 5)])
def test_in_a_small_pool_of_which_the_model_takes_the_best_the_interval_still_holds(
    skill: float, n_candidates: int, n_rounds: int
) -> None:
    rng = np.random.default_rng(n_candidates + n_rounds)
    inside, ratios = [], []
    for _ in range(250):
        pool = rng.random(n_candidates)
        guess = skill * pool + (1 - skill) * rng.random(n_candidates)
        found, true = _campaign(pool, guess, n_rounds, 10, rng)
        inside.append(found.low <= true * (1 + 1e-9) and true <= found.high * (1 + 1e-9))
        ratios.append(found.factor / true)
    assert np.mean(inside) >= 0.91
    assert np.median(ratios) == pytest.approx(1.0, abs=0.12)


def test_a_pool_that_is_very_large_is_as_one_without_end() -> None:
    control, chosen = np.array([0.1, 0.7, 0.3]), np.array([0.2, 0.9])
    endless = acceleration(control, chosen)
    large = acceleration(control, chosen, Drawn(10**9, chosen, np.zeros(3, dtype=np.intp)))
    assert endless is not None
    assert large is not None
    assert large.to_json() == pytest.approx(endless.to_json(), rel=1e-6)


def test_of_a_pool_that_is_labeled_to_the_last_candidate_all_is_known() -> None:
    control, chosen = np.array([3.0, 1.0]), np.array([4.0, 5.0, 2.0])
    found = acceleration(control, chosen, Drawn(5, chosen, np.array([0, 2])))
    assert found is not None
    # Three of five reach the level, and the model's first choice did.
    assert found.low == pytest.approx(6 / 4)
