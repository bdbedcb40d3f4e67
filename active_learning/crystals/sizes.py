"""How large atoms are: covalent radii, volumes in the elements, and a volume for a crystal that was never relaxed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ase.data import atomic_numbers, covalent_radii, reference_states
from pymatgen.core.periodic_table import Element

from active_learning.crystals.geometry import closest_contact, volume_of
from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import SYMBOLS

__all__ = ["ATOMIC_VOLUMES", "COVALENT_RADII", "METALS", "estimated_volume"]

_HEAVIEST = 96
"""Curium: the last element with a measured covalent radius."""
_A3_PER_CM3_MOL = 1.66053907

COVALENT_RADII: Mapping[str, float] = MappingProxyType(
    {symbol: float(covalent_radii[atomic_numbers[symbol]]) for symbol in SYMBOLS[:_HEAVIEST]}
)
"""Element -> covalent radius, Angstrom, H to Cm (Cordero et al. 2008, doi:10.1039/b801115j)."""


METALS: frozenset[str] = frozenset(symbol for symbol in SYMBOLS[:_HEAVIEST] if Element(symbol).is_metal)
"""Metals up to curium; boron, silicon, germanium, arsenic, antimony, tellurium and polonium are not among them."""


def _atomic_volume(symbol: str) -> float | None:
    lattice = reference_states[atomic_numbers[symbol]] or {}
    match lattice.get("symmetry") if symbol in METALS else None:
        case "fcc":
            return float(lattice["a"] ** 3 / 4)
        case "bcc":
            return float(lattice["a"] ** 3 / 2)
        case "hcp":
            return float(lattice["a"] ** 3 * lattice["c/a"] * 3**0.5 / 4)
    molar: float | None = Element(symbol).data.get("Molar volume")
    return None if molar is None else molar * _A3_PER_CM3_MOL


ATOMIC_VOLUMES: Mapping[str, float] = MappingProxyType(
    {symbol: volume for symbol in SYMBOLS[:_HEAVIEST] if (volume := _atomic_volume(symbol)) is not None}
)
"""Element -> volume of an atom in it, cubic Angstrom, measured: from ASE's lattice constants for fcc, bcc and hcp
metals, else from the molar volume of the solid or liquid. Astatine and francium have none."""


def estimated_volume(crystal: Crystal) -> float:
    """A sensible volume for a crystal of this shape and decoration, cubic Angstrom; its own volume does not matter.

    The sum of the elements' volumes (Vegard). If not all are metals, bonds may be much shorter than in the elements:
    then at most the volume at which the closest two atoms are as far apart as their covalent radii say.

    For the 288 AFLOW prototypes with their own elements this is 0.99 to 1.17 times the real volume for alloys, and
    0.88 to 1.5 times for other compounds (10th and 90th percentile).

    Raises
    ------
    ContractError
        If the lattice has no volume, or an element is heavier than curium.
    """
    vegard = None
    if all(symbol in ATOMIC_VOLUMES for symbol in crystal.amounts):
        vegard = sum(ATOMIC_VOLUMES[symbol] * n for symbol, n in crystal.amounts.items())
        if METALS.issuperset(crystal.amounts):
            return vegard
    by_contact = volume_of(crystal) / closest_contact(crystal, COVALENT_RADII).ratio ** 3
    return by_contact if vegard is None else min(vegard, by_contact)
