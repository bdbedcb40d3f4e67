"""What stands in tables and JSON texts: empty cells, numbers, items one after another."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_learning.domain.cells import is_missing, number_in, text_of
from active_learning.domain.hints import did_you_mean
from active_learning.domain.json_items import items_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(json_values, max_size=5), st.sampled_from([None, 0, 2]))
def test_the_items_of_a_list_are_those_that_json_loads(value: list[Any], indent: int | None) -> None:
    text = f" {json.dumps(value, indent=indent)}\n"
    assert list(items_of(text)) == list(enumerate(value, start=1))


@given(json_values.filter(lambda value: not isinstance(value, list)))
def test_any_other_value_comes_alone(value: Any) -> None:
    assert list(items_of(json.dumps(value))) == [(0, value)]


@given(st.text('[]{},:1 "a\n', max_size=12))
def test_what_is_not_json_is_refused_and_what_is_json_is_not(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        with pytest.raises(ValueError, match="not JSON"):
            list(items_of(text))
    else:
        list(items_of(text))


def test_items_before_a_fault_are_given() -> None:
    items = items_of("[1, 2, oops]")
    assert list(islice(items, 2)) == [(1, 1), (2, 2)]
    with pytest.raises(ValueError, match="not JSON"):
        next(items)


@pytest.mark.parametrize("cell", [None, "", " ", "nan", float("nan"), "N/A", "-", "None", "null"])
def test_empty_cells_are_missing(cell: Any) -> None:
    assert is_missing(cell)


@pytest.mark.parametrize(("cell", "number"), [("1.5", 1.5), (" -2e3 ", -2000.0), (0, 0.0), (2.5, 2.5)])
def test_numbers_are_read_from_text_and_as_they_are(cell: Any, number: float) -> None:
    assert not is_missing(cell)
    assert number_in(cell) == number


@pytest.mark.parametrize("cell", ["soft", "inf", float("-inf"), True, [1], {"a": 1}, "1,5", "two\nlines"])
def test_what_is_not_a_finite_number_is_refused_in_one_line(cell: Any) -> None:
    with pytest.raises(ValueError, match=r"\A.* is not a finite number\Z"):
        number_in(cell)


def test_cells_are_text_without_blanks() -> None:
    assert (text_of(None), text_of(" NaN "), text_of(7)) == ("", "NaN", "7")


def test_hints_name_what_is_close_and_nothing_else() -> None:
    assert did_you_mean("formla", ["formula", "x"]) == " Did you mean 'formula'?"
    assert did_you_mean("zzz", ["formula", "x"]) == ""
