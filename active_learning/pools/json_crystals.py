"""Crystals in JSON files: of pymatgen, of the Materials Project, of ASE.

JSON is read as data only: no class that a file names is ever built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from pymatgen.core.structure import Structure

from active_learning.crystals.ase import from_atoms
from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Crystal
from active_learning.domain.json_items import items_of
from active_learning.pools.parts import Part
from active_learning.pools.readers import Found, attempt

__all__ = ["ID_FIELDS", "is_structure", "read_json", "structure_crystal"]

ID_FIELDS = ("material_id", "mp_id", "task_id", "id", "mat_id")
"""Fields by which databases name a document, the first that is there."""


def is_structure(value: Any) -> bool:
    """Whether a JSON value is a pymatgen Structure."""
    return isinstance(value, dict) and "lattice" in value and "sites" in value


def structure_crystal(value: Mapping[str, Any]) -> Crystal:
    """The crystal of a pymatgen Structure that was written as JSON.

    Raises
    ------
    ContractError
        As `active_learning.crystals.pymatgen.from_structure`.
    Exception
        Whatever pymatgen raises for a broken one.
    """
    # Lattice and occupations alone: other properties may name classes of any installed package to be built.
    sites = [{"species": site["species"], "abc": site["abc"]} for site in value["sites"]]
    return from_structure(Structure.from_dict({"lattice": value["lattice"], "sites": sites}))


def read_json(part: Part) -> Iterator[Found]:
    """Every Structure in a JSON file: itself, in lists, under keys (documents and entries have one at "structure").

    A file that ASE wrote gives its rows. A list is read item by item; anything else is in memory as a whole.
    """
    with part.text() as file:
        text = file.read()
    n_found = 0
    try:
        for number, value in items_of(text):
            found = _ase_rows(value) if _is_ase(value) else _documents(value, f"item {number}" if number else "")
            for one in found:
                n_found += 1
                yield one
    except (ValueError, RecursionError) as error:
        yield Found("", f"cannot be read{' from here on' if n_found else ''}: {error}")
        return
    if not n_found:
        yield Found("", "holds no structure")


def _id_in(value: Mapping[str, Any]) -> str:
    found = (value.get(field) for field in ID_FIELDS)
    return next((str(v) for v in found if isinstance(v, str | int) and not isinstance(v, bool) and v != ""), "")


def _documents(value: Any, place: str, name: str = "") -> Iterator[Found]:
    if is_structure(value):
        yield Found(place, attempt(structure_crystal, value), name)
        return
    own = _id_in(value) if isinstance(value, dict) else ""
    if own:
        place, name = f"{place} ({own})" if place else own, own
    items = value.items() if isinstance(value, dict) else enumerate(value, 1) if isinstance(value, list) else ()
    for key, item in items:
        if own and key == "structure":
            yield from _documents(item, place, name)
        else:
            yield from _documents(item, f"{place}/{key}" if place else f"item {key}", f"{name}/{key}" if name else "")


def _is_ase(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("ids"), list) and "nextid" in value


def _ase_rows(value: Mapping[str, Any]) -> Iterator[Found]:
    for number in value["ids"]:
        yield Found(f"row {number}", attempt(_ase_crystal, value.get(str(number))), str(number))


def _ase_crystal(row: Any) -> Crystal:
    cell = row["cell"]
    cell = cell["array"] if isinstance(cell, dict) and "array" in cell else cell
    fields = {"numbers": row["numbers"], "positions": row["positions"], "cell": cell, "pbc": row["pbc"]}
    return from_atoms(Atoms(**{name: _array(field) for name, field in fields.items()}))


def _array(value: Any) -> Any:
    """An array in ASE's JSON: shape, type and the numbers in a row; older files have plain lists."""
    if not isinstance(value, dict):
        return np.array(value)
    shape, _, numbers = value["__ndarray__"]
    return np.array(numbers).reshape(shape)
