"""Crystals to and from ASE."""

from __future__ import annotations

from ase import Atoms

from active_learning.crystals.geometry import volume_of
from active_learning.domain.candidate import Crystal
from active_learning.errors import ContractError

__all__ = ["from_atoms", "to_atoms"]


def to_atoms(crystal: Crystal) -> Atoms:
    """The crystal as ASE Atoms, periodic in three directions."""
    return Atoms(list(crystal.species), cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)


def from_atoms(atoms: Atoms) -> Crystal:
    """The crystal of ASE Atoms; coordinates stay outside the cell where they are so.

    Raises
    ------
    ContractError
        If they have no lattice, are not periodic in three directions, or hold an atom that is no chemical element.
        Also if the cell has no volume or a number is not finite.
    """
    if atoms.cell.rank < 3:
        raise ContractError("no lattice in three dimensions")
    if not all(atoms.pbc):
        raise ContractError("not periodic in all three directions")
    a, b, c = (tuple(row) for row in atoms.cell.array.tolist())
    sites = tuple(tuple(row) for row in atoms.get_scaled_positions(wrap=False).tolist())
    crystal = Crystal((a, b, c), tuple(atoms.get_chemical_symbols()), sites)
    volume_of(crystal)
    return crystal
