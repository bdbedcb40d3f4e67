"""A crystal as a file for other programs and people, and a candidate as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Literal

import ase.io
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar

from active_learning.crystals.ase import to_atoms
from active_learning.crystals.pymatgen import to_structure
from active_learning.domain.candidate import Candidate, Crystal

__all__ = ["CANDIDATE_FILE", "FILE_NAMES", "StructureFormat", "candidate_text", "structure_text"]

StructureFormat = Literal["cif", "poscar", "extxyz", "json"]
"""Formats that hold a whole crystal. (Plain xyz is none: it has no cell.)"""

FILE_NAMES: Mapping[StructureFormat, str] = {
    "cif": "structure.cif",
    "poscar": "POSCAR",
    "extxyz": "structure.extxyz",
    "json": "structure.json",
}
"""Format -> name of the file. Nothing of a candidate is in it."""

CANDIDATE_FILE = "candidate.json"
_DIGITS = 10
"""After the decimal point, in CIF and POSCAR."""


def _cif(crystal: Crystal) -> str:
    """All atoms of the cell, in no symmetry but the identity: nothing depends on a reader's idea of a space group."""
    return str(CifWriter(to_structure(crystal), significant_figures=_DIGITS))


def _poscar(crystal: Crystal) -> str:
    """Atoms sorted by element, since programs take each element's atoms to stand together."""
    return Poscar(to_structure(crystal), sort_structure=True).get_str(significant_figures=_DIGITS)


def _extxyz(crystal: Crystal) -> str:
    file = io.StringIO()
    ase.io.write(file, to_atoms(crystal), format="extxyz")
    return file.getvalue()


def _json(crystal: Crystal) -> str:
    return json.dumps(to_structure(crystal).as_dict())


_WRITERS: Mapping[StructureFormat, Callable[[Crystal], str]] = {
    "cif": _cif,
    "poscar": _poscar,
    "extxyz": _extxyz,
    "json": _json,
}


def structure_text(crystal: Crystal, form: StructureFormat) -> str:
    """The crystal in a format, its positions right within 1e-8 Angstrom.

    A CIF tells lengths and angles, so that whoever reads it may turn the cell. JSON is what pymatgen reads
    (`Structure.from_dict`).
    """
    return _WRITERS[form](crystal)


def candidate_text(candidate: Candidate) -> str:
    """The candidate as a JSON object with ``id``, ``formula`` and ``amounts`` (atoms in its cell)."""
    about = {"id": candidate.id, "formula": candidate.formula, "amounts": dict(candidate.amounts)}
    return json.dumps(about, indent=1)
