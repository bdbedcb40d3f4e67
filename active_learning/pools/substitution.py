"""The pool `substitution`: the user's own structures, their ions replaced by others that take such places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from pymatgen.analysis.structure_matcher import StructureMatcher

from active_learning.crystals.geometry import scaled, volume_of
from active_learning.crystals.pymatgen import to_structure
from active_learning.crystals.sizes import VOLUMES, estimated_volume
from active_learning.crystals.symmetry import crystal_key
from active_learning.domain.candidate import Candidate, Crystal, Dropped
from active_learning.domain.options import FilePath
from active_learning.errors import ContractError
from active_learning.pools.filters import Elements, FilterOptions, Sieve
from active_learning.pools.ions import Ion, States, ions_of, likely_substitutions, volume_by_radii
from active_learning.pools.structures import Structures

__all__ = ["Substitution"]


@dataclass(frozen=True)
class _Parent:
    """One of the user's structures, and the ion on each of its sites."""

    crystal: Crystal
    origin: str
    ions: tuple[Ion, ...]


class _Known:
    """Structures that were there before, whatever their size."""

    def __init__(self) -> None:
        self._by_key: dict[str, list[tuple[str, Crystal]]] = {}
        self._matcher = StructureMatcher()

    def add(self, crystal: Crystal, key: str, origin: str) -> None:
        self._by_key.setdefault(key, []).append((origin, crystal))

    def find(self, crystal: Crystal, key: str) -> str | None:
        """Origin of the same structure, if there is one."""
        alike = self._by_key.get(key)
        if not alike:
            return None
        structure = to_structure(crystal)
        return next((origin for origin, other in alike if self._matcher.fit(structure, to_structure(other))), None)


