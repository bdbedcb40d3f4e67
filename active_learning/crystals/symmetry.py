"""Which crystals are the same but for the numbers: a key from space group and Wyckoff positions, by moyopy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from moyopy import Cell, MoyoDataset

from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import ATOMIC_NUMBERS, SYMBOLS, reduced_formula
from active_learning.errors import ContractError

__all__ = ["Symmetry", "crystal_key", "symmetry_of"]


@dataclass(frozen=True)
class Symmetry:
    """Space group of a crystal, and where its elements sit.

    Parameters
    ----------
    number : of the space group, 1 to 230
    amounts : atoms of each element
    occupations : one mapping for each equivalent choice of origin and axes: (element, Wyckoff letter) -> orbits
    """

    number: int
    amounts: Mapping[str, float]
    occupations: tuple[Mapping[tuple[str, str], int], ...]

    def key(self, names: Mapping[str, str] | None = None) -> str:
        """The crystal's key, its elements renamed by `names` (one to one) first.

        The letters of a space group depend on the choice of origin and axes (caesium chloride's are a and b, or b
        and a). Of all choices that the group's Euclidean normalizer allows, the first in the alphabet is taken.
        """
        names = names or {symbol: symbol for symbol in self.amounts}
        formula = reduced_formula({names[symbol]: amount for symbol, amount in self.amounts.items()})
        return f"{formula}|{self.number}|{min(_letters(o, names) for o in self.occupations)}"


def _letters(orbits: Mapping[tuple[str, str], int], names: Mapping[str, str]) -> str:
    by_element: dict[str, str] = {}
    for (symbol, letter), count in sorted(orbits.items()):
        by_element[names[symbol]] = by_element.get(names[symbol], "") + letter * count
    return " ".join(f"{symbol}:{by_element[symbol]}" for symbol in sorted(by_element))


def symmetry_of(crystal: Crystal, symprec: float = 0.01) -> Symmetry:
    """The symmetry of a crystal.

    Parameters
    ----------
    symprec : in Angstrom
        How far sites may be from where the symmetry would have them.

    Raises
    ------
    ContractError
        If no symmetry can be found: atoms lie on one another, or the lattice has no volume.
    """
    numbers = [ATOMIC_NUMBERS[symbol] for symbol in crystal.species]
    cell = Cell([list(row) for row in crystal.lattice], [list(row) for row in crystal.frac_coords], numbers)
    try:
        found = MoyoDataset(cell, symprec=symprec)
        choices = found.normalizer_wyckoff_positions().coset_representatives
    except ValueError as error:
        raise ContractError(f"no symmetry found for {reduced_formula(crystal.amounts)}: {error}") from error
    symbols = [SYMBOLS[number - 1] for number in found.std_cell.numbers]
    occupations = []
    for _, positions in choices:
        sites = Counter((s, p.letter, p.multiplicity) for s, p in zip(symbols, positions, strict=True))
        occupations.append({(s, letter): n // multiplicity for (s, letter, multiplicity), n in sites.items()})
    return Symmetry(found.number, crystal.amounts, tuple(occupations))


def crystal_key(crystal: Crystal, symprec: float = 0.01) -> str:
    """Reduced formula, space group number, and the Wyckoff letters of each element (one for each orbit).

    Supercells, rotations, shifts of the origin, other choices of the lattice vectors and permutations of the sites
    have the same key. So have structures that differ in free parameters alone (lattice, free coordinates): two
    polymorphs may share a key. Mirror images may have different ones (P3_1 and P3_2).

    >>> copper = Crystal(((3.6, 0, 0), (0, 3.6, 0), (0, 0, 3.6)), ("Al", "Cu", "Cu", "Cu"),
    ...                  ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)))
    >>> crystal_key(copper)
    'AlCu3|221|Al:a Cu:c'

    Raises
    ------
    ContractError
        As `symmetry_of`.
    """
    return symmetry_of(crystal, symprec).key()
