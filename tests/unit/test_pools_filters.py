"""The sieve that all pools share: what it drops, in which words, and how little it remembers."""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.elements import SYMBOLS
from active_learning.pools.filters import CompositionFilterOptions, FilterOptions, Judgment, Sieve
from active_learning.pools.taken import composition_number


def bare(**options: object) -> Sieve:
    return Sieve(CompositionFilterOptions.model_validate(options), needs_crystal=False)


def crystals(**options: object) -> Sieve:
    return Sieve(FilterOptions.model_validate(options))


def crystal(atoms: Atoms, origin: str = "here") -> Candidate:
    return Candidate.of(from_atoms(atoms), origin)


def salt(a: float = 5.64) -> Atoms:
    return bulk("NaCl", "rocksalt", a=a)


def reason(item: Candidate | Dropped) -> str:
    assert isinstance(item, Dropped)
    return item.reason


# Bare compositions


@pytest.mark.parametrize(
    ("options", "amounts", "expected"),
    [
        ({"n_elements": [2, 3]}, {"Al": 1}, "other number of elements: 1, not in n_elements = [2, 3]"),
        ({"n_elements": [1]}, {"Al": 1}, None),
        ({"charge_neutral": True}, {"Na": 2, "Cl": 1}, "not charge neutral"),
        ({"charge_neutral": True}, {"Na": 4, "Cl": 4}, None),
        ({"charge_neutral": True}, {"Al": 1, "Cu": 3}, None),
        ({}, {"Na": 2, "Cl": 1}, None),
    ],
)
def test_compositions_pass_or_are_dropped_for_a_reason(
    options: dict[str, object], amounts: dict[str, float], expected: str | None
) -> None:
    candidate = Candidate(amounts, origin="row 1")
    assert bare(**options).sift(candidate) == (candidate if expected is None else Dropped("row 1", expected))


def test_other_elements_are_named_also_of_bare_compositions() -> None:
    sieve = Sieve(CompositionFilterOptions(), ["Al", "Cu"], needs_crystal=False)
    item = sieve.sift(Candidate({"Al": 1, "Zn": 1, "Fe": 2}))
    assert reason(item) == "other elements: holds Fe, Zn"


def test_the_same_composition_in_other_words_is_a_duplicate_of_the_first() -> None:
    sieve = bare()
    first = Candidate({"Al": 1, "Cu": 3}, origin="row 1")
    assert sieve.judge(first) == Judgment(None)
    for amounts in ({"Al": 2, "Cu": 6}, {"Al": 0.25, "Cu": 0.75}, {"Al": 0.3333, "Cu": 1.0}):
        again = Candidate(amounts, origin="row 2")
        assert sieve.judge(again) == Judgment("duplicate: the same as row 1", first.id)
    assert sieve.judge(Candidate({"Al": 0.26, "Cu": 0.74})).reason is None


def test_compositions_in_other_words_may_be_kept_but_no_candidate_comes_twice() -> None:
    sieve = bare(drop_duplicates=False)
    written = [Candidate({"Al": 1, "Cu": 1}, origin="a"), Candidate({"Al": 0.5, "Cu": 0.5}, origin="b")]
    assert [sieve.sift(one) for one in written] == written
    assert reason(sieve.sift(Candidate({"Al": 2, "Cu": 2}, origin="c"))) == "duplicate: the same as a"


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=4), st.floats(1 - 1e-15, 1 + 1e-15))
def test_candidates_with_one_id_have_one_number(values: list[float], factor: float) -> None:
    one = Candidate(dict(zip(SYMBOLS, values, strict=False)))
    other = Candidate({symbol: value * factor for symbol, value in one.amounts.items()})
    assert one.id != other.id or composition_number(one) == composition_number(other)


def test_where_crystals_are_wanted_a_bare_composition_is_dropped() -> None:
    assert reason(crystals().sift(Candidate({"Al": 1}))) == "a bare composition, not a crystal"


# Crystals


def test_sizes_are_limited_from_both_sides() -> None:
    sieve = crystals(min_atoms=2, max_atoms=4)
    assert reason(sieve.sift(crystal(bulk("Cu")))) == "too few atoms: 1, fewer than min_atoms = 2"
    assert reason(sieve.sift(crystal(bulk("Si", cubic=True)))) == "too many atoms: 8, more than max_atoms = 4"
    assert isinstance(sieve.sift(crystal(bulk("Si"))), Candidate)
    with pytest.raises(ValidationError, match="no cell has at least 5 and at most 4 atoms"):
        FilterOptions(min_atoms=5, max_atoms=4)


