"""The pool `prototypes`: which candidates there are, at which volume, and what is dropped."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from pydantic import ValidationError
from pymatgen.analysis.structure_matcher import StructureMatcher

from active_learning.crystals.geometry import closest_contact, volume_of
from active_learning.crystals.pymatgen import to_structure
from active_learning.crystals.sizes import ATOMIC_VOLUMES, COVALENT_RADII
from active_learning.crystals.symmetry import crystal_key
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.pools.prototypes import Prototypes

EMT = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")


def read(**options: object) -> tuple[list[Candidate], list[Dropped]]:
    items = list(Prototypes(Prototypes.Options.model_validate(options)).read())
    return [i for i in items if isinstance(i, Candidate)], [i for i in items if isinstance(i, Dropped)]


@pytest.fixture(scope="module")
def three_metals() -> tuple[list[Candidate], list[Dropped]]:
    return read(elements=["Al", "Cu", "Ni"], max_atoms=5)


def decorations(candidates: list[Candidate], tag: str) -> list[str]:
    """How often each formula comes of the prototypes with this AFLOW label."""
    return sorted(c.formula for c in candidates if c.origin.startswith(f"{tag} ("))


def test_the_seven_metals_of_emt_give_thousands_of_candidates() -> None:
    candidates, _ = read(elements=EMT)
    assert len(candidates) >= 1500
    assert Counter(len(c.elements) for c in candidates).keys() == {1, 2, 3}
    assert max(len(c.crystal.species) for c in candidates if c.crystal) == 8


def test_each_choice_of_elements_comes_once_where_sites_are_alike_and_in_each_order_where_not(three_metals) -> None:
    candidates, _ = three_metals
    pairs = ["AlCu", "AlNi", "CuNi"]
    assert decorations(candidates, "A_cF4_225_a") == ["Al", "Cu", "Ni"]
    assert decorations(candidates, "AB_cP2_221_b_a") == pairs
    assert decorations(candidates, "AB3_cP4_221_a_c") == ["Al3Cu", "Al3Ni", "AlCu3", "AlNi3", "Cu3Ni", "CuNi3"]
    # Heusler: three choices of the doubled site, and its two other sites are alike.
    assert decorations(candidates, "AB2C_cF16_225_a_c_b") == ["Al2CuNi", "AlCu2Ni", "AlCuNi2"]


def test_origins_say_prototype_and_decoration(three_metals) -> None:
    candidates, _ = three_metals
    origins = {c.origin: c for c in candidates}
    assert origins["AB3_cP4_221_a_c (AuCu3): Ni for Au, Al for Cu"].formula == "Al3Ni"
    assert len(origins) == len(candidates)


def test_polymorphs_with_the_same_key_stay_apart(three_metals) -> None:
    candidates, _ = three_metals
    body_centered = [c for c in candidates if c.origin.startswith("A_tI2_139_a (") and c.formula == "Al"]
    assert len(body_centered) == 2
    assert len({crystal_key(c.crystal) for c in body_centered}) == 1
    assert len({c.id for c in body_centered}) == 2


def test_no_two_candidates_are_the_same_crystal_by_pymatgens_matcher(three_metals) -> None:
    candidates, _ = three_metals
    matcher = StructureMatcher(ltol=0.005, stol=0.005, angle_tol=0.3, scale=False)
    groups: dict[str, list] = {}
    for candidate in candidates:
        if len(candidate.elements) <= 2:
            groups.setdefault(candidate.formula, []).append((candidate.origin, to_structure(candidate.crystal)))
    twins = [
        (one, other)
        for group in groups.values()
        for i, (one, a) in enumerate(group)
        for other, b in group[i + 1 :]
        if len(a) == len(b) and matcher.fit(a, b)
    ]
    assert len(groups) > 10
    assert twins == []


def test_what_is_dropped_as_a_duplicate_is_one_by_pymatgens_matcher(three_metals) -> None:
    candidates, dropped = three_metals
    everything, _ = read(elements=["Al", "Cu", "Ni"], max_atoms=5, drop_duplicates=False)
    by_origin = {c.origin: c for c in everything}
    duplicates = [(d.source, d.reason.split("crystal as ")[1]) for d in dropped if "duplicate" in d.reason]
    assert len(duplicates) > 30
    assert len(everything) == len(candidates) + len(duplicates)
    matcher = StructureMatcher(scale=False)
    for source, original in duplicates[::5]:
        assert matcher.fit(*(to_structure(by_origin[origin].crystal) for origin in (source, original)))


def test_volumes_are_the_sum_of_the_elements_for_alloys(three_metals) -> None:
    candidates, _ = three_metals
    for candidate in candidates:
        expected = sum(ATOMIC_VOLUMES[symbol] * n for symbol, n in candidate.amounts.items())
        assert volume_of(candidate.crystal) == pytest.approx(expected)


def test_no_candidate_has_atoms_closer_than_asked_and_the_reason_names_them(three_metals) -> None:
    candidates, dropped = three_metals
    assert min(closest_contact(c.crystal, COVALENT_RADII).ratio for c in candidates) >= 0.8
    pair = r"(Al|Cu|Ni) and (Al|Cu|Ni)"
    reason = rf"atoms too close: {pair} \d\.\d\d Angstrom apart, 0\.\d\d of the sum .* \(min_distance = 0\.8\)"
    assert any(re.fullmatch(reason, d.reason) for d in dropped)


def test_zero_distance_takes_all_decorations() -> None:
    candidates, dropped = read(elements=["Al", "Cu"], max_atoms=4, min_distance=0)
    assert len(candidates) > len(read(elements=["Al", "Cu"], max_atoms=4)[0])
    assert not any("apart" in d.reason for d in dropped)


def test_prototypes_larger_than_asked_are_dropped_by_name() -> None:
    candidates, dropped = read(elements=["Si"], max_atoms=2)
    assert max(len(c.crystal.species) for c in candidates) == 2
    assert Dropped("A_hP4_194_bc (C)", "too many atoms: 4, more than max_atoms = 2") in dropped


def test_without_a_limit_the_whole_library_is_decorated() -> None:
    candidates, dropped = read(elements=["Cu"], max_atoms=None, n_elements=[1], min_distance=0)
    assert len(candidates) + len(dropped) == 55
    assert max(len(c.crystal.species) for c in candidates) > 20


def test_only_the_asked_numbers_of_elements_are_made() -> None:
    candidates, _ = read(elements=["Al", "Cu", "Ni"], n_elements=[2], max_atoms=3)
    assert {len(c.elements) for c in candidates} == {2}


def test_fewer_elements_than_asked_for_leave_the_pool_empty_without_an_error() -> None:
    candidates, dropped = read(elements=["Al"], n_elements=[3])
    assert candidates == []
    assert all("more than max_atoms" in d.reason for d in dropped)


def test_compounds_with_nonmetals_come_at_bond_lengths_near_the_real_ones() -> None:
    candidates, _ = read(elements=["Ga", "As"], n_elements=[2], max_atoms=2)
    (zincblende,) = (c for c in candidates if c.origin.startswith("AB_cF8_216_c_a ("))
    assert closest_contact(zincblende.crystal, COVALENT_RADII).distance == pytest.approx(2.45, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elements": ["Al", "Xx", "copper"]}, r"no such element: 'Xx', 'copper' \(symbols are written like 'Al'\)"),
        ({"elements": ["Al", "Bk", "Al"]}, "no covalent radius is known for Bk; named more than once: Al"),
        ({"elements": []}, "at least 1 item"),
        ({"elements": ["Al"], "n_elements": [0, 2, 6]}, "prototypes have 1 to 5 elements, not 0, 6"),
        ({"elements": ["Al"], "n_elements": [2, 2]}, "named more than once: 2, 2"),
        ({"elements": ["Al"], "min_distance": 2.2}, "less than or equal to 1"),
        ({"elements": ["Al"], "max_atom": 4}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Prototypes.Options.model_validate(options)
