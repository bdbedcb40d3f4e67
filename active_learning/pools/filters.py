"""What a pool takes and what it drops: options and checks that all pools of crystals share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from active_learning.crystals.geometry import Contact, closest_contact, neighbor_distances
from active_learning.crystals.sizes import COVALENT_RADII
from active_learning.crystals.symmetry import crystal_key
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.options import Options
from active_learning.errors import ContractError

__all__ = ["Elements", "FilterOptions", "Sieve"]


def _real_and_unique(symbols: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [s for s in dict.fromkeys(symbols) if s not in ATOMIC_NUMBERS]
    heavy = [s for s in dict.fromkeys(symbols) if s in ATOMIC_NUMBERS and s not in COVALENT_RADII]
    twice = [s for s in dict.fromkeys(symbols) if symbols.count(s) > 1]
    faults = [
        f"no such element: {', '.join(map(repr, unknown))} (symbols are written like 'Al')" if unknown else "",
        f"no covalent radius is known for {', '.join(heavy)}" if heavy else "",
        f"named more than once: {', '.join(twice)}" if twice else "",
    ]
    if any(faults):
        raise ValueError("; ".join(fault for fault in faults if fault))
    return symbols


Elements = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_real_and_unique)]
"""Chemical symbols, at least one, none twice, none heavier than curium."""


class FilterOptions(Options):
    """Keys that all pools of crystals share."""

    max_atoms: int | None = Field(default=None, ge=1, description="Most atoms in the cell; without it, any number.")
    min_distance: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description=(
            "No two atoms closer than this part of the sum of their covalent radii (not in Angstrom). "
            "Real bonds have 0.65 and more; 0 takes all."
        ),
    )
    drop_duplicates: bool = Field(
        default=True,
        description=(
            "Drop a crystal that was taken before in another setting: a supercell, rotated, shifted, permuted. "
            "Polymorphs, and the same structure at another volume, stay apart."
        ),
    )


class Sieve:
    """Lets a candidate pass, or says why not. It remembers what passed, so one reading of a pool needs one sieve.

    Two crystals are the same if their keys are the same (formula, space group, Wyckoff letters) and so is their
    geometry: the distances to the 24 nearest neighbors of each element around each element, within 1 %. The key alone
    would take polymorphs for one another, because it does not see free parameters; and one shell of neighbors is not
    enough: indium and protactinium, both squeezed body-centered cubic, agree in the nearest eight.
    """

    _N_NEIGHBORS = 24
    _TOLERANCE = 0.01

    def __init__(self, options: FilterOptions, elements: Collection[str] | None = None) -> None:
        self._options = options
        self._elements = elements
        self._ids: dict[str, str] = {}
        self._by_key: dict[str, list[tuple[Candidate, Crystal]]] = {}
        self._shells: dict[str, Mapping[tuple[str, str], NDArray[np.float64]]] = {}

    def sift(self, candidate: Candidate, key: str | None = None) -> Candidate | Dropped:
        """The candidate, if it passes; else why it does not. `key` is its crystal key, if it is known already."""
        try:
            reason = self._reason(candidate, key)
        except ContractError as error:
            reason = str(error)
        if reason is not None:
            return Dropped(candidate.origin, reason)
        self._ids[candidate.id] = candidate.origin
        return candidate

    def _reason(self, candidate: Candidate, key: str | None) -> str | None:
        crystal, options = candidate.crystal, self._options
        if crystal is None:
            return "a bare composition, not a crystal"
        others = [symbol for symbol in candidate.elements if self._elements and symbol not in self._elements]
        if others:
            return f"other elements: holds {', '.join(others)}"
        if options.max_atoms is not None and len(crystal.species) > options.max_atoms:
            return f"too many atoms: {len(crystal.species)}, more than max_atoms = {options.max_atoms}"
        contact = closest_contact(crystal, COVALENT_RADII)
        if contact.ratio < options.min_distance:
            return self._too_close(contact)
        return self._duplicate(candidate, crystal, key)

    def _too_close(self, contact: Contact) -> str:
        a, b = contact.symbols
        return (
            f"atoms too close: {a} and {b} {contact.distance:.2f} Angstrom apart, {contact.ratio:.2f} of the sum of "
            f"their covalent radii (min_distance = {self._options.min_distance:g})"
        )

    def _duplicate(self, candidate: Candidate, crystal: Crystal, key: str | None) -> str | None:
        if candidate.id in self._ids:
            return f"duplicate: the same as {self._ids[candidate.id]}"
        if not self._options.drop_duplicates:
            return None
        alike = self._by_key.setdefault(key or crystal_key(crystal), [])
        for other, other_crystal in alike:
            first, second = self._shells_of(candidate.id, crystal), self._shells_of(other.id, other_crystal)
            if all(np.allclose(first[pair], second[pair], rtol=self._TOLERANCE, atol=0.0) for pair in first):
                return f"duplicate: the same crystal as {other.origin}"
        alike.append((candidate, crystal))
        return None

    def _shells_of(self, candidate_id: str, crystal: Crystal) -> Mapping[tuple[str, str], NDArray[np.float64]]:
        """Neighbor distances; computed only for crystals whose key is not theirs alone, and once."""
        if candidate_id not in self._shells:
            self._shells[candidate_id] = neighbor_distances(crystal, self._N_NEIGHBORS)
        return self._shells[candidate_id]
