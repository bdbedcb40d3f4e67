"""Crystals: symmetry keys, distances, sizes, and the ways to and from pymatgen and ASE."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.spacegroup import crystal as ase_crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core.lattice import Lattice
from pymatgen.core.periodic_table import DummySpecies
from pymatgen.core.structure import Structure

from active_learning.crystals.ase import from_atoms, to_atoms
from active_learning.crystals.geometry import (
    closest_contact,
    minimum_distance,
    neighbor_distances,
    scaled,
    volume_of,
)
from active_learning.crystals.pymatgen import from_structure, to_structure
from active_learning.crystals.sizes import ATOMIC_VOLUMES, COVALENT_RADII, METALS, estimated_volume
from active_learning.crystals.symmetry import crystal_key, symmetry_of
from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import SYMBOLS
from active_learning.errors import ContractError

LIBRARY = {
    entry["tags"]["aflow"]: from_structure(entry["snl"].structure)
    for entry in AFLOW_PROTOTYPE_LIBRARY
    if len(entry["snl"].structure) <= 8
}
CUBE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def cubic(a: float, **sites: tuple[float, float, float]) -> Crystal:
    """A cubic crystal with one site for each element."""
    lattice = tuple(tuple(a * v for v in row) for row in CUBE)
    return Crystal(lattice, tuple(sites), tuple(sites.values()))


def rotation(rng: np.random.Generator) -> np.ndarray:
    """A random proper rotation."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.linalg.det(q)


def unimodular(rng: np.random.Generator, steps: int) -> np.ndarray:
    """A random integer matrix with determinant 1."""
    matrix = np.eye(3, dtype=int)
    for _ in range(steps):
        i, j = rng.choice(3, 2, replace=False)
        matrix[i] += rng.integers(-1, 2) * matrix[j]
    return matrix


def in_another_setting(crystal: Crystal, seed: int, *, supercell: bool = True) -> Crystal:
    """The same crystal: repeated, in another basis, rotated, shifted, its sites permuted."""
    rng = np.random.default_rng(seed)
    structure = to_structure(crystal)
    if supercell and len(structure) <= 4:
        structure.make_supercell([int(n) for n in rng.permutation([2, 1, 1])])
    change = unimodular(rng, 3)
    lattice = change @ structure.lattice.matrix @ rotation(rng)
    sites = structure.frac_coords @ np.linalg.inv(change) + rng.random(3)
    order = rng.permutation(len(sites))
    species = [structure[int(i)].specie.symbol for i in order]
    return Crystal(tuple(map(tuple, lattice)), tuple(species), tuple(map(tuple, sites[order])))


# Keys


