"""Descriptors of whole crystals are matminer's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from matminer.featurizers import site as of_site
from matminer.featurizers import structure as of_structure
from matminer.featurizers.structure import SiteStatsFingerprint
from matminer.featurizers.structure.rdf import (
    ElectronicRadialDistributionFunction,
    PartialRadialDistributionFunction,
    RadialDistributionFunction,
)
from pymatgen.core.structure import Structure

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.featurizers.matminer import Matminer
from active_learning.featurizers.registry import DESCRIPTORS


def case(item: Any, theirs: Callable[[], Any], takes: str, **options: Any) -> Any:
    words = [item] if isinstance(item, str) else map(str, item.values())
    return pytest.param({"item": item, "theirs": theirs, "takes": takes, **options}, id=" ".join(words)[:60])


def sites(build: Callable[[], Any], stats: Sequence[str] = ("mean", "std_dev")) -> Callable[[], Any]:
    return lambda: SiteStatsFingerprint(build(), stats=stats)


SOME = ["Ba", "O", "Ti", "S", "Cu", "Zn"]
CASES = [
    case("density", of_structure.DensityFeatures, "crystal"),
    case("radial_distribution", lambda: RadialDistributionFunction(6.0, 0.25), "crystal"),
    case(
        # Rounding gives matminer an 81st shell, for which it has no name.
        {"name": "radial_distribution", "cutoff": 8.0, "bin_size": 0.1},
        lambda: RadialDistributionFunction(8.0, 0.1),
        "crystal",
        columns=slice(0, 80),
    ),
    case("structural_complexity", of_structure.StructuralComplexity, "crystal"),
    case("ewald_energy", of_structure.EwaldEnergy, "charged crystal"),
    case(
        "global_symmetry",
        lambda: of_structure.GlobalSymmetryFeatures(
            ["spacegroup_num", "crystal_system_int", "is_centrosymmetric", "n_symmetry_ops"]
        ),
        "crystal",
    ),
    case("xrd_powder_pattern", of_structure.XRDPowderPattern, "crystal"),
    case(
        "generalized_radial_distribution",
        sites(lambda: of_site.GeneralizedRadialDistributionFunction.from_preset("gaussian", cutoff=10.0)),
        "crystal",
        n=30,
    ),
    case(
        {"name": "generalized_radial_distribution", "preset": "histogram", "cutoff": 6.0, "stats": ["mean", "maximum"]},
        sites(
            lambda: of_site.GeneralizedRadialDistributionFunction.from_preset("histogram", cutoff=6.0),
            ("mean", "maximum"),
        ),
        "crystal",
    ),
    case("structural_heterogeneity", of_structure.StructuralHeterogeneity, "crystal", n=30),
    case("dimensionality", of_structure.Dimensionality, "crystal", n=30),
    case(
        {"name": "bond_fractions", "elements": SOME},
        lambda: of_structure.BondFractions(
            no_oxi=True, allowed_bonds=[f"{a} - {b}" for a in sorted(SOME) for b in sorted(SOME) if a <= b]
        ),
        "crystal",
        n=30,
    ),
]
SLOW = [
    case("maximum_packing_efficiency", of_structure.MaximumPackingEfficiency, "crystal", n=30),
    case("orbital_field_matrix", of_structure.OrbitalFieldMatrix, "crystal", n=30),
    case("chemical_ordering", of_structure.ChemicalOrdering, "crystal", n=30),
    case(
        "electronic_radial_distribution",
        lambda: ElectronicRadialDistributionFunction(10.0, 0.1),
        "charged crystal",
        n=30,
    ),
    case("jarvis_cfid", of_structure.JarvisCFID, "crystal", n=5),
]


@pytest.mark.parametrize("each", CASES)
def test_values_and_names_are_matminers(each: dict[str, Any], compare: Callable[..., None]) -> None:
    compare(**each)


@pytest.mark.slow
@pytest.mark.parametrize("each", SLOW)
def test_values_and_names_of_slow_ones_are_matminers(each: dict[str, Any], compare: Callable[..., None]) -> None:
    compare(**each)


def test_every_descriptor_of_crystals_is_compared() -> None:
    compared = {each.id.split()[0] for each in (*CASES, *SLOW)} | {"partial_radial_distribution", "sine_coulomb_matrix"}
    modules = ("crystal_descriptors", "radial_descriptors")
    assert compared == {name for name, model in DESCRIPTORS.items() if model.__module__.endswith(modules)}


def test_partial_radial_distributions_are_those_of_matminer_fitted_to_the_crystals(
    structures: list[Structure], compare: Callable[..., None]
) -> None:
    elements = sorted({element.symbol for structure in structures for element in structure.composition})
    compare(
        {"name": "partial_radial_distribution", "elements": elements},
        lambda: PartialRadialDistributionFunction(6.0, 0.5).fit(structures),
        "crystal",
    )


def test_the_sine_coulomb_matrix_is_that_of_matminer_fitted_to_the_crystals(
    structures: list[Structure], compare: Callable[..., None]
) -> None:
    compare(
        {"name": "sine_coulomb_matrix", "max_atoms": max(map(len, structures))},
        lambda: of_structure.SineCoulombMatrix().fit(structures),
        "crystal",
    )


def test_a_crystal_larger_than_the_matrix_is_a_failure_that_says_so(crystals: list[Candidate]) -> None:
    block = Matminer(Matminer.Options(sets=[{"name": "sine_coulomb_matrix", "max_atoms": 6}])).featurize(crystals)
    large = {row: crystal for row, crystal in enumerate(crystals) if sum(crystal.amounts.values()) > 6}
    assert large
    assert set(block.failures) == set(large)
    assert block.failures[len(crystals) - 1] == ("sine_coulomb_matrix: 12 atoms in the cell, more than max_atoms = 6")
    assert np.isfinite(block.values[0]).all()


def test_a_sorted_spectrum_does_not_depend_on_the_order_of_the_sites(crystals: list[Candidate]) -> None:
    one = crystals[40]
    assert one.crystal is not None
    turned = Candidate.of(Crystal(one.crystal.lattice, one.crystal.species[::-1], one.crystal.frac_coords[::-1]))
    built = Matminer(Matminer.Options(sets=[{"name": "sine_coulomb_matrix", "sort": True}]))
    first, second = built.featurize([one, turned]).values
    assert first == pytest.approx(second, rel=1e-9)
    assert (np.diff(np.abs(first)) <= 0).all()
    as_they_come = Matminer(Matminer.Options(sets=["sine_coulomb_matrix"])).featurize([one]).values[0]
    assert np.sort(as_they_come) == pytest.approx(np.sort(first))


def test_density_says_of_which_element_it_knows_no_radius() -> None:
    solid = Candidate.of(from_atoms(bulk("Xe", a=6.2)))
    block = Matminer(Matminer.Options(sets=("density",))).featurize([solid])
    reason = "density: no atomic radius is known for Xe, which the packing fraction needs"
    assert block.failures == {0: reason}
