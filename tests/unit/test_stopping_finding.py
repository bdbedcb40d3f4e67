"""When what was sought is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.stopping.finding import Found
from active_learning.testing.stopping import progress_of

VALUES = st.lists(st.floats(-3, 3), max_size=8).map(tuple)


def _found(**options: Any) -> Found:
    return Found(Found.Options(**options))


def _stops(rule: Found, goal: Goal, *values: float) -> bool:
    return rule.check(progress_of(values=values, goal=goal)) is not None


def test_to_minimize_a_label_at_or_below_the_value_is_sought() -> None:
    rule = _found(value=-2.0)
    assert not _stops(rule, Goal.MINIMIZE)
    assert not _stops(rule, Goal.MINIMIZE, -1.0, 5.0, -1.999)
    assert _stops(rule, Goal.MINIMIZE, 3.0, -2.0)
    verdict = rule.check(progress_of(values=(-1.0, -2.3, 0.0)))
    assert verdict is not None
    assert verdict.reason == "Found: 1 label is at most -2 eV/atom; the best is -2.3 eV/atom."
    assert verdict.evidence == {"value": -2.0, "n_found": 1, "count": 1, "best": -2.3, "unit": "eV/atom"}


def test_to_maximize_a_label_at_or_above_the_value_is_sought() -> None:
    rule = _found(value=2.0, count=2)
    assert not _stops(rule, Goal.MAXIMIZE, 2.0, -9.0)
    verdict = rule.check(progress_of(values=(2.0, 1.0, 2.5), goal=Goal.MAXIMIZE))
    assert verdict is not None
    assert verdict.reason == "Found: 2 labels are at least 2 eV/atom, and 2 were sought; the best is 2.5 eV/atom."


def test_within_bounds_any_label_between_them_is_found_the_bounds_included() -> None:
    rule = _found()
    assert not _stops(rule, Goal.WITHIN, -1.001, 0.001)
    assert _stops(rule, Goal.WITHIN, -1.0)
    assert _stops(rule, Goal.WITHIN, 0.0)
    verdict = rule.check(progress_of(values=(2.0, -0.5), goal=Goal.WITHIN))
    assert verdict is not None
    assert verdict.reason == "Found: 1 label is between -1 and 0 eV/atom; the best is -0.5 eV/atom."
    assert verdict.evidence == {
        "low": -1.0,
        "high": 0.0,
        "n_found": 1,
        "count": 1,
        "best": -0.5,
        "unit": "eV/atom",
    }


@pytest.mark.parametrize(
    ("goal", "options", "message"),
    [
        (Goal.LEARN, {"value": 1.0}, "the goal 'learn' seeks none; take 'error_below' or 'labels'"),
        (Goal.CLASSIFY, {"value": 1.0}, "the goal 'classify' seeks none"),
        (Goal.WITHIN, {"value": 1.0}, r"takes no value with the goal 'within', got 1: low = -1 and high = 0"),
        (Goal.MINIMIZE, {}, "needs a value with the goal 'minimize', in the target's unit"),
        (Goal.MAXIMIZE, {"count": 2}, "needs a value with the goal 'maximize'"),
    ],
)
def test_a_value_that_does_not_go_with_the_goal_is_refused(goal: Goal, options: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        _found(**options).check(progress_of(goal=goal))


def test_a_value_that_goes_with_the_goal_is_not_refused() -> None:
    assert _found(value=0.0).refusal(Target("band_gap", Goal.MAXIMIZE)) is None
    assert _found().refusal(Target("band_gap", Goal.WITHIN, "eV", 1.0, 2.0)) is None


@given(
    values=VALUES,
    more=VALUES,
    value=st.floats(-3, 3),
    count=st.integers(1, 4),
    goal=st.sampled_from([Goal.MINIMIZE, Goal.MAXIMIZE]),
)
def test_what_is_found_stays_found_and_is_counted_as_python_counts(
    values: tuple[float, ...], more: tuple[float, ...], value: float, count: int, goal: Goal
) -> None:
    rule = _found(value=value, count=count)
    n_good = sum(v <= value if goal is Goal.MINIMIZE else v >= value for v in values)
    assert _stops(rule, goal, *values) == (n_good >= count)
    assert not _stops(rule, goal, *values) or _stops(rule, goal, *values, *more)
    verdict = rule.check(progress_of(values=values, goal=goal))
    if verdict is not None:
        assert json.loads(json.dumps(dict(verdict.evidence), allow_nan=False)) == verdict.evidence
        assert verdict.evidence["best"] == (min(values) if goal is Goal.MINIMIZE else max(values))


@pytest.mark.parametrize(
    ("options", "message"), [({"count": 0}, "count"), ({"value": float("nan")}, "value"), ({"values": 1}, "values")]
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Found.Options(**options)
