"""The pool `prototypes`: which candidates there are, at which volume, and what is dropped."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import pytest
from pydantic import ValidationError
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor

from active_learning.crystals.charges import is_charge_neutral
from active_learning.crystals.geometry import closest_contact, volume_of
from active_learning.crystals.pymatgen import to_structure
from active_learning.crystals.sizes import ATOMIC_VOLUMES, COVALENT_RADII
from active_learning.crystals.symmetry import crystal_key
from active_learning.domain.candidate import Candidate, Dropped
from active_learning.pools.prototype_library import FAMILIES, in_families, named, structure_types
from active_learning.pools.prototypes import Prototypes

DEFAULTS = [(272, 356, "e6712dd4b07aaece"), (312, 266, "ff185cb5881e6a76")]
"""Numbers of candidates and dropped ones, and a hash of all, as they were before there were options beside sizes."""
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


def test_the_default_pool_never_changes() -> None:
    # Campaigns, goldens and benchmarks hang on these ids: a change needs new names for new options.
    digests = []
    for elements, max_atoms in ((["Al", "Cu", "Ni"], 5), (["Ga", "As", "O"], 4)):
        candidates, dropped = read(elements=elements, max_atoms=max_atoms)
        text = "\n".join([*(f"{c.id} {c.origin}" for c in candidates), *(f"{d.source} {d.reason}" for d in dropped)])
        digests.append((len(candidates), len(dropped), hashlib.sha256(text.encode()).hexdigest()[:16]))
    assert digests == DEFAULTS


def test_charge_neutral_takes_exactly_the_neutral_decorations_and_counts_the_others() -> None:
    options = {"elements": ["Li", "Ti", "O"], "max_atoms": 6}
    everything, _ = read(**options)
    neutral, dropped = read(**options, charge_neutral=True)
    assert [c.id for c in neutral] == [c.id for c in everything if is_charge_neutral(c.amounts)]
    charged = [d for d in dropped if d.kind == "not charge neutral"]
    assert 0 < len(neutral) < len(everything)
    assert Dropped("AB2_tI6_139_a_e (MoSi2): Li for Mo, O for Si", "not charge neutral: LiO2") in charged


@pytest.mark.parametrize(
    ("name", "compounds"),
    [
        ("A_cF4_225_a", ["Cu"]),
        ("a_cf4_225_A", ["Cu"]),
        ("A_tI2_139_a (In)", ["In"]),
        ("A_tI2_139_a", ["Pa", "In"]),
        ("B1", ["ClNa"]),
        ("rocksalt", ["ClNa"]),
        ("Rock Salt", ["ClNa"]),
        ("halite", ["ClNa"]),
        ("Sphalerite", ["SZn"]),
        ("zinc blende", ["SZn"]),
        ("CsCl", ["ClCs"]),
        ("perovskite", ["CaO3Ti", "CaO3Ti"]),
        ("cubic perovskite", ["CaO3Ti"]),
        ("spinel", ["Al2MgO4"]),
        ("A3", ["Mg"]),
        ("A3'", ["La"]),
        ("half-Heusler", ["AgAsMg"]),
    ],
)
def test_structure_types_are_found_by_label_symbol_and_name(name: str, compounds: list[str]) -> None:
    assert [kind.compound for kind in named([name])] == compounds


def test_each_structure_type_is_found_by_its_own_name_alone() -> None:
    assert len(structure_types()) == 288
    assert all(named([kind.name]) == [kind] for kind in structure_types())


def test_families_by_anonymous_formula_are_those_of_pymatgen() -> None:
    theirs = Counter(entry["snl"].structure.composition.anonymized_formula for entry in AFLOW_PROTOTYPE_LIBRARY)
    assert {formula: len(in_families([formula])) for formula in theirs} == theirs
    assert in_families(["A2B"]) == in_families(["AB2"])


def test_families_by_name_have_the_members_that_the_documentation_counts() -> None:
    counts = {"fcc": 11, "bcc": 5, "hcp": 4, "laves": 3, "frank_kasper": 7, "heusler": 2, "max_phase": 3}
    counts |= {"perovskite": 4, "spinel": 2}
    assert {family: len(in_families([family])) for family in FAMILIES} == counts
    assert all(f"{n} {family}" in str(Prototypes.__doc__).replace("\n   ", "") for family, n in counts.items())


def test_named_prototypes_and_families_are_taken_together_in_the_order_of_the_library() -> None:
    candidates, _ = read(elements=["Mg", "O"], prototypes=["fluorite", "B1"], families=["laves"], max_atoms=30)
    tags = list(dict.fromkeys(c.origin.split(" (")[1].split(")")[0] for c in candidates))
    assert sorted(tags) == sorted(["CaF2", "ClNa", "MgZn2", "MgNi2", "Cu2Mg"])
    everything, _ = read(elements=["Mg", "O"], max_atoms=30)
    assert {c.id for c in candidates} <= {c.id for c in everything}


@pytest.mark.parametrize("volume", ["vegard", "contact", "dls", "prototype", "estimate"])
def test_volumes_are_what_they_are_called(volume: str) -> None:
    candidates, _ = read(elements=["Na", "Cl"], prototypes=["B1"], volume=volume, min_distance=0)
    (halite,) = (c.crystal for c in candidates)
    own = volume_of(named(["B1"])[0].crystal)
    vegard = ATOMIC_VOLUMES["Na"] + ATOMIC_VOLUMES["Cl"]
    contact = 2 * (COVALENT_RADII["Na"] + COVALENT_RADII["Cl"]) ** 3
    dls = DLSVolumePredictor().predict(to_structure(halite)) if volume == "dls" else None
    expected = {"vegard": vegard, "contact": contact, "estimate": min(vegard, contact), "prototype": own, "dls": dls}
    assert volume_of(halite) == pytest.approx(expected[volume], rel=1e-6)


def test_volume_factors_give_each_decoration_at_several_volumes_and_leave_the_plain_one_as_it_is() -> None:
    plain, _ = read(elements=["Cu", "Au"], max_atoms=2)
    several, _ = read(elements=["Cu", "Au"], max_atoms=2, volume_factors=[0.95, 1.0, 1.05], min_distance=0.7)
    volumes = {c.origin: volume_of(c.crystal) for c in several}
    assert {c.id for c in plain} <= {c.id for c in several}
    for candidate in plain:
        for factor in (0.95, 1.05):
            assert volumes[f"{candidate.origin}, at {factor} of the volume"] == pytest.approx(
                factor * volume_of(candidate.crystal)
            )


def test_an_element_without_a_known_size_costs_its_own_decorations_only() -> None:
    candidates, dropped = read(elements=["Cu", "At"], prototypes=["A1"], volume="vegard")
    assert [c.formula for c in candidates] == ["Cu"]
    assert [d.reason for d in dropped] == ["no atomic volume is known for At"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prototypes": ["wurzite", "B99"]}, r"'wurzite'. Did you mean '[Ww]urtzite'\?; no .* 'B99'. Did you mean"),
        ({"prototypes": ["alpha"]}, "no structure type is called 'alpha'"),
        ({"prototypes": [""]}, "no structure type is called ''"),
        ({"prototypes": []}, "at least 1 item"),
        ({"families": ["lavess"]}, r"'lavess'. Did you mean 'laves'\? There are fcc, bcc, .*; AB2, A, AB"),
        ({"families": ["B2"]}, "'B2' is no family but a structure type: name it in `prototypes`"),
        ({"prototypes": ["spinel"]}, r"'spinel' has 14 atoms: set max_atoms = 14 or more \(it is 8\)"),
        ({"prototypes": ["B1"], "min_atoms": 3}, r"'B1' has 2 atoms: set min_atoms = 2 or less \(it is 3\)"),
        ({"prototypes": ["B1"], "n_elements": [1, 3]}, r"'B1' has 2 elements, and n_elements = \[1, 3\]"),
        ({"volume": "big"}, "'estimate', 'vegard', 'contact', 'dls' or 'prototype'"),
        ({"volume_factors": [1.0, 0.0, 20.0]}, "between 0.1 and 10, not 0.0, 20.0"),
        ({"volume_factors": [1.0, 1.02]}, "less than 4 % apart .* 1 and 1.02; .* drop_duplicates = false"),
    ],
)
def test_faulty_choices_are_refused_with_the_remedy(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Prototypes.Options.model_validate({"elements": ["Al"], **options})
