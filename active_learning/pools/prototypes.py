"""The pool `prototypes`: known structure types, their sites taken by the user's elements in every possible way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise, permutations
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from active_learning.crystals.charges import is_charge_neutral
from active_learning.crystals.geometry import scaled
from active_learning.crystals.sizes import VOLUMES
from active_learning.crystals.symmetry import symmetry_of
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.elements import reduced_formula
from active_learning.errors import ContractError
from active_learning.pools.filters import Elements, FilterOptions, Sieve
from active_learning.pools.prototype_library import StructureType, in_families, named, structure_types

__all__ = ["Prototypes"]

_APART = 1.04
"""Volumes closer than this part of one another are the same crystal to `drop_duplicates` (1 % in length)."""


class Prototypes:
    """Candidates from pymatgen's 288 AFLOW prototypes (55 of one element, 176 of two, 48 of three, 9 of more).

    Each prototype takes each choice of the user's elements in each order; the cell is scaled to a sensible volume
    (`active_learning.crystals.sizes`). The order is that of the library, then that of the elements, then that of the
    volumes. Two prototypes with the same space group and Wyckoff positions, but other free parameters (alpha and gamma
    polymorphs), are two candidates.

    The library's types by anonymous formula: 59 AB2, 55 A, 51 AB, 25 AB3, 9 each of A2B3, ABC2 and ABC3, 7 AB4, 6 each
    of ABC, ABC4 and AB3C4, and 46 others. Its families (`prototype_library.FAMILIES`): 11 fcc (copper and the ordered
    alloys on its lattice), 5 bcc, 4 hcp, 3 laves, 7 frank_kasper, 2 heusler, 3 max_phase, 4 perovskite, 2 spinel.

    References
    ----------
    Mehl et al. (2017), doi:10.1016/j.commatsci.2017.01.017: the AFLOW library of crystallographic prototypes.
    """

    class Options(FilterOptions):
        """Keys of the table `[pool]` with ``kind = "prototypes"``."""

        elements: Elements = Field(description="Chemical symbols that take the prototypes' sites.")
        n_elements: tuple[int, ...] = Field(
            default=(1, 2, 3),
            min_length=1,
            description="How many elements a candidate has, 1 to 5. What `elements` cannot fill is left out.",
        )
        prototypes: tuple[str, ...] | None = Field(
            default=None,
            min_length=1,
            description=(
                'Structure types to use: AFLOW labels ("A_cF4_225_a"), Strukturbericht symbols ("B1"), or mineral or '
                'common names ("rocksalt", "perovskite"). Without this and `families`, all.'
            ),
        )
        families: tuple[str, ...] | None = Field(
            default=None,
            min_length=1,
            description=(
                'Families of structure types to use, beside those of `prototypes`: anonymous formulas ("AB2", '
                '"ABC3"), or fcc, bcc, hcp, laves, frank_kasper, heusler, max_phase, perovskite, spinel.'
            ),
        )
        max_atoms: int | None = Field(default=8, ge=1, description="Most atoms in the primitive cell.")
        min_distance: float = Field(
            default=0.8,
            ge=0.0,
            le=1.0,
            description=(
                "No two atoms closer than this part of the sum of their covalent radii (not in Angstrom), at the "
                "volume a decoration is given: drops structure types that the elements cannot take. Metals pack at 0.8 "
                "and more, actinides at 0.65; 0 takes all."
            ),
        )
        volume: Literal["estimate", "vegard", "contact", "dls", "prototype"] = Field(
            default="estimate",
            description=(
                "How large the cell is made: the atoms' volumes in their elements (vegard); the closest two atoms as "
                "far apart as their covalent radii say (contact); vegard for alloys, else the smaller of these two "
                "(estimate); by pymatgen's data-mined bond lengths (dls); or as the prototype has it (prototype)."
            ),
        )
        volume_factors: tuple[float, ...] = Field(
            default=(1.0,),
            min_length=1,
            description="Each decoration at each of these parts of that volume, such as [0.95, 1.0, 1.05].",
        )

        @field_validator("n_elements")
        @classmethod
        def _exist(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
            wrong = [n for n in counts if not 1 <= n <= 5]
            if wrong:
                raise ValueError(f"prototypes have 1 to 5 elements, not {', '.join(map(str, wrong))}")
            if len(set(counts)) < len(counts):
                raise ValueError(f"a number is named more than once: {', '.join(map(str, counts))}")
            return counts

        @field_validator("prototypes")
        @classmethod
        def _are_called(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
            named(names or ())
            return names

        @field_validator("families")
        @classmethod
        def _are_families(cls, families: tuple[str, ...] | None) -> tuple[str, ...] | None:
            in_families(families or ())
            return families

        @field_validator("volume_factors")
        @classmethod
        def _are_volumes(cls, factors: tuple[float, ...]) -> tuple[float, ...]:
            wrong = [factor for factor in factors if not 0.1 <= factor <= 10.0]
            if wrong:
                raise ValueError(f"parts of the volume lie between 0.1 and 10, not {', '.join(map(str, wrong))}")
            return factors

        @model_validator(mode="after")
        def _can_be(self) -> Self:
            near = [(a, b) for a, b in pairwise(sorted(self.volume_factors)) if b < _APART * a]
            if near and self.drop_duplicates:
                raise ValueError(
                    f"volume_factors less than 4 % apart are dropped as duplicates: {near[0][0]:g} and {near[0][1]:g}; "
                    "take them farther apart, or set drop_duplicates = false"
                )
            faults = [fault for name in self.prototypes or () if (fault := self._excluded(name))]
            if faults:
                raise ValueError("; ".join(faults))
            return self

        def _excluded(self, name: str) -> str:
            """Why no structure type of this name can be in the pool; empty if one can."""
            kinds = [kind for kind in named([name]) if len(kind.elements) in self.n_elements]
            if not kinds:
                counts = sorted({len(kind.elements) for kind in named([name])})
                return f"{name!r} has {_either(counts)} elements, and n_elements = {list(self.n_elements)}"
            sizes = sorted(len(kind.crystal.species) for kind in kinds)
            if self.max_atoms is not None and sizes[0] > self.max_atoms:
                return f"{name!r} has {sizes[0]} atoms: set max_atoms = {sizes[0]} or more (it is {self.max_atoms})"
            if self.min_atoms is not None and sizes[-1] < self.min_atoms:
                return f"{name!r} has {sizes[-1]} atoms: set min_atoms = {sizes[-1]} or less (it is {self.min_atoms})"
            return ""

        def structure_types(self) -> tuple[StructureType, ...]:
            """The structure types that were asked for, in the order of the library."""
            if self.prototypes is None and self.families is None:
                return structure_types()
            wanted = {kind.name for kind in (*named(self.prototypes or ()), *in_families(self.families or ()))}
            return tuple(kind for kind in structure_types() if kind.name in wanted)

    def __init__(self, options: Options) -> None:
        self.options = options

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every candidate; prototypes too large, decorations that cannot be, and duplicates as `Dropped`."""
        options = self.options
        sieve = Sieve(options)
        for kind in options.structure_types():
            n_atoms = len(kind.crystal.species)
            if len(kind.elements) not in options.n_elements:
                continue
            if options.max_atoms is not None and n_atoms > options.max_atoms:
                yield Dropped(kind.name, f"too many atoms: {n_atoms}, more than max_atoms = {options.max_atoms}")
                continue
            if options.min_atoms is not None and n_atoms < options.min_atoms:
                yield Dropped(kind.name, f"too few atoms: {n_atoms}, fewer than min_atoms = {options.min_atoms}")
                continue
            symmetry = symmetry_of(kind.crystal)
            for chosen in permutations(options.elements, len(kind.elements)):
                names = dict(zip(kind.elements, chosen, strict=True))
                key = symmetry.key(names)
                for item in self._decorated(kind, names):
                    yield item if isinstance(item, Dropped) else sieve.sift(item, key)

    def _decorated(self, kind: StructureType, names: Mapping[str, str]) -> Iterator[Candidate | Dropped]:
        """The type with its elements renamed, at each volume; or why there is none."""
        origin = f"{kind.name}: {', '.join(f'{new} for {old}' for old, new in names.items())}"
        amounts = {names[symbol]: n for symbol, n in kind.crystal.amounts.items()}
        # Before the crystal is built: most decorations with nonmetals end here.
        if self.options.charge_neutral and not is_charge_neutral(amounts):
            yield Dropped(origin, f"not charge neutral: {reduced_formula(amounts)}")
            return
        species = tuple(names[symbol] for symbol in kind.crystal.species)
        renamed = Crystal(kind.crystal.lattice, species, kind.crystal.frac_coords)
        try:
            volume = VOLUMES[self.options.volume](renamed)
        except ContractError as error:
            yield Dropped(origin, str(error))
            return
        for factor in self.options.volume_factors:
            at = "" if factor == 1.0 else f", at {factor:g} of the volume"
            yield Candidate.of(scaled(renamed, factor * volume), f"{origin}{at}")


def _either(counts: list[int]) -> str:
    return " or ".join(map(str, counts))