@pytest.mark.parametrize(
    ("counts", "message"), [([0], "at least one element, not 0"), ([2, 2], "more than once: 2, 2")]
)
def test_numbers_of_elements_that_cannot_be_are_refused(counts: list[int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FilterOptions.model_validate({"n_elements": counts})


def test_crystals_may_have_to_be_charge_neutral() -> None:
    sieve = crystals(charge_neutral=True)
    assert isinstance(sieve.sift(crystal(salt())), Candidate)
    assert reason(sieve.sift(crystal(bulk("AlO", "rocksalt", a=4.5)))) == "not charge neutral"


def test_another_setting_is_a_duplicate_and_polymorphs_and_other_volumes_are_not() -> None:
    sieve = crystals()
    first = crystal(salt(), "salt")
    assert sieve.sift(first) == first
    supercell = salt() * (2, 1, 1)
    supercell.rotate(30, "x", rotate_cell=True)
    expected = Judgment("duplicate: the same crystal as salt", first.id)
    assert sieve.judge(crystal(supercell)) == expected
    assert sieve.judge(crystal(bulk("NaCl", "rocksalt", a=5.641, cubic=True))) == expected
    for other in (bulk("NaCl", "cesiumchloride", a=3.5), bulk("NaCl", "zincblende", a=6.1), salt(5.8)):
        assert isinstance(sieve.sift(crystal(other)), Candidate)
    # The first of its key is compared as often as another comes.
    assert sieve.judge(crystal(salt() * (1, 1, 2))) == expected


def test_many_crystals_of_one_key_are_told_apart_by_geometry() -> None:
    sieve = crystals()
    lengths = [3.0 * 1.02**i for i in range(30)]
    assert all(isinstance(sieve.sift(crystal(bulk("Cu", a=a), f"{a:.3f}")), Candidate) for a in lengths)
    again = [sieve.sift(crystal(bulk("Cu", a=a * 1.001, cubic=True))) for a in lengths]
    assert [reason(item) for item in again] == [f"duplicate: the same crystal as {a:.3f}" for a in lengths]


def test_a_crystal_that_cannot_be_compared_is_dropped_with_one_kind_of_reason() -> None:
    stacked = Crystal(((3, 0, 0), (0, 3, 0), (0, 0, 3)), ("Cu", "Cu"), ((0, 0, 0), (0, 0, 0)))
    item = crystals(min_distance=0).sift(Candidate.of(stacked, "x"))
    assert isinstance(item, Dropped)
    assert item.kind == "not a sound crystal"


def test_every_reason_has_a_kind_without_particulars() -> None:
    sieve = Sieve(
        FilterOptions(min_atoms=2, max_atoms=4, n_elements=(1, 2), charge_neutral=True), ["Na", "Cl", "Al", "O", "Si"]
    )
    close = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 0.3]], cell=[4, 4, 4], pbc=True)
    atoms = [salt(), salt(), bulk("Cu"), bulk("Al"), bulk("Si", cubic=True), close, bulk("AlO", "rocksalt", a=4.5)]
    items = [sieve.sift(crystal(one)) for one in atoms]
    assert [item.kind for item in items if isinstance(item, Dropped)] == [
        "duplicate",
        "other elements",
        "too few atoms",
        "too many atoms",
        "atoms too close",
        "not charge neutral",
    ]


# Large cells, large pools


def test_a_cell_of_thousands_of_atoms_takes_seconds_and_is_compared_as_it_is_written() -> None:
    atoms = bulk("Cu", cubic=True) * (9, 9, 9)
    start = time.monotonic()
    sieve = crystals()
    assert isinstance(sieve.sift(crystal(atoms, "first")), Candidate)
    assert reason(sieve.sift(crystal(atoms))) == "duplicate: the same as first"
    assert time.monotonic() - start < 20.0


def test_what_is_too_large_is_dropped_before_anything_is_computed() -> None:
    candidate = crystal(bulk("Cu", cubic=True) * (14, 14, 14))
    start = time.monotonic()
    assert reason(crystals(max_atoms=200).sift(candidate)).startswith("too many atoms: 10976, ")
    assert time.monotonic() - start < 0.1


def _compositions(n: int) -> Iterator[Candidate]:
    triples = itertools.combinations(SYMBOLS[:90], 3)
    for i, (a, b, c) in enumerate(itertools.islice(triples, n)):
        yield Candidate({a: 1, b: 2, c: 3}, origin=f"row {i}")


def _crystals(n: int) -> Iterator[Candidate]:
    rng = np.random.default_rng(0)
    pairs = list(itertools.permutations(SYMBOLS[2:40], 2))
    for i in range(n):
        a, b = pairs[i % (n // 2)]
        atoms = bulk(a, "fcc", a=4 + 3 * rng.random(), cubic=True)
        atoms += Atoms([b] * 4, positions=atoms.positions + atoms.cell[0] / 2)
        yield crystal(atoms, f"data.json, item {i} (mp-{i})")


def _bytes_each(sieve: Sieve, candidates: Iterator[Candidate], n: int) -> float:
    candidates = iter(list(candidates))
    # What is kept once for all crystals (tables of the libraries) is not the sieve's.
    crystals().sift(crystal(salt() * (1, 1, 2)))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert sum(isinstance(sieve.sift(candidate), Candidate) for candidate in candidates) > 0.9 * n
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / n
    finally:
        tracemalloc.stop()


def test_it_remembers_a_composition_in_300_bytes_and_a_crystal_in_1000() -> None:
    assert _bytes_each(bare(), _compositions(10_000), 10_000) < 300
    # Half of them share their key with another, whose geometry is then kept.
    assert _bytes_each(crystals(min_distance=0.1), _crystals(300), 300) < 1000
