"""The pool `compositions`: how many there are, which, in which order, and how fast."""

from __future__ import annotations

import itertools
import math
import time
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from active_learning.crystals.charges import is_charge_neutral
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.errors import UserError
from active_learning.pools.compositions import Compositions, FractionGrid, IntegerGrid

HIGH_ENTROPY = ["Al", "Co", "Cr", "Cu", "Fe", "Ni", "Ti"]


def pool(**options: object) -> Compositions:
    return Compositions(Compositions.Options.model_validate(options))


def read(**options: object) -> tuple[list[Candidate], list[Dropped]]:
    items = list(pool(**options).read())
    return [i for i in items if isinstance(i, Candidate)], [i for i in items if isinstance(i, Dropped)]


@pytest.mark.parametrize("n_elements", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n_steps", [5, 10, 20])
def test_without_bounds_there_are_as_many_as_stars_and_bars_say(n_elements: int, n_steps: int) -> None:
    made, _ = read(elements=HIGH_ENTROPY[:5], step=1 / n_steps, n_elements=[n_elements])
    assert len(made) == math.comb(5, n_elements) * math.comb(n_steps - 1, n_elements - 1)


def test_all_numbers_of_elements_together_are_the_whole_simplex() -> None:
    made, dropped = read(elements=HIGH_ENTROPY[:4], step=0.1)
    assert len(made) == math.comb(10 + 3, 3)
    assert dropped == []


@given(
    bounds=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted), min_size=1, max_size=4),
    n_steps=st.integers(1, 8),
    data=st.data(),
)
def test_with_bounds_the_grid_is_what_brute_force_finds_and_counts_itself_right(
    bounds: list[list[int]], n_steps: int, data: st.DataObject
) -> None:
    symbols = HIGH_ENTROPY[: len(bounds)]
    n_elements = data.draw(
        st.permutations(range(1, len(bounds) + 1)).map(lambda order: order[: max(1, len(order) - 1)])
    )
    grid = FractionGrid({s: (low, high) for s, (low, high) in zip(symbols, bounds, strict=True)}, n_steps, n_elements)
    found = [tuple(amounts.get(symbol, 0) for symbol in symbols) for amounts in grid]
    expected = {
        point
        for point in itertools.product(range(n_steps + 1), repeat=len(bounds))
        if sum(point) == n_steps
        and sum(n > 0 for n in point) in n_elements
        and all(low <= n <= high for n, (low, high) in zip(point, bounds, strict=True))
    }
    assert len(found) == len(set(found)) == grid.count()
    assert set(found) == expected


def test_bounds_are_fractions_and_a_least_above_zero_puts_the_element_into_every_candidate() -> None:
    options = {
        "elements": ["Al", "Ni", "Fe", "Cu"],
        "n_elements": [3, 2],
        "bounds": {"Al": [0.0, 0.3], "Ni": [0.05, 0.5]},
    }
    made, _ = read(**options, step=0.05)
    assert len(made) == pool(**options, step=0.05).count() == 275
    assert all(0.05 <= c.amounts["Ni"] <= 0.5 and c.amounts.get("Al", 0.0) <= 0.3 for c in made)
    assert min(c.amounts["Ni"] for c in made) == 0.05
    assert max(c.amounts.get("Al", 0.0) for c in made) == 0.3
    # In the order of n_elements.
    assert [n for n, _ in itertools.groupby(len(c.elements) for c in made)] == [3, 2]


def test_the_order_is_that_of_the_elements_with_amounts_ascending() -> None:
    made, _ = read(elements=["Ni", "Al", "Fe"], step=0.25)
    formulas = [c.formula for c in made]
    assert formulas[:3] == ["Ni", "Al", "Fe"]
    assert formulas[3:7] == ["Al0.75Ni0.25", "Fe0.75Ni0.25", "Al0.5Ni0.5", "Fe0.5Ni0.5"]
    assert formulas[-3:] == ["Al0.25Fe0.5Ni0.25", "Al0.5Fe0.25Ni0.25", "Al0.25Fe0.25Ni0.5"]
    assert made[-1].origin == "grid over Ni-Al-Fe, step 0.25"


@pytest.mark.parametrize("step", [0.001, 0.002, 1 / 3, 1 / 7, 1 / 999])
def test_fractions_are_exact_and_no_two_points_of_the_finest_grids_share_a_formula_or_an_id(step: float) -> None:
    made, _ = read(elements=["Al", "Ni"], step=step)
    n_steps = round(1 / step)
    assert len(made) == len({c.formula for c in made}) == len({c.id for c in made}) == n_steps + 1
    for candidate in made:
        for amount in candidate.amounts.values():
            assert amount == float(Fraction(round(amount * n_steps), n_steps))


def test_a_hundred_thousand_candidates_have_a_hundred_thousand_ids() -> None:
    made = [c for c in pool(elements=HIGH_ENTROPY, n_elements=[4, 5]).read() if isinstance(c, Candidate)]
    assert len(made) == math.comb(7, 4) * math.comb(19, 3) + math.comb(7, 5) * math.comb(19, 4) == 115_311
    assert len({c.id for c in made}) == len(made)


