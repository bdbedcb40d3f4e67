"""Readers of crystal files: each turns what a file holds into crystals, and into reasons where there is none.

A fault in one frame, block, document or row costs that one only. A file of many is read one at a time.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, TextIO, TypeVar

import ase.io
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp.inputs import Poscar

from active_learning.crystals.ase import from_atoms
from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Crystal
from active_learning.errors import ContractError
from active_learning.pools.parts import Part

__all__ = ["Found", "attempt", "cif_crystals", "poscar_crystal", "read_cif", "read_poscar", "read_xyz"]

T = TypeVar("T")


class Found(NamedTuple):
    """A crystal, or the reason why there is none.

    `place` names the frame, block or document in the file, and is empty where a file holds one crystal; `id` is what
    the file itself calls it, if it does.
    """

    place: str
    crystal: Crystal | str
    id: str = ""


def attempt(read: Callable[[T], Crystal], source: T) -> Crystal | str:
    """What `read` makes of something, or the reason why it could not, in one line.

    The libraries warn of much that does not matter (rounded coordinates, a selective-dynamics tag). What does matter
    is asked of their results, by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(source)
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


def cif_crystals(text: str) -> Iterator[Found]:
    """The crystals in a CIF, block by block."""
    blocks = re.split(r"^\s*data_", text, flags=re.MULTILINE)[1:]
    crystals = [block for block in blocks if "_atom_site_fract_x" in block]
    if not crystals:
        yield Found("", "holds no structure")
    for number, block in enumerate(crystals, start=1):
        place = "" if len(crystals) == 1 else f"block {number} ({block.split(maxsplit=1)[0]})"
        yield Found(place, attempt(_cif_block, f"data_{block}"))


def read_cif(part: Part) -> Iterator[Found]:
    """The crystals in a CIF file."""
    with part.text() as file:
        yield from cif_crystals(file.read())


def poscar_crystal(text: str) -> Crystal:
    """The crystal in a POSCAR file.

    Raises
    ------
    ContractError
        If it does not name its elements, or has fewer lines than atoms.
    Exception
        Whatever pymatgen raises for a broken one.
    """
    lines = text.splitlines()
    counts = next((line.split() for line in lines[5:7] if line.split() and line.split()[0].isdecimal()), [])
    n_atoms = sum(int(count) for count in counts if count.isdecimal())
    # pymatgen would make a list of so many atoms before it looks for the first.
    if n_atoms > len(lines):
        raise ContractError(f"cannot be read: it has fewer lines ({len(lines)}) than atoms ({n_atoms:.6g})")
    poscar = Poscar.from_str(text, read_velocities=False)
    if not poscar.true_names:
        raise ContractError("does not say which elements it holds (VASP 4 format); add a line of symbols")
    return from_structure(poscar.structure)


def read_poscar(part: Part) -> Iterator[Found]:
    """The crystal in a POSCAR or CONTCAR file."""
    with part.text() as file:
        yield Found("", attempt(poscar_crystal, file.read()))


def _frame(text: str) -> Crystal:
    return from_atoms(ase.io.read(io.StringIO(text), format="extxyz"))


def read_xyz(part: Part) -> Iterator[Found]:
    """The frames of an (extended) xyz file, one at a time; they may hold different atoms."""
    with part.text() as file:
        yield from _frames(file)


def _frames(file: TextIO) -> Iterator[Found]:
    number = 0
    while True:
        head = file.readline()
        if not head.strip() and not any(line.strip() for line in file):
            break
        number += 1
        text = head.strip()
        # No more digits: no file holds so many atoms, and Python refuses to read them as a number.
        if not text.isdecimal() or len(text) > 12:
            yield Found(f"frame {number}", f"cannot be read from here on: {text[:40]!r} is not a number of atoms")
            return
        lines = [head, *islice(file, int(text) + 1)]
        if len(lines) < int(text) + 2:
            yield Found(f"frame {number}", "cannot be read from here on: ends in the middle of a frame")
            return
        yield Found(f"frame {number}", attempt(_frame, "".join(lines).rstrip("\n") + "\n"))
    if not number:
        yield Found("", "holds no structure")
