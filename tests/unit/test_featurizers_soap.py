"""SOAP is dscribe's, called plainly."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from dscribe.descriptors import SOAP

from active_learning.domain.candidate import Candidate
from active_learning.errors import UserError
from active_learning.featurizers.matminer import Matminer


def featurizer(**options: Any) -> Matminer:
    return Matminer(Matminer.Options(sets=[{"name": "soap", "n_max": 4, "l_max": 3, **options}]))


def atoms_of(candidate: Candidate) -> Atoms:
    crystal = candidate.crystal
    assert crystal is not None
    return Atoms(crystal.species, cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)


def elements_of(candidates: list[Candidate]) -> list[str]:
    return sorted({element for candidate in candidates for element in candidate.elements})


@pytest.mark.parametrize("average", ["inner", "outer"])
def test_values_are_dscribes(average: str, crystals: list[Candidate]) -> None:
    few = crystals[:30]
    built = featurizer(species=elements_of(few)[::-1], average=average, r_cut=4.0)
    theirs = SOAP(r_cut=4.0, n_max=4, l_max=3, sigma=0.5, species=elements_of(few), average=average, periodic=True)
    block = built.featurize(few)
    assert block.failures == {}
    assert len(built.names) == len(set(built.names)) == theirs.get_number_of_features()
    np.testing.assert_allclose(block.values, [theirs.create(atoms_of(c)) for c in few], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["mu2", "mu1nu1", "crossover"])
def test_compressed_values_are_dscribes(mode: str, crystals: list[Candidate]) -> None:
    few = crystals[:30]
    compression = {"mode": mode, "species_weighting": None}
    theirs = SOAP(
        r_cut=5.0,
        n_max=4,
        l_max=3,
        sigma=0.5,
        species=elements_of(few),
        average="inner",
        periodic=True,
        compression=compression,
    )
    block = featurizer(species=elements_of(few), compression=mode).featurize(few)
    np.testing.assert_allclose(block.values, [theirs.create(atoms_of(c)) for c in few], rtol=1e-9, atol=1e-12)


def test_without_elements_any_crystal_has_the_same_few_features(crystals: list[Candidate]) -> None:
    built = featurizer(compression="mu2")
    assert len(built.names) == 4 * 5 // 2 * 4
    block = built.featurize(crystals)
    assert block.failures == {}
    assert len(np.unique(block.values.round(9), axis=0)) == len(crystals)


def test_names_say_which_pair_of_elements_a_feature_is_of() -> None:
    names = featurizer(species=["Cu", "Al"]).names
    theirs = SOAP(r_cut=5.0, n_max=4, l_max=3, species=["Al", "Cu"], periodic=True)
    assert names[0] == "SOAP Al-Al 0"
    where = theirs.get_location(("Al", "Cu"))
    assert {name.rpartition(" ")[0] for name in names[where]} == {"SOAP Al-Cu"}


def test_a_foreign_element_is_a_failure_that_names_it() -> None:
    salt = Atoms("NaCl", cell=[[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]], scaled_positions=[[0] * 3, [0.5] * 3])
    from active_learning.crystals.ase import from_atoms

    salt.pbc = True
    block = featurizer(species=["Na", "F"]).featurize([Candidate.of(from_atoms(salt))])
    assert block.failures == {0: "soap: Cl not among its species"}


def test_without_dscribe_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dscribe.descriptors", None)
    with pytest.raises(UserError, match=r"needs dscribe.*pip install 'motherlode\[soap\]'"):
        _ = featurizer(species=["Al"]).names