class Substitution:
    """Candidates from the user's structures by ionic substitution: new compounds in known structures.

    Each ion of a structure is replaced by itself or another, in all ways that keep the crystal neutral and are likelier
    than `threshold` by how often such ions are found in each other's places (pymatgen's data-mined model of 230 ions).
    Structures are read as the pool `structures` reads them. The likeliest substitution comes first, so that of
    structures that lead to the same result, the likeliest does; ties are in the order of the files.

    Dropped are structures without oxidation states (alloys, elements), and results that are one of the user's
    structures or an earlier result: the same space group and Wyckoff positions, and alike to pymatgen's
    `StructureMatcher`, which looks past the size of the cell and small distortions.

    References
    ----------
    Hautier, Fischer, Ehrlacher, Jain & Ceder (2011), doi:10.1021/ic102031h.
    """

    class Options(FilterOptions):
        """Keys of the table `[pool]` with ``kind = "substitution"``."""

        path: FilePath = Field(description='A folder, one file, or a pattern such as "cifs/*.cif".')
        recursive: bool = Field(default=True, description="Whether to look into folders inside the folder.")
        elements: Elements | None = Field(
            default=None, description="Make crystals of these elements only; without it, of any."
        )
        threshold: float = Field(
            default=1e-3, ge=1e-6, lt=1.0, description="Least probability of a substitution as a whole."
        )
        max_per_structure: int | None = Field(
            default=None, ge=1, description="Most candidates of one structure, the likeliest; without it, any number."
        )
        oxidation_states: States = Field(
            default="bonds_or_formula",
            description=(
                "How the ions of a structure are found: by its bond lengths (bonds), by its formula alone (formula), "
                "or by its formula where the bond lengths do not tell (bonds_or_formula)."
            ),
        )
        volume: Literal["ions", "estimate", "vegard", "contact", "dls", "parent"] = Field(
            default="ions",
            description=(
                "How large the cell is made: the structure's own (parent), in proportion to the radii of its ions "
                "(ions), or as the pool prototypes does it (estimate, vegard, contact, dls)."
            ),
        )

    def __init__(self, options: Options) -> None:
        self.options = options

    def read(self) -> Iterator[Candidate | Dropped]:
        """Every candidate; broken files, structures without oxidation states and known results as `Dropped`.

        Raises
        ------
        UserError
            If there is no such file or folder, or nothing in it that can be read.
        """
        options = self.options
        known, sieve = _Known(), Sieve(options, options.elements)
        parents = []
        for item in self._structures().read():
            if isinstance(item, Dropped) or item.crystal is None:
                yield item
                continue
            try:
                known.add(item.crystal, crystal_key(item.crystal), item.origin)
            except ContractError as error:
                yield Dropped(item.origin, f"not a sound crystal: {error}")
                continue
            parents.append((item.crystal, item.origin))
        likely: list[tuple[float, int, _Parent, tuple[Ion, ...]]] = []
        for number, (crystal, origin) in enumerate(parents):
            found = self._likely(crystal, origin)
            if isinstance(found, Dropped):
                yield found
            else:
                likely += [(probability, number, found[0], new) for probability, new in found[1]]
        # Stable: of one structure, ties stay in the order of the ions' names.
        likely.sort(key=lambda item: (-item[0], item[1]))
        yield from self._made(likely, known, sieve)

    def _structures(self) -> Structures:
        options = self.options
        shared = ("path", "recursive", "min_atoms", "max_atoms", "min_distance")
        return Structures(Structures.Options(**{name: getattr(options, name) for name in shared}))

    def _likely(self, crystal: Crystal, origin: str) -> tuple[_Parent, list[tuple[float, tuple[Ion, ...]]]] | Dropped:
        """A structure and what its ions may be replaced by, or why there is nothing."""
        options = self.options
        try:
            ions = ions_of(crystal, options.oxidation_states)
            likely = likely_substitutions(Counter(ions), options.threshold, options.elements)
        except ContractError as error:
            return Dropped(origin, str(error))
        if not likely:
            return Dropped(origin, f"no likely substitution: none above threshold = {options.threshold:g}")
        parent = _Parent(crystal, origin, ions)
        return parent, [(probability, tuple(changes.values())) for probability, changes in likely]

    def _made(
        self, likely: list[tuple[float, int, _Parent, tuple[Ion, ...]]], known: _Known, sieve: Sieve
    ) -> Iterator[Candidate | Dropped]:
        n_taken: Counter[int] = Counter()
        for probability, number, parent, kinds in likely:
            if n_taken[number] == self.options.max_per_structure:
                continue
            item = self._child(parent, probability, kinds)
            if isinstance(item, Candidate):
                item = self._sifted(item, known, sieve)
            yield item
            n_taken[number] += isinstance(item, Candidate)

    def _child(self, parent: _Parent, probability: float, kinds: tuple[Ion, ...]) -> Candidate | Dropped:
        new_for_old = dict(zip(dict.fromkeys(parent.ions), kinds, strict=True))
        changes = ", ".join(f"{after} for {before}" for before, after in new_for_old.items() if after != before)
        source = f"{parent.origin}: {changes} (probability {probability:.3g})"
        new = [new_for_old[ion] for ion in parent.ions]
        child = Crystal(parent.crystal.lattice, tuple(ion.symbol for ion in new), parent.crystal.frac_coords)
        try:
            volume, how = self._volume(parent, child, new)
        except ContractError as error:
            return Dropped(source, str(error))
        return Candidate.of(scaled(child, volume), f"{source}{how}")

    def _volume(self, parent: _Parent, child: Crystal, new: Sequence[Ion]) -> tuple[float, str]:
        """Volume of the new crystal, and what its origin should say of it."""
        if self.options.volume == "parent":
            return volume_of(parent.crystal), ""
        if self.options.volume != "ions":
            return VOLUMES[self.options.volume](child), ""
        by_radii = volume_by_radii(parent.crystal, parent.ions, new)
        if by_radii is not None:
            return by_radii, ""
        return estimated_volume(child), ", volume estimated: the radius of an ion is not known"

    def _sifted(self, candidate: Candidate, known: _Known, sieve: Sieve) -> Candidate | Dropped:
        crystal = candidate.crystal
        if crystal is None or not self.options.drop_duplicates:
            return sieve.sift(candidate)
        try:
            key = crystal_key(crystal)
        except ContractError as error:
            return Dropped(candidate.origin, f"not a sound crystal: {error}")
        twin = known.find(crystal, key)
        if twin is not None:
            return Dropped(candidate.origin, f"duplicate: the same structure as {twin}")
        item = sieve.sift(candidate, key)
        if isinstance(item, Candidate):
            known.add(crystal, key, item.origin)
        return item
