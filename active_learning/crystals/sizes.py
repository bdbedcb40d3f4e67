"""How large atoms are: covalent radii, volumes in the elements, and a volume for a crystal that was never relaxed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ase.data import atomic_numbers, covalent_radii, reference_states
from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor
from pymatgen.core.periodic_table import Element

from active_learning.crystals.geometry import closest_contact, scaled, volume_of
from active_learning.crystals.pymatgen import to_structure
from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import SYMBOLS
from active_learning.errors import ContractError

__all__ = [
    "ATOMIC_VOLUMES",
    "COVALENT_RADII",
    "METALS",
    "VOLUMES",
    "contact_volume",
    "dls_volume",
    "estimated_volume",
    "vegard_volume",
]

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
    if METALS.issuperset(crystal.amounts):
        return vegard_volume(crystal)
    by_contact = contact_volume(crystal)
    return min(vegard_volume(crystal), by_contact) if ATOMIC_VOLUMES.keys() >= crystal.amounts.keys() else by_contact


def vegard_volume(crystal: Crystal) -> float:
    """The sum of the volumes that the atoms have in their elements, cubic Angstrom.

    Raises
    ------
    ContractError
        If an element has no known volume: astatine, francium, and all above curium.
    """
    unknown = sorted(crystal.amounts.keys() - ATOMIC_VOLUMES.keys())
    if unknown:
        raise ContractError(f"no atomic volume is known for {', '.join(unknown)}")
    return sum(ATOMIC_VOLUMES[symbol] * n for symbol, n in crystal.amounts.items())


def contact_volume(crystal: Crystal) -> float:
    """The volume at which the closest two atoms are as far apart as their covalent radii say, cubic Angstrom.

    Raises
    ------
    ContractError
        If the lattice has no volume, or an element is heavier than curium.
    """
    return volume_of(crystal) / closest_contact(crystal, COVALENT_RADII).ratio ** 3


def dls_volume(crystal: Crystal) -> float:
    """The volume that bond lengths mined from measured crystals give, cubic Angstrom; its own does not matter.

    pymatgen's `DLSVolumePredictor`, which wants a volume to begin with: `estimated_volume`, of which the result is
    0.5 to 1.5 times.

    Raises
    ------
    ContractError
        As `estimated_volume`; or if pymatgen knows no bond lengths of an element.

    References
    ----------
    Chu, Roychowdhury, Han, Jain & Ong (2018), doi:10.1016/j.commatsci.2018.01.040: data-mined lattice scaling.
    """
    structure = to_structure(scaled(crystal, estimated_volume(crystal)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return float(DLSVolumePredictor().predict(structure))  # type: ignore[no-untyped-call]
        except (UserWarning, ValueError, TypeError) as error:
            raise ContractError(f"no data-mined volume: {error}") from error


VOLUMES: Mapping[str, Callable[[Crystal], float]] = MappingProxyType(
    {
        "estimate": estimated_volume,
        "vegard": vegard_volume,
        "contact": contact_volume,
        "dls": dls_volume,
        "prototype": volume_of,
    }
)
"""Ways to give a crystal its volume, by the name they have in a campaign file; `prototype` keeps what it has."""
