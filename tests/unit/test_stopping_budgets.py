"""When what a campaign may cost is spent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from active_learning.stopping.budgets import Cost, WallTime
from active_learning.testing.stopping import progress_of

CASES = [(Cost, "core_s"), (WallTime, "elapsed_s")]


def _rule(kind: Any, limit: Any) -> Any:
    return kind(kind.Options(max=limit))


def test_the_run_time_of_all_jobs_is_spent_when_it_reaches_the_limit() -> None:
    rule = _rule(Cost, "200 h")
    assert rule.check(progress_of(core_s=719_999.9)) is None
    assert rule.check(progress_of(core_s=720_000.0)) is not None
    verdict = rule.check(progress_of(core_s=732_000.0))
    assert verdict.reason == "The budget of 200 h of core time is used up: the jobs held 203.3 h."
    assert verdict.evidence == {"core_s": 732_000.0, "max_core_s": 720_000.0}


def test_time_on_the_wall_is_spent_however_little_the_jobs_ran() -> None:
    rule = _rule(WallTime, "1 day")
    assert rule.check(progress_of(elapsed_s=86_399.0, core_s=1e9)) is None
    verdict = rule.check(progress_of(elapsed_s=90_000.0, core_s=0.0))
    assert verdict.reason == "The time of 24 h is used up: the campaign was created 25 h ago."
    assert verdict.evidence == {"elapsed_s": 90_000.0, "max_s": 86_400.0}


@pytest.mark.parametrize(
    ("limit", "said"), [(30, "30 s"), ("10 min", "10 min"), ("90 min", "1.5 h"), ("60 days", "1,440 h")]
)
def test_limits_are_said_in_a_unit_that_can_be_read(limit: Any, said: str) -> None:
    assert f"The time of {said} is used up" in _rule(WallTime, limit).check(progress_of(elapsed_s=1e8)).reason


@pytest.mark.parametrize(("kind", "field"), CASES)
@given(spent=st.floats(0, 1e9), more=st.floats(0, 1e9), limit=st.floats(1e-3, 1e9))
def test_what_is_spent_stays_spent(kind: Any, field: str, spent: float, more: float, limit: float) -> None:
    rule = _rule(kind, limit)
    before, after = (rule.check(progress_of(**{field: value})) for value in (spent, spent + more))
    assert (before is not None) == (spent >= limit)
    assert before is None or after is not None


@pytest.mark.parametrize(("kind", "field"), CASES)
@pytest.mark.parametrize("limit", [0, -5, "a while", True])
def test_a_limit_that_is_no_duration_is_refused(kind: Any, field: str, limit: Any) -> None:
    with pytest.raises(ValidationError, match="is not a duration"):
        kind.Options(max=limit)
