"""Crystals to and from pymatgen."""

from __future__ import annotations

from pymatgen.core.lattice import Lattice
from pymatgen.core.periodic_table import DummySpecies, Element, Species
from pymatgen.core.structure import Structure

from active_learning.crystals.geometry import volume_of
from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import SYMBOLS
from active_learning.errors import ContractError

__all__ = ["from_structure", "to_structure"]


def to_structure(crystal: Crystal) -> Structure:
    """The crystal as a pymatgen Structure."""
    return Structure(Lattice(crystal.lattice), list(crystal.species), [list(row) for row in crystal.frac_coords])


def _symbol(specie: object) -> str:
    """Chemical symbol; oxidation states and isotopes (deuterium, tritium) are taken off."""
    if not isinstance(specie, Element | Species) or isinstance(specie, DummySpecies):
        raise ContractError(f"{specie} is not a chemical element")
    return SYMBOLS[int(specie.Z) - 1]


def from_structure(structure: Structure) -> Crystal:
    """The crystal of a pymatgen Structure, without its oxidation states, isotopes and site properties.

    Raises
    ------
    ContractError
        If it is disordered or has partly occupied sites, is not periodic in three directions, or holds a site that
        is no chemical element. Also if the cell has no volume or a number is not finite.
    """
    mixed = next((site for site in structure if not site.is_ordered), None)
    if mixed is not None:
        raise ContractError(f"disordered: a site is occupied by {mixed.species_string}")
    if not all(structure.lattice.pbc):
        raise ContractError("not periodic in all three directions")
    a, b, c = (tuple(row) for row in structure.lattice.matrix.tolist())
    sites = tuple(tuple(row) for row in structure.frac_coords.tolist())
    crystal = Crystal((a, b, c), tuple(_symbol(site.specie) for site in structure), sites)
    volume_of(crystal)
    return crystal