@pytest.mark.parametrize(
    ("atoms", "key"),
    [
        (bulk("Cu"), "Cu|225|Cu:a"),
        (bulk("Cu", cubic=True) * (1, 1, 2), "Cu|225|Cu:a"),
        (bulk("Mg"), "Mg|194|Mg:c"),
        (bulk("Si"), "Si|227|Si:a"),
        (bulk("NaCl", "rocksalt", a=5.64), "ClNa|225|Cl:a Na:b"),
        (bulk("NaCl", "cesiumchloride", a=3.5), "ClNa|221|Cl:a Na:b"),
        (bulk("ZnS", "zincblende", a=5.41), "SZn|216|S:a Zn:c"),
        (bulk("ZnS", "wurtzite", a=3.82), "SZn|186|S:b Zn:b"),
        (
            ase_crystal(
                ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.95, 90, 90, 90]
            ),
            "O2Ti|136|O:f Ti:a",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_key_of_a_textbook_structure_is_the_textbooks(atoms: Atoms, key: str) -> None:
    assert crystal_key(from_atoms(atoms)) == key


def test_space_groups_are_those_of_the_aflow_library() -> None:
    differ = {tag for tag, crystal in LIBRARY.items() if f"_{symmetry_of(crystal).number}_" not in tag}
    # The first lacks most of its atoms there; the others are more symmetric than their label, within 0.01 Angstrom.
    assert differ == {"AB3_tI16_140_b_ah", "AB_oP8_33_a_a", "A2B_oC12_38_de_ab"}
    assert len(LIBRARY) > 150


@settings(deadline=None, max_examples=60)
@given(tag=st.sampled_from(sorted(LIBRARY)), seed=st.integers(0, 2**32 - 1))
def test_the_key_does_not_depend_on_the_setting(tag: str, seed: int) -> None:
    assert crystal_key(in_another_setting(LIBRARY[tag], seed)) == crystal_key(LIBRARY[tag])


def test_the_key_does_not_depend_on_where_the_origin_is() -> None:
    corner = cubic(3.0, Ni=(0, 0, 0), Al=(0.5, 0.5, 0.5))
    center = cubic(3.0, Ni=(0.5, 0.5, 0.5), Al=(0, 0, 0))
    assert crystal_key(corner) == crystal_key(center) == "AlNi|221|Al:a Ni:b"


def test_letters_are_repeated_for_each_orbit() -> None:
    assert crystal_key(LIBRARY["A_mP4_4_2a"]) == "Te|4|Te:aa"


@pytest.mark.parametrize("tag", ["AB_cP2_221_b_a", "AB2C_cF16_225_a_c_b", "AB_hP4_194_c_a", "A3B_cP4_221_d_a"])
def test_a_key_with_new_names_is_the_key_of_the_renamed_crystal(tag: str) -> None:
    crystal = LIBRARY[tag]
    for chosen in itertools.permutations(("Pt", "Al", "Cu"), len(crystal.amounts)):
        names = dict(zip(crystal.amounts, chosen, strict=True))
        renamed = Crystal(crystal.lattice, tuple(names[s] for s in crystal.species), crystal.frac_coords)
        assert symmetry_of(crystal).key(names) == crystal_key(renamed)


def test_polymorphs_that_differ_in_free_parameters_share_a_key_and_not_their_geometry() -> None:
    alpha = Crystal(((3, 0, 0), (0, 3, 0), (0, 0, 4)), ("Hg",), ((0, 0, 0),))
    beta = Crystal(((3, 0, 0), (0, 3, 0), (0, 0, 2)), ("Hg",), ((0, 0, 0),))
    assert crystal_key(alpha) == crystal_key(beta) == "Hg|123|Hg:a"
    assert not np.allclose(neighbor_distances(alpha, 8)["Hg", "Hg"], neighbor_distances(beta, 8)["Hg", "Hg"], rtol=0.1)


@pytest.mark.parametrize(
    "crystal",
    [cubic(3.0, Al=(0, 0, 0), Cu=(0, 0, 0)), Crystal(((1, 0, 0), (0, 1, 0), (1, 1, 0)), ("Al",), ((0, 0, 0),))],
    ids=["two atoms in one place", "flat"],
)
def test_a_crystal_without_a_symmetry_is_refused(crystal: Crystal) -> None:
    with pytest.raises(ContractError, match="no symmetry found for Al"):
        crystal_key(crystal)


# Distances


@pytest.mark.parametrize(
    ("crystal", "distance"),
    [
        (from_atoms(bulk("Cu", a=3.6)), 3.6 / math.sqrt(2)),
        (from_atoms(bulk("Cu", a=3.6, cubic=True)), 3.6 / math.sqrt(2)),
        (from_atoms(bulk("Fe", a=2.87)), 2.87 * math.sqrt(3) / 2),
        (from_atoms(bulk("Po", "sc", a=3.3)), 3.3),
        (from_atoms(bulk("C", a=3.57)), 3.57 * math.sqrt(3) / 4),
        (cubic(5.0, Al=(0.01, 0, 0), Cu=(0.99, 0, 0)), 0.1),
        (Crystal(((1, 0, 0), (100, 1, 0), (57, 33, 1)), ("Al",), ((0, 0, 0),)), 1.0),
    ],
)
def test_the_minimum_distance_is_the_closed_form(crystal: Crystal, distance: float) -> None:
    assert minimum_distance(crystal) == pytest.approx(distance, rel=1e-9)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 5))
