"""Crystals that are nearly symmetric, made exactly so."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from active_learning.crystals.ase import from_atoms, to_atoms
from active_learning.crystals.symmetry import symmetry_of
from active_learning.domain.candidate import Crystal
from active_learning.errors import ContractError
from active_learning.labelers.symmetrizing import symmetrized

DATA = Path(__file__).parents[1] / "data" / "crystals.json.gz"
CRYSTALS = [Crystal.from_json(entry["crystal"]) for entry in json.loads(gzip.decompress(DATA.read_bytes()))]


def distances(crystal: Crystal) -> Any:
    return to_atoms(crystal).get_all_distances(mic=True)


@given(st.sampled_from(CRYSTALS), st.integers(0, 2**32 - 1))
def test_a_crystal_that_was_shaken_a_little_gets_its_symmetry_back(crystal: Crystal, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = to_atoms(crystal)
    atoms.set_cell(np.array(crystal.lattice) @ (np.eye(3) + rng.uniform(-2e-4, 2e-4, (3, 3))), scale_atoms=True)
    atoms.positions += rng.uniform(-1e-3, 1e-3, (len(atoms), 3))
    shaken = from_atoms(atoms)
    found = symmetrized(shaken, 0.05)
    assert symmetry_of(found, 1e-5).number == symmetry_of(shaken, 0.05).number
    assert found.species == crystal.species
    assert np.allclose(found.lattice, shaken.lattice, atol=0.02)
    assert np.allclose(distances(found), distances(shaken), atol=0.02)
    # Again it changes nothing.
    again = symmetrized(found, 0.05)
    assert np.allclose(again.lattice, found.lattice, atol=1e-9)
    assert np.allclose(again.frac_coords, found.frac_coords, atol=1e-9)


def test_digits_that_are_missing_come_back() -> None:
    atoms = bulk("Mg")
    atoms.set_scaled_positions([(0.33333, 0.66667, 0.25), (0.66667, 0.33333, 0.75)])
    found = symmetrized(from_atoms(atoms), 1e-3)
    assert np.allclose(np.diff(found.frac_coords, axis=0), [[1 / 3, -1 / 3, 0.5]], atol=1e-12)


def test_what_is_farther_off_than_the_tolerance_stays() -> None:
    atoms = bulk("Si")
    atoms.positions[1] += (0.1, 0.02, 0.0)
    crystal = from_atoms(atoms)
    found = symmetrized(crystal, 1e-3)
    assert np.allclose(found.lattice, crystal.lattice, atol=1e-9)
    assert np.allclose(found.frac_coords, crystal.frac_coords, atol=1e-9)


def test_atoms_on_one_another_have_no_symmetry() -> None:
    cube = ((3.0, 0, 0), (0, 3.0, 0), (0, 0, 3.0))
    with pytest.raises(ContractError, match="no symmetry found"):
        symmetrized(Crystal(cube, ("Al", "Al"), ((0, 0, 0), (0, 0, 0))), 0.01)
