"""Scores weighed by the chance of success and by cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from active_learning.acquisition.weighing import weighed
from active_learning.errors import ContractError

SCORES = np.array([4.0, 0.0, 1.0, 2.0])
SUCCESS = np.array([0.5, 1.0, 0.0, 0.25])
COST = np.array([1.0, 2.0, 4.0, 2.0])


def test_a_score_is_multiplied_by_success_and_divided_by_relative_cost() -> None:
    np.testing.assert_array_equal(weighed(SCORES, SUCCESS, COST), [4.0, 0.0, 0.0, 0.5])
    np.testing.assert_array_equal(weighed(SCORES, SUCCESS, None), [2.0, 0.0, 0.0, 0.5])
    np.testing.assert_array_equal(weighed(SCORES, None, COST), [8.0, 0.0, 0.5, 2.0])


def test_the_gain_for_a_unit_of_cost_is_that_of_drawn_labels() -> None:
    succeeded = np.random.default_rng(0).random((40_000, 4)) < SUCCESS
    gained = (succeeded * SCORES).mean(axis=0) / (COST / np.median(COST))
    np.testing.assert_allclose(weighed(SCORES, SUCCESS, COST), gained, atol=0.05)


def test_weighing_by_nothing_is_a_copy() -> None:
    same = weighed(SCORES, None, None)
    np.testing.assert_array_equal(same, SCORES)
    assert not np.shares_memory(same, SCORES)


def test_the_unit_of_cost_does_not_matter() -> None:
    np.testing.assert_allclose(weighed(SCORES, None, 3600 * COST), weighed(SCORES, None, COST))


def test_blocks_with_the_same_typical_cost_are_weighed_as_the_whole() -> None:
    parts = [weighed(SCORES[rows], SUCCESS[rows], COST[rows], typical_cost=2.0) for rows in (slice(0, 1), slice(1, 4))]
    np.testing.assert_array_equal(np.concatenate(parts), weighed(SCORES, SUCCESS, COST))


def test_no_candidates_weigh_nothing() -> None:
    assert weighed(np.empty(0), np.empty(0), np.empty(0)).shape == (0,)


def test_what_gains_nothing_is_worth_nothing_however_cheap() -> None:
    np.testing.assert_array_equal(weighed(np.zeros(3), None, np.array([5e-324, 1e300, 1e300])), np.zeros(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-SCORES, None, None), r"the score of row 0 is -4.0; it must be at least 0: only gains can be weighed"),
        ((SCORES + np.inf, None, None), r"the score of row 0 is inf"),
        ((SCORES[:, None], None, None), r"not one score for each candidate: shape \(4, 1\)"),
        ((SCORES, SUCCESS + 0.5, None), r"probability of success of row 1 is 1.5; it must be from 0 to 1 \(1 rows"),
        ((SCORES, -SUCCESS, None), r"probability of success of row 0 is -0.5"),
        ((SCORES, SUCCESS * np.nan, None), r"probability of success of row 0 is nan"),
        ((SCORES, SUCCESS[:3], None), r"not one probability of success for each candidate: shape \(3,\), not \(4,\)"),
        ((SCORES, None, COST - 2), r"the cost of row 0 is -1.0; it must be above 0 \(3 rows in all\)"),
        ((SCORES, None, COST * np.inf), r"the cost of row 0 is inf"),
        ((SCORES, None, COST[:2]), r"not one cost for each candidate"),
        ((SCORES, None, np.array([1e-300, 1e300, 1e300, 1e300])), r"the weighed score of row 0 is inf"),
    ],
)
def test_what_cannot_be_weighed_is_refused_and_its_row_named(arguments: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        weighed(*arguments)


@pytest.mark.parametrize("typical", [0.0, -1.0, np.nan, np.inf])
def test_a_typical_cost_that_is_none_is_refused(typical: float) -> None:
    with pytest.raises(ContractError, match="typical cost of row 0"):
        weighed(SCORES, None, COST, typical_cost=typical)
