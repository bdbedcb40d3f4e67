"""When the next round is not worth it, or changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from active_learning.domain.target import Goal, Target
from active_learning.errors import ContractError
from active_learning.stopping.foresight import ExpectedGainBelow, Stabilized
from active_learning.testing.stopping import progress_of

NUMBERS = {"expected_gain": st.floats(0, 2), "run_s": st.floats(0, 1e5), "stability": st.floats(-1, 1)}
FORECASTS = st.lists(st.fixed_dictionaries({}, optional=NUMBERS), max_size=6).map(tuple)


def _gain(**options: Any) -> ExpectedGainBelow:
    return ExpectedGainBelow(ExpectedGainBelow.Options(**options))


def _stable(**options: Any) -> Stabilized:
    return Stabilized(Stabilized.Options(**options))


def _stops(rule: Any, forecasts: tuple[Mapping[str, float], ...]) -> bool:
    return rule.check(progress_of(forecasts=forecasts)) is not None


def _gains(*gains: float) -> tuple[Mapping[str, float], ...]:
    return tuple({"expected_gain": gain} for gain in gains)


def _stabilities(*values: float) -> tuple[Mapping[str, float], ...]:
    return tuple({"stability": value} for value in values)


def test_each_of_the_last_rounds_must_expect_too_little() -> None:
    rule = _gain(min_gain=0.01)
    assert not _stops(rule, ())
    assert not _stops(rule, _gains(0.001))
    assert not _stops(rule, _gains(0.001, 0.02, 0.001))
    assert not _stops(rule, _gains(0.001, 0.01))
    verdict = rule.check(progress_of(forecasts=_gains(0.5, 0.009, 0.0042)))
    assert verdict is not None
    assert verdict.reason == (
        "Each of the last 2 rounds expected its batch to improve the best by less than 0.01 eV/atom: "
        "the newest by 0.0042 eV/atom."
    )
    assert verdict.evidence == {"expected_gain": 0.0042, "rounds": 2, "unit": "eV/atom", "min_gain": 0.01}


def test_a_gain_is_weighed_against_the_run_time_it_costs() -> None:
    rule = _gain(min_gain_per_hour=0.01, rounds=1)
    assert not _stops(rule, ({"expected_gain": 0.02, "run_s": 7200.0},))
    verdict = rule.check(progress_of(forecasts=({"expected_gain": 0.02, "run_s": 9000.0},)))
    assert verdict is not None
    assert verdict.reason == (
        "The last round expected its batch to improve the best by less than 0.01 eV/atom per hour of run time: "
        "the newest by 0.02 eV/atom in 2.5 h."
    )
    assert verdict.evidence == {
        "expected_gain": 0.02,
        "rounds": 1,
        "unit": "eV/atom",
        "run_s": 9000.0,
        "gain_per_hour": pytest.approx(0.008),
        "min_gain_per_hour": 0.01,
    }


def test_a_batch_that_costs_nothing_is_always_worth_it() -> None:
    assert not _stops(_gain(min_gain_per_hour=1.0), ({"expected_gain": 0.0, "run_s": 0.0},) * 3)


def test_a_cost_that_nobody_knows_is_no_reason_to_stop() -> None:
    assert not _stops(_gain(min_gain_per_hour=1.0), _gains(0.0, 0.0, 0.0))


def test_a_last_round_that_chose_nothing_leaves_the_verdict_as_it_was() -> None:
    forecasts = (*_gains(0.001, 0.001), {"stability": 0.9})
    assert _stops(_gain(min_gain=0.01), forecasts)


@pytest.mark.parametrize("goal", [Goal.LEARN, Goal.CLASSIFY])
def test_without_a_best_there_is_nothing_to_gain_on(goal: Goal) -> None:
    rule = _gain(min_gain=0.01)
    with pytest.raises(ContractError, match=f"goal '{goal}' has none; take 'error_plateau'"):
        rule.check(progress_of(goal=goal))
    assert rule.refusal(Target("band_gap", goal)) is not None
    assert rule.refusal(Target("band_gap", Goal.MINIMIZE)) is None


@pytest.mark.parametrize(
    ("options", "given_"), [({}, "neither is"), ({"min_gain": 1, "min_gain_per_hour": 1}, "both are")]
)
def test_one_of_gain_and_gain_per_hour_is_asked_for(options: dict[str, float], given_: str) -> None:
    with pytest.raises(ValidationError, match=f"either min_gain or min_gain_per_hour; {given_} given"):
        ExpectedGainBelow.Options(**options)


def test_predictions_have_settled_when_enough_rounds_agree() -> None:
    rule = _stable()
    assert not _stops(rule, ())
    assert not _stops(rule, ({}, *_stabilities(1.0, 1.0)))
    assert not _stops(rule, _stabilities(1.0, 1.0, 0.9899, 1.0, 1.0))
    assert _stops(rule, ({}, *_stabilities(0.99, 0.99, 0.99)))
    verdict = rule.check(progress_of(forecasts=_stabilities(0.2, 0.995, 0.993, 0.999), goal=Goal.LEARN))
    assert verdict is not None
    assert verdict.reason == (
        "The predictions have settled: in the last 3 rounds their rank correlation with those of the model before was "
        "0.993 or more, and 0.99 is enough."
    )
    assert verdict.evidence == {"stability": [0.995, 0.993, 0.999], "correlation": 0.99, "rounds": 3}


@given(forecasts=FORECASTS, least=st.floats(1e-6, 1), more=st.floats(0, 1), rounds=st.integers(1, 4))
@pytest.mark.parametrize("option", ["min_gain", "min_gain_per_hour"])
def test_who_asks_for_more_gain_or_fewer_rounds_stops_no_later(
    option: str, forecasts: tuple[Mapping[str, float], ...], least: float, more: float, rounds: int
) -> None:
    if _stops(_gain(**{option: least, "rounds": rounds + 1}), forecasts):
        assert _stops(_gain(**{option: least, "rounds": rounds}), forecasts)
        assert _stops(_gain(**{option: least + more, "rounds": rounds + 1}), forecasts)


@given(forecasts=FORECASTS, asked=st.floats(0.5, 1), rounds=st.integers(1, 4))
def test_who_asks_for_less_agreement_or_fewer_rounds_stops_no_later(
    forecasts: tuple[Mapping[str, float], ...], asked: float, rounds: int
) -> None:
    if _stops(_stable(correlation=asked, rounds=rounds + 1), forecasts):
        assert _stops(_stable(correlation=asked, rounds=rounds), forecasts)
        assert _stops(_stable(correlation=asked / 2, rounds=rounds + 1), forecasts)


@given(forecasts=FORECASTS)
def test_the_evidence_is_json_whatever_was_foretold(forecasts: tuple[Mapping[str, float], ...]) -> None:
    rules = (_gain(min_gain=1.0, rounds=1), _gain(min_gain_per_hour=1.0, rounds=1), _stable(correlation=0.1, rounds=1))
    for rule in rules:
        verdict = rule.check(progress_of(forecasts=forecasts))
        if verdict is not None:
            assert json.loads(json.dumps(dict(verdict.evidence), allow_nan=False)) == verdict.evidence


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (ExpectedGainBelow, {"min_gain": 0}, "min_gain"),
        (ExpectedGainBelow, {"min_gain_per_hour": -1}, "min_gain_per_hour"),
        (ExpectedGainBelow, {"min_gain": 1, "rounds": 0}, "rounds"),
        (Stabilized, {"correlation": 1.01}, "correlation"),
        (Stabilized, {"correlation": 0}, "correlation"),
        (Stabilized, {"rounds": 0}, "rounds"),
    ],
)
def test_options_out_of_range_are_refused(rule: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rule.Options(**options)