def test_candidates_stream_fast_and_in_bounded_memory() -> None:
    stream = pool(elements=HIGH_ENTROPY, step=0.02, n_elements=[5]).read()
    next(stream)
    start = time.perf_counter()
    assert sum(1 for _ in itertools.islice(stream, 20_000)) == 20_000
    # Ten times slower than measured, for busy machines.
    assert time.perf_counter() - start < 2.0
    tracemalloc.start()
    for _ in itertools.islice(stream, 20_000):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_formulas_have_whole_coefficients_without_a_common_divisor() -> None:
    made, _ = read(elements=["Al", "O"], amounts="integers", max_coefficient=3)
    assert [c.formula for c in made] == ["Al", "O", "AlO", "AlO2", "AlO3", "Al2O", "Al2O3", "Al3O", "Al3O2"]
    assert made[-1].origin == "grid over Al-O, coefficients 1 to 3"


@pytest.mark.parametrize("most", [1, 2, 6, 12])
def test_formulas_are_counted_without_making_them(most: int) -> None:
    grid = IntegerGrid(["Li", "Mn", "Fe", "O"], most, [1, 2, 3])
    made = [tuple(sorted(amounts.items())) for amounts in grid]
    assert grid.count() == len(made) == len(set(made))


def test_charge_neutral_takes_exactly_the_neutral_formulas() -> None:
    options = {"elements": ["Li", "Mn", "O"], "amounts": "integers", "max_coefficient": 4}
    everything, _ = read(**options)
    neutral, dropped = read(**options, charge_neutral=True)
    assert [c.id for c in neutral] == [c.id for c in everything if is_charge_neutral(c.amounts)]
    assert {"LiMn2O4", "Li2MnO3", "Mn3O4"} <= {"".join(sorted_formula(c)) for c in neutral}
    assert len(neutral) + len(dropped) == len(everything)
    assert Dropped("grid: Li3O", "not charge neutral: Li3O") in dropped


def sorted_formula(candidate: Candidate) -> list[str]:
    return [f"{s}{'' if n == 1 else format(n, 'g')}" for s, n in candidate.amounts.items()]


def test_bounds_of_formulas_are_fractions_too() -> None:
    made, dropped = read(
        elements=["Li", "Mn", "O"], amounts="integers", max_coefficient=3, bounds={"O": [0.5, 0.6]}, n_elements=[2, 3]
    )
    assert made
    assert all(0.5 <= c.amounts["O"] / sum(c.amounts.values()) <= 0.6 for c in made)
    assert Dropped("grid: LiMn", "out of bounds: 0 of O, not 0.5 to 0.6") in dropped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elements": ["Al", "Xx"]}, "no such element: 'Xx'"),
        ({"step": 0.03}, "0.03 does not divide 1; the nearest that do are 0.025 and 0.04"),
        ({"step": 0.7}, "0.7 does not divide 1; the nearest that do are 0.5 and 1"),
        ({"step": 0.0}, "greater than or equal to 0.001"),
        ({"n_elements": [0, 2, 5]}, r"n_elements lie between 1 and 3 \(elements\), not 0, 5"),
        ({"n_elements": [2, 2]}, "named more than once: 2, 2"),
        (
            {"bounds": {"Cu": [0, 1], "Al": [0.5, 0.2]}},
            "bounds of Cu, not one of .*; bounds of Al must .* not .0.5, 0.2",
        ),
        ({"bounds": {"Al": [0.6, 1], "Ni": [0.6, 1]}}, "least fractions in bounds add up to 1.2, more than 1"),
        ({"bounds": {"Al": [0.1]}}, r"bounds.Al\n.*write the least and the most .* such as \[0.0, 0.3\], not \[0.1\]"),
        ({"bounds": {"Al": 0.3}}, r"bounds.Al\n.*such as \[0.0, 0.3\], not 0.3"),
        ({"max_coefficient": 3}, 'max_coefficient has no meaning with amounts = "fractions": leave it out'),
        ({"amounts": "integers", "step": 0.1}, 'step has no meaning with amounts = "integers": leave it out'),
        ({"amounts": "integers", "max_coefficient": 1000}, "less than or equal to 100"),
        ({"amounts": "moles"}, "'fractions' or 'integers'"),
        ({"drop_duplicates": True}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_remedy(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Compositions.Options.model_validate({"elements": ["Al", "Ni", "Fe"], **options})


@pytest.mark.parametrize(
    ("options", "count", "message"),
    [
        (
            {"elements": [*HIGH_ENTROPY, "Mn", "V", "Zr"], "step": 0.02},
            math.comb(50 + 9, 9),
            r"has 12,565,671,261 candidates, more than 20,000,000; take a larger step, narrower bounds, or fewer",
        ),
        (
            {"elements": [*HIGH_ENTROPY, "Mn", "V", "Zr"], "step": 0.001},
            10**12,
            r"more than 10\^12 candidates, .*; take a larger step",
        ),
        (
            {"elements": [*HIGH_ENTROPY, "O"], "amounts": "integers", "max_coefficient": 20, "n_elements": [6]},
            None,
            "candidates, more than 20,000,000; take a smaller max_coefficient, narrower bounds, or fewer elements",
        ),
        ({"elements": ["Al", "Ni"], "bounds": {"Al": [0, 0.1], "Ni": [0, 0.1]}}, 0, "no composition lies on the grid"),
    ],
)
def test_grids_too_large_or_empty_are_refused_before_they_are_walked(
    options: dict[str, object], count: int | None, message: str
) -> None:
    grid = pool(**options)
    assert count is None or min(grid.count(), 10**12) == count
    with pytest.raises(UserError, match=message):
        next(iter(grid.read()))
