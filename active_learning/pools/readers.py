"""Readers of crystal files: each turns a file's text into crystals, and into reasons where there is none.

A reader yields ``(place, crystal)`` or ``(place, reason)``; `place` names the frame or block in the file, and is empty
where a file holds one crystal. A fault in one frame or block costs that one only.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp.inputs import Poscar

from active_learning.crystals.ase import from_atoms
from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Crystal
from active_learning.errors import ContractError

__all__ = ["READABLE", "Reader", "reader_of"]

Found = tuple[str, Crystal | str]
Reader = Callable[[str], Iterator[Found]]

READABLE = "*.cif, POSCAR*, CONTCAR*, *.vasp, *.poscar, *.xyz, *.extxyz, *.json (pymatgen Structures)"


def _try(read: Callable[[str], Crystal], text: str) -> Crystal | str:
    """What `read` makes of a text, or the reason why it could not, in one line.

    The libraries warn of much that does not matter (rounded coordinates, a selective-dynamics tag). What does matter
    is asked of their results, by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(text)
        except ContractError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a broken file may raise anything, and is reported as dropped
            return f"cannot be read: {type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _cif_block(text: str) -> Crystal:
    parser = CifParser.from_str(text)
    (structure,) = parser.parse_structures(primitive=False, on_error="raise")
    doubt = parser.check(structure)
    # Other doubts mean only that the file states no formula to compare with.
    if doubt is not None and doubt.startswith(("Missing", "Incorrect")):
        raise ContractError(f"its sites do not give its stated formula: {' '.join(doubt.split())}")
    return from_structure(structure)


def _read_cif(text: str) -> Iterator[Found]:
    blocks = re.split(r"^\s*data_", text, flags=re.MULTILINE)[1:]
    crystals = [block for block in blocks if "_atom_site_fract_x" in block]
    if not crystals:
        yield "", "holds no structure"
    for number, block in enumerate(crystals, start=1):
        place = "" if len(crystals) == 1 else f"block {number} ({block.split(maxsplit=1)[0]})"
        yield place, _try(_cif_block, f"data_{block}")


def _poscar(text: str) -> Crystal:
    poscar = Poscar.from_str(text, read_velocities=False)
    if not poscar.true_names:
        raise ContractError("does not say which elements it holds (VASP 4 format); add a line of symbols")
    return from_structure(poscar.structure)


def _read_poscar(text: str) -> Iterator[Found]:
    yield "", _try(_poscar, text)


def _frame(text: str) -> Crystal:
    return from_atoms(ase.io.read(io.StringIO(text), format="extxyz"))


def _read_xyz(text: str) -> Iterator[Found]:
    lines = text.rstrip().splitlines()
    at, number = 0, 1
    if not lines:
        yield "", "holds no structure"
    while at < len(lines):
        place = f"frame {number}"
        head = lines[at].strip()
        n_lines = int(head) + 2 if head.isdecimal() else 0
        if not n_lines or at + n_lines > len(lines):
            fault = f"{head[:40]!r} is not a number of atoms" if not n_lines else "ends in the middle of a frame"
            yield place, f"cannot be read from here on: {fault}"
            return
        yield place, _try(_frame, "\n".join(lines[at : at + n_lines]) + "\n")
        at, number = at + n_lines, number + 1


def _pymatgen_values(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Structure written in a JSON value: itself, in lists, under keys (entries have one under "structure")."""
    if isinstance(value, dict) and "lattice" in value and "sites" in value:
        yield place, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value, 1) if isinstance(value, list) else ()
    for name, item in items:
        yield from _pymatgen_values(item, f"{place}/{name}" if place else f"item {name}")


def _from_dict(text: str) -> Crystal:
    value = json.loads(text)
    # Lattice and occupations alone: other properties may name classes of any installed package to be built.
    sites = [{"species": site["species"], "abc": site["abc"]} for site in value["sites"]]
    return from_structure(Structure.from_dict({"lattice": value["lattice"], "sites": sites}))


def _read_json(text: str) -> Iterator[Found]:
    try:
        loaded = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        yield "", f"cannot be read: not JSON: {error}"
        return
    n_found = 0
    for n_found, (place, value) in enumerate(_pymatgen_values(loaded), start=1):  # noqa: B007 - counts what was found
        yield place, _try(_from_dict, json.dumps(value))
    if not n_found:
        yield "", "holds no structure"


_BY_SUFFIX: dict[str, Reader] = {
    ".cif": _read_cif,
    ".vasp": _read_poscar,
    ".poscar": _read_poscar,
    ".xyz": _read_xyz,
    ".extxyz": _read_xyz,
    ".json": _read_json,
}


def reader_of(path: Path) -> Reader | None:
    """The reader for a file of this name; None if its name says nothing of crystals."""
    by_suffix = _BY_SUFFIX.get(path.suffix.lower())
    if by_suffix is None and path.name.upper().startswith(("POSCAR", "CONTCAR")):
        return _read_poscar
    return by_suffix
