"""The pool `prototypes`: known structure types, their sites taken by the user's elements in every possible way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from pydantic import Field, field_validator
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY  # type: ignore[attr-defined] # it declares no __all__

from active_learning.crystals.geometry import scaled
from active_learning.crystals.pymatgen import from_structure
from active_learning.crystals.sizes import estimated_volume
from active_learning.crystals.symmetry import Symmetry, symmetry_of
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.elements import reduced_formula
from active_learning.pools.filters import Elements, FilterOptions, Sieve

__all__ = ["Prototypes"]


@dataclass(frozen=True)
class _Prototype:
    """A structure type: its AFLOW label and compound, and the crystal in its primitive cell."""

    name: str
    crystal: Crystal

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(self.crystal.amounts)

    def decorated(self, names: dict[str, str], symmetry: Symmetry) -> tuple[Candidate, str]:
        """The candidate whose elements are renamed by `names`, at a sensible volume, and its crystal key."""
        species = tuple(names[symbol] for symbol in self.crystal.species)
        renamed = Crystal(self.crystal.lattice, species, self.crystal.frac_coords)
        origin = f"{self.name}: {', '.join(f'{new} for {old}' for old, new in names.items())}"
        return Candidate.of(scaled(renamed, estimated_volume(renamed)), origin), symmetry.key(names)


def _library() -> Iterator[_Prototype]:
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        crystal = from_structure(entry["snl"].structure)
        yield _Prototype(f"{entry['tags']['aflow']} ({reduced_formula(crystal.amounts)})", crystal)


class Prototypes:
    """Candidates from pymatgen's 288 AFLOW prototypes (55 of one element, 176 of two, 48 of three, 9 of more).

    Each prototype takes each choice of the user's elements in each order; the cell is scaled to a sensible volume
    (`active_learning.crystals.sizes.estimated_volume`). The order is that of the library, then that of the elements.
    Two prototypes with the same space group and Wyckoff positions, but other free parameters (alpha and gamma
    polymorphs), are two candidates.

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

        @field_validator("n_elements")
        @classmethod
        def _exist(cls, counts: tuple[int, ...]) -> tuple[int, ...]:
            wrong = [n for n in counts if not 1 <= n <= 5]
            if wrong:
                raise ValueError(f"prototypes have 1 to 5 elements, not {', '.join(map(str, wrong))}")
            if len(set(counts)) < len(counts):
                raise ValueError(f"a number is named more than once: {', '.join(map(str, counts))}")
            return counts

    def __init__(self, options: Options) -> None:
        self.options = options

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every candidate; prototypes too large, decorations with atoms too close, and duplicates as `Dropped`."""
        options = self.options
        sieve = Sieve(options)
        for prototype in _library():
            n_atoms = len(prototype.crystal.species)
            if len(prototype.elements) not in options.n_elements:
                continue
            if options.max_atoms is not None and n_atoms > options.max_atoms:
                yield Dropped(prototype.name, f"too many atoms: {n_atoms}, more than max_atoms = {options.max_atoms}")
                continue
            symmetry = symmetry_of(prototype.crystal)
            for chosen in permutations(options.elements, len(prototype.elements)):
                names = dict(zip(prototype.elements, chosen, strict=True))
                yield sieve.sift(*prototype.decorated(names, symmetry))