def test_the_minimum_distance_is_that_of_a_search_of_many_images(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    lattice = rng.uniform(-1, 1, (3, 3)) + 4 * np.eye(3)
    sites = rng.random((n, 3))
    steps = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    vectors = (sites[:, None, None] - sites[None, :, None] + steps) @ lattice
    lengths = np.linalg.norm(vectors, axis=-1)
    change = unimodular(rng, 6)
    skewed = Crystal(tuple(map(tuple, change @ lattice)), ("Al",) * n, tuple(map(tuple, sites @ np.linalg.inv(change))))
    assert minimum_distance(skewed) == pytest.approx(lengths[lengths > 1e-9].min(), rel=1e-6)


def test_the_closest_contact_is_the_one_that_is_short_for_its_atoms() -> None:
    # Hydrogen is nearer, but caesium is the one that is squeezed.
    crystal = Crystal(
        ((9, 0, 0), (0, 9, 0), (0, 0, 9)), ("H", "H", "Cs", "Cs"), ((0, 0, 0), (0.1, 0, 0), (0, 0, 0.5), (0.3, 0, 0.5))
    )
    contact = closest_contact(crystal, COVALENT_RADII)
    assert contact.symbols == ("Cs", "Cs")
    assert contact.distance == pytest.approx(2.7)
    assert contact.ratio == pytest.approx(2.7 / (2 * 2.44))
    assert minimum_distance(crystal) == pytest.approx(0.9)


def test_a_contact_of_an_element_without_radius_is_refused() -> None:
    with pytest.raises(ContractError, match="no radius is known for Bk"):
        closest_contact(cubic(3.0, Bk=(0, 0, 0)), COVALENT_RADII)


def test_neighbor_distances_of_caesium_chloride_are_its_shells() -> None:
    shells = neighbor_distances(cubic(4.0, Cs=(0, 0, 0), Cl=(0.5, 0.5, 0.5)), 14)
    unlike, like = [2 * math.sqrt(3)] * 8 + [2 * math.sqrt(11)] * 6, [4.0] * 6 + [4 * math.sqrt(2)] * 8
    for pair in (("Cs", "Cl"), ("Cl", "Cs")):
        assert shells[pair] == pytest.approx(unlike)
    for pair in (("Cs", "Cs"), ("Cl", "Cl")):
        assert shells[pair] == pytest.approx(like)


@settings(deadline=None, max_examples=40)
@given(tag=st.sampled_from(sorted(LIBRARY)), seed=st.integers(0, 2**32 - 1))
def test_neighbor_distances_do_not_depend_on_the_setting(tag: str, seed: int) -> None:
    first = neighbor_distances(LIBRARY[tag], 8)
    second = neighbor_distances(in_another_setting(LIBRARY[tag], seed), 8)
    assert first.keys() == second.keys()
    for pair, distances in first.items():
        assert second[pair] == pytest.approx(distances, rel=1e-6)


@pytest.mark.parametrize("tag", ["A_hP2_194_c", "AB2_tI6_139_a_e", "A_aP4_2_aci"])
def test_neighbor_distances_are_those_that_pymatgen_finds(tag: str) -> None:
    structure = to_structure(LIBRARY[tag])
    ours = neighbor_distances(LIBRARY[tag], 6)
    for a, b in ours:
        rows = [
            sorted(n.nn_distance for n in structure.get_neighbors(site, 12) if n.specie.symbol == b)[:6]
            for site in structure
            if site.specie.symbol == a
        ]
        assert ours[a, b] == pytest.approx(np.mean(rows, axis=0), rel=1e-6)


def test_scaling_gives_the_volume_and_keeps_the_shape() -> None:
    crystal = LIBRARY["A_hP2_194_c"]
    larger = scaled(crystal, 100.0)
    assert volume_of(larger) == pytest.approx(100.0)
    assert np.array(larger.lattice) / np.array(crystal.lattice)[0, 0] == pytest.approx(
        np.array(crystal.lattice) * larger.lattice[0][0] / crystal.lattice[0][0] / np.array(crystal.lattice)[0, 0]
    )
    assert larger.frac_coords == crystal.frac_coords


@pytest.mark.parametrize("lattice", [((1, 0, 0), (0, 1, 0), (1, 1, 0)), ((0, 0, 0), (0, 1, 0), (0, 0, 1))])
def test_a_cell_without_volume_is_refused(lattice) -> None:
    crystal = Crystal(lattice, ("Al",), ((0, 0, 0),))
    for measure in (volume_of, minimum_distance):
        with pytest.raises(ContractError, match="no volume"):
            measure(crystal)


@pytest.mark.parametrize(
    ("lattice", "site"),
    [(((math.nan, 0, 0), (0, 1, 0), (0, 0, 1)), (0, 0, 0)), (CUBE, (0, math.inf, 0))],
)
def test_a_crystal_with_a_nonsense_number_is_refused_at_birth(lattice, site) -> None:
    with pytest.raises(ContractError, match="not a finite number"):
        Crystal(lattice, ("Al",), (site,))


# Sizes


def test_volumes_of_metals_are_those_of_their_lattices() -> None:
    for symbol, a in {"Al": 4.05, "Cu": 3.61, "Ag": 4.09, "Au": 4.08, "Ni": 3.52, "Pd": 3.89, "Pt": 3.92}.items():
        assert ATOMIC_VOLUMES[symbol] == pytest.approx(a**3 / 4, rel=1e-3)
    assert ATOMIC_VOLUMES["Fe"] == pytest.approx(2.87**3 / 2, rel=1e-3)
    assert ATOMIC_VOLUMES["Mg"] == pytest.approx(23.2, rel=1e-2)


def test_radii_and_metals_cover_the_elements_up_to_curium() -> None:
    assert set(COVALENT_RADII) == set(SYMBOLS[:96])
    assert {"Al", "Cu", "U", "Cm"} <= METALS
    assert not METALS & {"H", "B", "Si", "Ge", "O", "Xe"}
    assert set(SYMBOLS[:96]) - set(ATOMIC_VOLUMES) == {"At", "Fr"}


def test_an_alloy_gets_the_sum_of_its_elements_volumes() -> None:
    alloy = cubic(1.0, Ni=(0, 0, 0), Al=(0.5, 0.5, 0.5))
    assert estimated_volume(alloy) == pytest.approx(ATOMIC_VOLUMES["Ni"] + ATOMIC_VOLUMES["Al"])


@pytest.mark.parametrize(
    ("atoms", "tolerance"),
    [
        (bulk("MgO", "rocksalt", a=4.21), 0.1),
        (bulk("GaAs", "zincblende", a=5.65), 0.1),
        (bulk("NaCl", "rocksalt", a=5.64), 0.2),
        (bulk("Si"), 0.2),
    ],
    ids=["MgO", "GaAs", "NaCl", "Si"],
)
def test_a_compound_with_nonmetals_gets_about_its_real_volume_whatever_the_cells_was(atoms: Atoms, tolerance) -> None:
    crystal = from_atoms(atoms)
    estimate = estimated_volume(crystal)
    assert estimate == pytest.approx(volume_of(crystal), rel=tolerance)
    assert estimated_volume(scaled(crystal, 7.0)) == pytest.approx(estimate)


def test_an_element_without_a_measured_volume_is_sized_by_contact() -> None:
    crystal = cubic(1.0, At=(0, 0, 0))
    assert estimated_volume(crystal) == pytest.approx((2 * COVALENT_RADII["At"]) ** 3)


# pymatgen and ASE


@pytest.mark.parametrize("tag", ["AB2_tI6_139_a_e", "A_aP4_2_aci"])
def test_there_and_back_is_the_same_crystal(tag: str) -> None:
    crystal = LIBRARY[tag]
    assert from_structure(to_structure(crystal)) == crystal
    back = from_atoms(to_atoms(crystal))
    assert back.species == crystal.species
    assert np.array(back.lattice) == pytest.approx(np.array(crystal.lattice))
    assert np.array(back.frac_coords) == pytest.approx(np.array(crystal.frac_coords))
    assert to_atoms(crystal).pbc.all()


def test_oxidation_states_and_isotopes_are_taken_off() -> None:
    structure = Structure(Lattice.cubic(4.2), ["Mg2+", "O2-", "D", "T"], np.eye(4, 3) / 2)
    assert from_structure(structure).species == ("Mg", "O", "H", "H")


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]]), "disordered.*Cu.*Au"),
        (Structure(Lattice.cubic(3), [{"Cu": 0.9}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), [DummySpecies("Xx")], [[0, 0, 0]]), "Xx.* is not a chemical element"),
        (Structure(Lattice.cubic(3, pbc=(True, True, False)), ["Cu"], [[0, 0, 0]]), "not periodic"),
        (Structure(Lattice([[1, 0, 0], [0, 1, 0], [1, 1, 0]]), ["Cu"], [[0, 0, 0]]), "no volume"),
    ],
    ids=["mixed", "partial", "dummy", "slab", "flat"],
)
def test_a_structure_that_is_no_ordered_crystal_is_refused(structure: Structure, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        from_structure(structure)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (molecule("H2O"), "no lattice"),
        (fcc111("Cu", (1, 1, 3), vacuum=8), "not periodic"),
        (Atoms("X", cell=[3, 3, 3], pbc=True), "no such element: X"),
        (Atoms("Cu", cell=[3, 3, math.nan], pbc=True), "not a finite number"),
    ],
    ids=["molecule", "slab", "ghost", "nan"],
)
def test_atoms_that_are_no_crystal_are_refused(atoms: Atoms, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        from_atoms(atoms)
