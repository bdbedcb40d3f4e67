"""When the model is accurate enough, or gets no better."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from active_learning.domain.target import Goal
from active_learning.stopping.accuracy import ErrorBelow, ErrorPlateau
from active_learning.testing.stopping import progress_of

ERRORS = st.lists(st.floats(0, 1e3), max_size=12).map(tuple)


def _plateau(rounds: int, min_improvement: float = 0.05) -> ErrorPlateau:
    return ErrorPlateau(ErrorPlateau.Options(rounds=rounds, min_improvement=min_improvement))


def _stops(rule: Any, errors: tuple[float, ...]) -> bool:
    return rule.check(progress_of(errors=errors, goal=Goal.LEARN)) is not None


def test_the_newest_model_must_be_accurate_enough() -> None:
    rule = ErrorBelow(ErrorBelow.Options(max=0.1))
    assert not _stops(rule, ())
    assert not _stops(rule, (0.05, 0.1000001))
    assert _stops(rule, (0.3, 0.1))
    verdict = rule.check(progress_of(errors=(0.3, 0.0874), goal=Goal.LEARN))
    assert verdict is not None
    assert verdict.reason == "The model's error, 0.0874 eV/atom, is no larger than 0.1 eV/atom."
    assert verdict.evidence == {"error": 0.0874, "max": 0.1, "unit": "eV/atom"}


@pytest.mark.parametrize("rule", [ErrorBelow(ErrorBelow.Options(max=0.2)), _plateau(1)])
def test_a_share_of_wrong_classes_has_no_unit(rule: Any) -> None:
    verdict = rule.check(progress_of(errors=(0.1,) * 4, goal=Goal.CLASSIFY))
    assert "eV" not in verdict.reason
    assert verdict.evidence["unit"] == ""


def test_an_error_that_falls_goes_on_and_one_that_does_not_stops() -> None:
    rule = _plateau(2)
    falling = tuple(0.9**i for i in range(12))
    assert not any(_stops(rule, falling[:n]) for n in range(13))
    verdict = rule.check(progress_of(errors=(0.4, 0.3, 0.2, 0.2, 0.2, 0.196, 0.196)))
    assert verdict is not None
    assert verdict.reason == (
        "In the last 2 rounds the model's error fell by 2 %, and more than 5 % is asked for: the lowest running median "
        "was 0.2 eV/atom before and 0.196 eV/atom since."
    )
    assert verdict.evidence == {
        "before": 0.2,
        "last": 0.196,
        "fall": pytest.approx(0.02),
        "min_improvement": 0.05,
        "rounds": 2,
        "unit": "eV/atom",
    }


def test_an_error_that_rises_did_not_fall() -> None:
    verdict = _plateau(1).check(progress_of(errors=(0.2, 0.2, 0.3, 0.3)))
    assert verdict is not None
    assert verdict.reason == (
        "In the last round the model's error did not fall: the lowest running median was 0.2 eV/atom before and "
        "0.3 eV/atom since."
    )
    assert verdict.evidence["fall"] == 0


def test_there_must_be_a_running_median_before_the_last_rounds() -> None:
    assert not _stops(_plateau(4), (0.2,) * 6)
    assert _stops(_plateau(4), (0.2,) * 7)
    assert not _stops(_plateau(1), (0.2,) * 3)


def test_a_fall_of_exactly_the_least_is_too_little() -> None:
    assert _stops(_plateau(1, 0.25), (1.0, 1.0, 0.75, 0.75))
    assert not _stops(_plateau(1, 0.25), (1.0, 1.0, 0.5, 0.5))


def test_an_error_of_zero_cannot_fall() -> None:
    assert _stops(_plateau(1, 0.0), (0.0,) * 4)


def test_one_round_out_of_line_neither_stops_a_campaign_nor_keeps_it_alive() -> None:
    falling = [0.9**i for i in range(12)]
    lucky = (*falling[:3], 0.01, *falling[4:])
    assert min(lucky[:4]) < min(lucky[4:])
    assert not any(_stops(_plateau(4), lucky[:n]) for n in range(13))
    flat = (1.0, 1.0, 1.0, 1.0, 0.1, 1.0, 1.0)
    assert _stops(_plateau(3), flat)


def test_noise_stops_fewer_campaigns_too_early_than_it_would_without_the_median() -> None:
    def without_median(errors: tuple[float, ...]) -> bool:
        return len(errors) > 5 and min(errors[-5:]) >= 0.95 * min(errors[:-5])

    rng = np.random.default_rng(0)
    early = np.zeros(2)
    for _ in range(100):
        errors = tuple(np.exp(-np.arange(17) / 8 + rng.normal(0, 0.3, 17)).tolist())
        early[0] += any(_stops(_plateau(5), errors[:n]) for n in range(18))
        early[1] += any(without_median(errors[:n]) for n in range(18))
    assert early[0] < 15 < early[1]


@given(errors=ERRORS, rounds=st.integers(1, 5), least=st.floats(0, 0.5), more=st.floats(0, 0.4))
def test_who_asks_for_more_stops_no_later(errors: tuple[float, ...], rounds: int, least: float, more: float) -> None:
    assert not _stops(_plateau(rounds, least), errors) or _stops(_plateau(rounds, least + more), errors)


@given(errors=ERRORS, rounds=st.integers(1, 5), power=st.integers(-20, 20))
def test_a_plateau_does_not_depend_on_the_unit(errors: tuple[float, ...], rounds: int, power: int) -> None:
    scaled = tuple(error * 2.0**power for error in errors)
    if all(error > 1e-200 for error in errors):
        assert _stops(_plateau(rounds), errors) == _stops(_plateau(rounds), scaled)


@given(errors=ERRORS, rounds=st.integers(1, 5))
def test_the_evidence_is_json_whatever_the_errors(errors: tuple[float, ...], rounds: int) -> None:
    for rule in (_plateau(rounds), ErrorBelow(ErrorBelow.Options(max=10.0))):
        verdict = rule.check(progress_of(errors=errors))
        if verdict is not None:
            assert json.loads(json.dumps(dict(verdict.evidence), allow_nan=False)) == verdict.evidence


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (ErrorBelow, {"max": 0}, "max"),
        (ErrorBelow, {"max": float("inf")}, "max"),
        (ErrorBelow, {}, "max"),
        (ErrorPlateau, {}, "rounds"),
        (ErrorPlateau, {"rounds": 0}, "rounds"),
        (ErrorPlateau, {"rounds": 3, "min_improvement": 1}, "min_improvement"),
        (ErrorPlateau, {"rounds": 3, "min_improvement": -0.1}, "min_improvement"),
    ],
)
def test_options_out_of_range_are_refused(rule: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rule.Options(**options)
