"""What a sieve remembers of the candidates it took, in few bytes each: a pool may have millions."""

from __future__ import annotations

import hashlib
from array import array

import numpy as np
from numpy.typing import NDArray

from active_learning.crystals.geometry import neighbor_distances
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.elements import ATOMIC_NUMBERS, SYMBOLS
from active_learning.domain.formulas import composition_key

__all__ = ["Lookalikes", "Taken", "composition_number"]

_N_NEIGHBORS = 24
_TOLERANCE = 0.01


def _number(text: str) -> int:
    """64 bits that stand for a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def composition_number(candidate: Candidate) -> int:
    """64 bits that are equal for equal compositions, however they are written.

    Amounts are rounded as in the formula first, so that candidates with the same id have the same number.
    """
    return _number(composition_key({symbol: float(f"{n:.6g}") for symbol, n in candidate.amounts.items()}))


class Taken:
    """Candidates in the order in which they were taken: for each a number that tells them apart, id and origin."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._ids = array("Q")
        self._ends = array("Q")
        self._origins = bytearray()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, number: int, candidate: Candidate) -> None:
        """Remember a candidate by a number of 64 bits."""
        self._rows[number] = len(self._ids)
        self._ids.append(int(candidate.id, 16))
        self._origins += candidate.origin.encode()
        self._ends.append(len(self._origins))

    def find(self, number: int) -> int | None:
        """Row of the candidate with this number, or None."""
        return self._rows.get(number)

    def id(self, row: int) -> str:
        """Id of the candidate in a row."""
        return f"{self._ids[row]:016x}"

    def origin(self, row: int) -> str:
        """Where the candidate in a row came from."""
        start = self._ends[row - 1] if row else 0
        return self._origins[start : self._ends[row]].decode()


class Lookalikes:
    """Crystals by their keys; those that share one are told apart by their geometry, which is computed only then."""

    def __init__(self) -> None:
        self._alone: dict[int, bytes] = {}
        self._families: dict[int, _Family] = {}

    def find_or_add(self, key: str, crystal: Crystal, row: int) -> int | None:
        """Row of the first crystal that is the same as this one; if there is none, remember this one as `row`."""
        number = _number(key)
        family = self._families.get(number)
        if family is None:
            lonely = self._alone.pop(number, None)
            if lonely is None:
                self._alone[number] = _packed(row, crystal)
                return None
            first_row, first = _unpacked(lonely)
            family = self._families[number] = _Family()
            family.add(_shells(first), first_row)
        shells = _shells(crystal)
        twin = family.find(shells)
        if twin is None:
            family.add(shells, row)
        return twin


class _Family:
    """The geometry of crystals with one key, (n_crystals, n_distances), in an array that grows."""

    __slots__ = ("_rows", "_shells")

    def __init__(self) -> None:
        self._rows = array("Q")
        self._shells = np.empty((0, 0), dtype=np.float32)

    def add(self, shells: NDArray[np.float32], row: int) -> None:
        n = len(self._rows)
        if n == len(self._shells):
            grown = np.empty((n + max(1, n // 4), len(shells)), dtype=np.float32)
            if n:
                grown[:n] = self._shells
            self._shells = grown
        self._shells[n] = shells
        self._rows.append(row)

    def find(self, shells: NDArray[np.float32]) -> int | None:
        known = self._shells[: len(self._rows)]
        same = np.flatnonzero((np.abs(known - shells) <= _TOLERANCE * known).all(axis=1))
        return self._rows[int(same[0])] if len(same) else None


def _shells(crystal: Crystal) -> NDArray[np.float32]:
    """Distances to the nearest neighbors, element by element: (n_elements**2 * 24,), Angstrom."""
    distances = neighbor_distances(crystal, _N_NEIGHBORS)
    return np.concatenate([distances[pair] for pair in sorted(distances)]).astype(np.float32)


def _packed(row: int, crystal: Crystal) -> bytes:
    """A crystal in 13 bytes an atom; its positions, in the cell, are right to 1e-7 of the lattice vectors."""
    frac = np.array(crystal.frac_coords)
    return b"".join(
        (
            np.uint64(row).tobytes(),
            np.array(crystal.lattice, dtype=np.float32).tobytes(),
            np.array([ATOMIC_NUMBERS[symbol] for symbol in crystal.species], dtype=np.uint8).tobytes(),
            (frac - np.floor(frac)).astype(np.float32).tobytes(),
        )
    )


def _unpacked(packed: bytes) -> tuple[int, Crystal]:
    n_atoms = (len(packed) - 44) // 13
    numbers = np.frombuffer(packed, np.uint8, n_atoms, 44)
    value = {
        "lattice": np.frombuffer(packed, np.float32, 9, 8).reshape(3, 3).tolist(),
        "species": [SYMBOLS[number - 1] for number in numbers],
        "frac_coords": np.frombuffer(packed, np.float32, 3 * n_atoms, 44 + n_atoms).reshape(-1, 3).tolist(),
    }
    return int(np.frombuffer(packed, np.uint64, 1)[0]), Crystal.from_json(value)
