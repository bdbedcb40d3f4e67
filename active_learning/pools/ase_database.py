"""Crystals in ASE's databases (SQLite files)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from urllib.parse import quote

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from active_learning.crystals.ase import from_atoms
from active_learning.domain.candidate import Crystal
from active_learning.errors import ContractError
from active_learning.pools.parts import Part
from active_learning.pools.readers import Found, attempt

__all__ = ["read_ase_database"]

_OLDEST = 5
_SQL = "SELECT id, numbers, positions, cell, pbc FROM systems ORDER BY id"
_Row = tuple[int, bytes, bytes, bytes, int]


def read_ase_database(part: Part) -> Iterator[Found]:
    """The rows of an ASE database, one at a time.

    Not by `ase.db`: that loads all rows at once, and makes tables in a file that has none. The file is opened for
    reading only; the columns are those of `ase.db.sqlite` since its version 5 (2015): little-endian arrays of int32
    and float64, and a bit for each periodic direction.
    """
    if part.path is None:
        yield Found("", "an ASE database inside an archive; unpack it first")
        return
    n_rows = 0
    try:
        with closing(sqlite3.connect(f"file:{quote(str(part.path.absolute()))}?mode=ro", uri=True)) as database:
            fault = _fault(database)
            if fault is not None:
                yield Found("", fault)
                return
            for row in database.execute(_SQL):
                n_rows += 1
                yield Found(f"row {row[0]}", attempt(_crystal, row), str(row[0]))
    except sqlite3.Error as error:
        yield Found("", f"cannot be read{' from here on' if n_rows else ''}: {error}")
        return
    if not n_rows:
        yield Found("", "holds no structure")


def _fault(database: sqlite3.Connection) -> str | None:
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "systems" not in tables:
        return "not an ASE database: it has no table 'systems'"
    stated = {"information"} <= tables and database.execute("SELECT value FROM information WHERE name = 'version'")
    version = next(iter(stated), ("0",))[0] if stated else "0"
    if not str(version).isdecimal() or int(version) < _OLDEST:
        return f"an ASE database in an old format: {version}; convert it with python -m ase.db.convert"
    return None


def _crystal(row: _Row) -> Crystal:
    _, numbers, positions, cell, pbc = row
    read = partial(_array, length=3)
    return from_atoms(
        Atoms(
            numbers=_array(numbers, "<i4"), positions=read(positions), cell=read(cell), pbc=[pbc & 1, pbc & 2, pbc & 4]
        )
    )


def _array(blob: bytes, kind: str = "<f8", length: int | None = None) -> NDArray[np.generic]:
    if not isinstance(blob, bytes):
        raise ContractError("cannot be read: a column holds no array")
    values: NDArray[np.generic] = np.frombuffer(blob, kind)
    return values if length is None else values.reshape(-1, length)
