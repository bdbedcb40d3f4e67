"""What a pool takes and what it drops: options and checks that all pools share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from active_learning.crystals.charges import is_charge_neutral
from active_learning.crystals.geometry import Contact, closest_contact
from active_learning.crystals.sizes import COVALENT_RADII
from active_learning.crystals.symmetry import crystal_key
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.domain.options import Options
from active_learning.errors import ContractError
from active_learning.pools.taken import Lookalikes, Taken, composition_number

__all__ = ["CompositionFilterOptions", "Elements", "FilterOptions", "Judgment", "Sieve"]

_MOST_COMPARED = 2_000
"""Atoms in the largest cell whose symmetry is looked for: its cost grows with their square, in memory too (11,000 atoms
take up to 11 s and 3 GB)."""


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


def _counts(counts: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if counts is not None and min(counts) < 1:
        raise ValueError(f"a candidate has at least one element, not {min(counts)}")
    if counts is not None and len(set(counts)) < len(counts):
        raise ValueError(f"a number is named more than once: {', '.join(map(str, counts))}")
    return counts


class CompositionFilterOptions(Options):
    """Keys that pools of bare compositions share."""

    n_elements: Annotated[tuple[int, ...] | None, AfterValidator(_counts)] = Field(
        default=None,
        min_length=1,
        description="How many elements a candidate may have, such as [2, 3]; without it, any number.",
    )
    charge_neutral: bool = Field(
        default=False,
        description=(
            "Take only compositions whose elements have known oxidation states that sum to zero (smact's rules). "
            "Elements and alloys pass."
        ),
    )
    drop_duplicates: bool = Field(
        default=True,
        description=(
            "Drop what was taken before and is written in another way. Of bare compositions: the same atomic "
            "fractions to four digits (AlCu and Al0.5Cu0.5)."
        ),
    )


class FilterOptions(CompositionFilterOptions):
    """Keys that all pools of crystals share."""

    min_atoms: int | None = Field(default=None, ge=1, description="Fewest atoms in the cell; without it, any number.")
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

    @model_validator(mode="after")
    def _some_size_is_left(self) -> Self:
        if self.min_atoms is not None and self.max_atoms is not None and self.min_atoms > self.max_atoms:
            raise ValueError(f"no cell has at least {self.min_atoms} and at most {self.max_atoms} atoms")
        return self


@dataclass(frozen=True)
class Judgment:
    """What a sieve says of a candidate: why it is dropped (None: it passes), and which one it is a duplicate of."""

    reason: str | None
    same_as: str | None = None


class Sieve:
    """Lets a candidate pass, or says why not. It remembers what passed, so one reading of a pool needs one sieve.

    Two crystals are the same if their keys are the same (formula, space group, Wyckoff letters) and so is their
    geometry: the distances to the 24 nearest neighbors of each element around each element, within 1 %. The key alone
    would take polymorphs for one another, because it does not see free parameters; and one shell of neighbors is not
    enough: indium and protactinium, both squeezed body-centered cubic, agree in the nearest eight. Cells of more than
    2,000 atoms are the same only if they are written the same.

    Two bare compositions are the same if their atomic fractions are, to four digits.

    It keeps some 200 bytes of each composition, and some 500 of each crystal (13 more for each atom, or 100 for each
    pair of elements where another crystal has its key).

    Parameters
    ----------
    options : of compositions alone, or of crystals too
    elements : the only ones that candidates may hold; None for any
    needs_crystal : whether bare compositions are dropped
    """

    def __init__(
        self,
        options: CompositionFilterOptions,
        elements: Collection[str] | None = None,
        *,
        needs_crystal: bool = True,
    ) -> None:
        self._options = options
        self._elements = elements
        self._needs_crystal = needs_crystal
        self._taken = Taken()
        self._lookalikes = Lookalikes()

    def sift(self, candidate: Candidate, key: str | None = None) -> Candidate | Dropped:
        """The candidate, if it passes; else why it does not. `key` is its crystal key, if it is known already."""
        reason = self.judge(candidate, key).reason
        return candidate if reason is None else Dropped(candidate.origin, reason)

    def judge(self, candidate: Candidate, key: str | None = None) -> Judgment:
        """As `sift`; of a duplicate also the id of the candidate that it repeats."""
        try:
            reason = self._composition_fault(candidate) or self._crystal_fault(candidate.crystal)
            return Judgment(reason) if reason else self._admit(candidate, key)
        except ContractError as error:
            return Judgment(f"not a sound crystal: {error}")

    def _composition_fault(self, candidate: Candidate) -> str | None:
        options, symbols = self._options, candidate.elements
        if candidate.crystal is None and self._needs_crystal:
            return "a bare composition, not a crystal"
        others = [symbol for symbol in symbols if self._elements and symbol not in self._elements]
        if others:
            return f"other elements: holds {', '.join(others)}"
        if options.n_elements is not None and len(symbols) not in options.n_elements:
            wanted = ", ".join(map(str, options.n_elements))
            return f"other number of elements: {len(symbols)}, not in n_elements = [{wanted}]"
        return None

    def _crystal_fault(self, crystal: Crystal | None) -> str | None:
        """The cheap checks first: what is too large must cost nothing more."""
        options = self._options
        if crystal is None or not isinstance(options, FilterOptions):
            return None
        n_atoms = len(crystal.species)
        if options.max_atoms is not None and n_atoms > options.max_atoms:
            return f"too many atoms: {n_atoms}, more than max_atoms = {options.max_atoms}"
        if options.min_atoms is not None and n_atoms < options.min_atoms:
            return f"too few atoms: {n_atoms}, fewer than min_atoms = {options.min_atoms}"
        contact = closest_contact(crystal, COVALENT_RADII)
        return self._too_close(contact, options.min_distance) if contact.ratio < options.min_distance else None

    @staticmethod
    def _too_close(contact: Contact, min_distance: float) -> str:
        a, b = contact.symbols
        return (
            f"atoms too close: {a} and {b} {contact.distance:.2f} Angstrom apart, {contact.ratio:.2f} of the sum of "
            f"their covalent radii (min_distance = {min_distance:g})"
        )

    def _admit(self, candidate: Candidate, key: str | None) -> Judgment:
        """Drop it if it was taken before, or has charges left over; else remember it."""
        drop, crystal = self._options.drop_duplicates, candidate.crystal
        number = composition_number(candidate) if drop and crystal is None else int(candidate.id, 16)
        twin = self._taken.find(number)
        if twin is not None:
            return Judgment(f"duplicate: the same as {self._taken.origin(twin)}", self._taken.id(twin))
        if self._options.charge_neutral and not is_charge_neutral(candidate.amounts):
            return Judgment("not charge neutral")
        if drop and crystal is not None and len(crystal.species) <= _MOST_COMPARED:
            twin = self._lookalikes.find_or_add(key or crystal_key(crystal), crystal, len(self._taken))
            if twin is not None:
                return Judgment(f"duplicate: the same crystal as {self._taken.origin(twin)}", self._taken.id(twin))
        self._taken.add(number, candidate)
        return Judgment(None)
