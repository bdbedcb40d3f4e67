"""When a campaign stops, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from active_learning.domain.target import Goal
from active_learning.stopping.rules import Labels, NoImprovement, PoolExhausted, UncertaintyBelow
from active_learning.testing.stopping import progress_of


def _no_improvement(rounds: int, min_delta: float = 0.0) -> NoImprovement:
    return NoImprovement(NoImprovement.Options(rounds=rounds, min_delta=min_delta))


def _reason(verdict: Any) -> str:
    assert verdict is not None
    return str(verdict.reason)


def test_labels_stop_at_their_number_and_say_so() -> None:
    rule = Labels(Labels.Options(max=120))
    assert rule.check(progress_of(n_candidates=500, n_labels=119, n_pending=5)) is None
    verdict = rule.check(progress_of(n_candidates=500, n_labels=121))
    assert _reason(verdict) == "The budget of 120 labels is used up: 121 are there."
    assert verdict is not None
    assert verdict.evidence == {"n_labels": 121, "max": 120}


@pytest.mark.parametrize(("n_labels", "n_pending", "left"), [(0, 0, 10), (4, 3, 3), (4, 6, 0), (9, 8, 0), (12, 0, 0)])
def test_what_is_being_labeled_counts_in_the_budget(n_labels: int, n_pending: int, left: int) -> None:
    rule = Labels(Labels.Options(max=10))
    assert rule.remaining(progress_of(n_labels=n_labels, n_pending=n_pending)) == left


def test_a_round_that_betters_the_best_starts_the_count_anew() -> None:
    rule = _no_improvement(2)
    assert rule.check(progress_of(best=(-1.0, -1.0, -2.0, -2.0))) is None
    verdict = rule.check(progress_of(best=(-1.0, -1.0, -2.0, -2.0, -2.0)))
    assert _reason(verdict) == "No improvement in 2 rounds: the best, -2 eV/atom, was found in round 2."
    assert verdict is not None
    assert verdict.evidence == {
        "best": -2.0,
        "best_round": 2,
        "improved_round": 2,
        "rounds": 2,
        "min_delta": 0.0,
        "unit": "eV/atom",
    }


def test_the_first_design_is_the_base_and_no_round_of_its_own() -> None:
    rule = _no_improvement(1)
    assert rule.check(progress_of()) is None
    assert rule.check(progress_of(best=(-1.0,))) is None
    assert "1 round: the best, -1 eV/atom, was found in round 0" in _reason(rule.check(progress_of(best=(-1.0, -1.0))))


def test_maximizing_counts_upwards() -> None:
    rule = _no_improvement(1)
    assert rule.check(progress_of(best=(1.0, 2.0), goal=Goal.MAXIMIZE)) is None
    assert rule.check(progress_of(best=(1.0, 1.0), goal=Goal.MAXIMIZE)) is not None


def test_small_steps_add_up_to_an_improvement_but_do_not_count_one_by_one() -> None:
    best = (0.0, -0.04, -0.08, -0.12)
    assert _no_improvement(2, 0.1).check(progress_of(best=best)) is None
    verdict = _no_improvement(2, 0.1).check(progress_of(best=best[:3]))
    assert _reason(verdict) == (
        "No improvement of more than 0.1 eV/atom in 2 rounds: the best, -0.08 eV/atom, was found in round 2."
    )
    assert verdict is not None
    assert (verdict.evidence["best_round"], verdict.evidence["improved_round"]) == (2, 0)


def test_a_step_of_exactly_min_delta_is_no_improvement() -> None:
    assert _no_improvement(1, 0.5).check(progress_of(best=(-1.0, -1.5))) is not None
    assert _no_improvement(1, 0.5).check(progress_of(best=(-1.0, -1.75))) is None


def test_uncertainty_waits_for_a_model() -> None:
    rule = UncertaintyBelow(UncertaintyBelow.Options(std=0.05))
    assert rule.check(progress_of(max_std=None)) is None
    assert rule.check(progress_of(max_std=0.05)) is None
    verdict = rule.check(progress_of(max_std=0.0312))
    expected = "The largest predicted standard deviation, 0.0312 eV/atom, is below 0.05 eV/atom."
    assert _reason(verdict) == expected
    assert verdict is not None
    assert verdict.evidence == {"max_std": 0.0312, "std": 0.05, "unit": "eV/atom"}


def test_an_exhausted_pool_has_nothing_left_and_nothing_on_its_way() -> None:
    rule = PoolExhausted(PoolExhausted.Options())
    assert rule.check(progress_of(n_candidates=9, n_labels=7, n_available=1)) is None
    assert rule.check(progress_of(n_candidates=9, n_labels=8, n_pending=1, n_available=0)) is None
    verdict = rule.check(progress_of(n_candidates=9, n_labels=8, n_available=0))
    expected = "The pool is exhausted: of 9 candidates 8 are labeled and none is left to ask for."
    assert _reason(verdict) == expected
    assert verdict is not None
    assert verdict.evidence == {"n_candidates": 9, "n_labels": 8}


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (Labels, {"max": 0}, "max"),
        (Labels, {}, "max"),
        (NoImprovement, {"rounds": 0}, "rounds"),
        (NoImprovement, {"rounds": 1, "min_delta": -1}, "min_delta"),
        (UncertaintyBelow, {"std": 0}, "std"),
        (PoolExhausted, {"max": 3}, "max"),
    ],
)
def test_options_out_of_range_are_refused(rule: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rule.Options(**options)
