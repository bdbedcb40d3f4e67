"""The crystal of each element, as ASE tabulates it: what formation energies are measured against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import ase.io
from ase.build import bulk
from ase.data import atomic_numbers, reference_states

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Candidate
from active_learning.errors import UserError

__all__ = ["elemental_crystals"]

_WHOLE = frozenset({"fcc", "bcc", "hcp", "diamond", "sc", "bct", "rhombohedral"})
"""Structures that ASE's table describes completely. (Of uranium's it knows the cell, and puts one atom in it.)"""


def elemental_crystals(elements: Iterable[str], files: Mapping[str, Path]) -> dict[str, Candidate]:
    """The reference candidate of each element: from the file that the user names for it, else from ASE's table.

    Raises
    ------
    UserError
        If a file cannot be read or is not of that element alone, or if ASE's table has no whole crystal of some
        elements (molecules, complex structures, no data): it names them all, and the ways out.
    """
    found: dict[str, Candidate] = {}
    unknown = []
    for element in elements:
        if element in files:
            found[element] = _read(element, files[element])
        elif (built := _build(element)) is not None:
            found[element] = built
        else:
            unknown.append(element)
    if unknown:
        raise UserError(
            f"no elemental crystal is known for {', '.join(unknown)}. Give its energy per atom (in eV, by the same "
            f"calculator and settings) as [labeler.references] {unknown[0]} = -1.23, or a structure file as "
            f'[labeler.reference_structures] {unknown[0]} = "{unknown[0]}.cif".'
        )
    return found


def _build(element: str) -> Candidate | None:
    state = reference_states[atomic_numbers[element]]
    if state is None or state["symmetry"] not in _WHOLE or ("basis" in state and state["basis"] is None):
        return None
    return Candidate.of(from_atoms(bulk(element)), origin=f"{state['symmetry']} {element}, ase.data.reference_states")


def _read(element: str, path: Path) -> Candidate:
    try:
        crystal = from_atoms(ase.io.read(path))
    except Exception as error:
        # ASE's readers raise whatever comes to their parsers.
        raise UserError(f"the reference structure of {element}, {path}, cannot be read: {error}") from error
    if set(crystal.species) != {element}:
        raise UserError(
            f"the reference structure of {element}, {path}, holds {', '.join(sorted(set(crystal.species)))}"
        )
    return Candidate.of(crystal, origin=path.name)
