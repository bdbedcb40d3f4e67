"""A candidate: one material that could be labeled, named by what it is."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from active_learning.domain.elements import ATOMIC_NUMBERS, reduced_formula
from active_learning.errors import ContractError

__all__ = ["Candidate", "Crystal", "Dropped", "content_hash"]

Vector = tuple[float, float, float]


def content_hash(value: Any, *, length: int = 16) -> str:
    """Hexadecimal SHA-256 of a JSON value, keys sorted; `length` digits of it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _vector(values: Any) -> Vector:
    x, y, z = (float(v) for v in values)
    return (x, y, z)


@dataclass(frozen=True)
class Crystal:
    """A periodic structure with fully occupied sites.

    Parameters
    ----------
    lattice : three row vectors, Angstrom
    species : one chemical symbol a site
    frac_coords : one fractional position a site
    """

    lattice: tuple[Vector, Vector, Vector]
    species: tuple[str, ...]
    frac_coords: tuple[Vector, ...]

    def __post_init__(self) -> None:
        rows = tuple(_vector(row) for row in self.lattice)
        if len(rows) != 3:
            raise ContractError(f"a lattice has three vectors, got {len(rows)}")
        object.__setattr__(self, "lattice", rows)
        object.__setattr__(self, "species", tuple(str(symbol) for symbol in self.species))
        object.__setattr__(self, "frac_coords", tuple(_vector(row) for row in self.frac_coords))
        if not self.species or len(self.species) != len(self.frac_coords):
            raise ContractError(f"{len(self.species)} species for {len(self.frac_coords)} sites")
        if not all(math.isfinite(v) for row in (*self.lattice, *self.frac_coords) for v in row):
            raise ContractError("the crystal's lattice or a position is not a finite number")
        unknown = sorted({symbol for symbol in self.species if symbol not in ATOMIC_NUMBERS})
        if unknown:
            raise ContractError(f"no such element: {', '.join(unknown)}")

    @property
    def amounts(self) -> dict[str, float]:
        """Atoms of each element in the cell."""
        return {symbol: float(n) for symbol, n in sorted(Counter(self.species).items())}

    def to_json(self) -> dict[str, Any]:
        """A JSON value; ``Crystal.from_json`` reads it."""
        return {
            "lattice": [list(row) for row in self.lattice],
            "species": list(self.species),
            "frac_coords": [list(row) for row in self.frac_coords],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Crystal:
        """The crystal that ``to_json`` wrote."""
        a, b, c = (_vector(row) for row in value["lattice"])
        return Crystal((a, b, c), tuple(value["species"]), tuple(_vector(r) for r in value["frac_coords"]))

    def _rounded(self) -> dict[str, Any]:
        def near(row: Vector) -> list[float]:
            return [round(v, 6) + 0.0 for v in row]

        sites = sorted(zip(self.species, map(near, self.frac_coords), strict=True))
        return {"lattice": [near(row) for row in self.lattice], "sites": [[s, *xyz] for s, xyz in sites]}


@dataclass(frozen=True)
class Candidate:
    """One material: a crystal, or a bare composition.

    `id` is a hash of the content alone (composition and, when present, the crystal rounded to 1e-6), so the same
    material read twice is the same candidate. `origin` says where it came from, `given` holds descriptors that came
    along with it (a table's columns; NaN where a cell is empty); neither enters the id.
    """

    amounts: Mapping[str, float]
    crystal: Crystal | None = None
    origin: str = ""
    given: Mapping[str, float] = field(default_factory=dict)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        amounts = {str(s): float(self.amounts[s]) for s in sorted(self.amounts)}
        unknown = sorted(symbol for symbol in amounts if symbol not in ATOMIC_NUMBERS)
        if unknown:
            raise ContractError(f"no such element: {', '.join(unknown)}")
        if not amounts or not all(0.0 < amount < float("inf") for amount in amounts.values()):
            raise ContractError(f"a composition needs positive, finite amounts, got {amounts}")
        if self.crystal is not None and self.crystal.amounts != amounts:
            raise ContractError(f"composition {amounts} is not that of the crystal, {self.crystal.amounts}")
        object.__setattr__(self, "amounts", amounts)
        crystal = None if self.crystal is None else self.crystal._rounded()
        object.__setattr__(self, "id", content_hash({"formula": self.formula, "crystal": crystal}))

    @staticmethod
    def of(crystal: Crystal, origin: str = "") -> Candidate:
        """The candidate of a crystal."""
        return Candidate(crystal.amounts, crystal, origin)

    @property
    def formula(self) -> str:
        """Reduced formula, elements in alphabetical order."""
        return reduced_formula(self.amounts)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols, in alphabetical order."""
        return tuple(self.amounts)


@dataclass(frozen=True)
class Dropped:
    """Something a pool read and did not take: `source` is the file, row or prototype; `reason` a short phrase.

    What comes before the first colon of `reason` is its kind, by which a report counts; numbers come after it.
    """

    source: str
    reason: str

    @property
    def kind(self) -> str:
        """The reason without its particulars."""
        return self.reason.partition(":")[0]
