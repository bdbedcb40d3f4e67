"""The electrons of a pw.x run, from its XML file: magnetization and band gap, which its text rounds or leaves out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ase.units import Hartree
from numpy.typing import NDArray

from active_learning.domain.label import FailureKind
from active_learning.labelers.crystal_jobs import NoResult

__all__ = ["Electrons", "band_gap", "bands_needed", "read_electrons"]

Floats = NDArray[np.float64]
_SAME_ENERGY = 1e-5
"""Ry; by how much the energies of XML and text may differ, and still be of one run."""
_WHOLE = 1e-6
"""By how much a count of bands to fill may differ from a whole number."""
_EMPTY = 1e-3
"""Occupation (of 1) above which a band counts as occupied."""


@dataclass(frozen=True)
class Electrons:
    """What pw.x says of its electrons.

    Parameters
    ----------
    n_electrons : in the cell
    channels : (n_kpoints, n_bands) each, eV; one without spin, else up and down
    top_occupation : of the highest band, the largest over k-points and channels; 1 is full
    magnetization : total, Bohr magnetons in the cell
    """

    n_electrons: float
    channels: tuple[Floats, ...]
    top_occupation: float
    magnetization: float


def bands_needed(n_electrons: float, magnetization: float) -> int:
    """Bands to compute so that some are empty: a fifth, and at least four, more than electrons fill.

    >>> bands_needed(8.0, 0.0), bands_needed(30.0, 4.0)
    (8, 21)
    """
    filled = math.ceil((n_electrons + abs(magnetization)) / 2)
    return filled + max(4, math.ceil(filled / 5))


def band_gap(electrons: Electrons) -> float:
    """The gap between filled and empty bands over the k-points of the mesh, in eV; 0 for a metal.

    The smallest energy of an empty band less the largest of a filled one, wherever in the mesh and of whichever spin
    the two are: the fundamental (mostly indirect) gap of the Kohn-Sham bands. No Fermi level enters. In an insulator
    the same number of bands lies below the gap at every k-point, `n` of each spin, or `n` up and ``n_electrons - n``
    down; at most one `n` leaves a gap, and where none does, the crystal is a metal.

    Raises
    ------
    NoResult
        If the highest band is occupied: then nothing is known of the lowest empty one.
    """
    spins = electrons.channels
    to_fill = electrons.n_electrons * len(spins) / 2
    total = round(to_fill)
    if electrons.top_occupation > _EMPTY or to_fill >= sum(bands.shape[1] for bands in spins):
        detail = f"no band gap: the highest of {spins[0].shape[1]} bands is occupied; compute more (system.nbnd)"
        raise NoResult(FailureKind.UNPARSABLE, detail)
    if abs(to_fill - total) > _WHOLE:
        return 0.0
    fillings = [(total,)] if len(spins) == 1 else [(up, total - up) for up in range(total + 1)]
    gaps = [_gap(spins, filling) for filling in fillings]
    return max(0.0, *gaps)


def _gap(spins: tuple[Floats, ...], filling: tuple[int, ...]) -> float:
    """Lowest empty less highest filled band, if so many bands of each spin are filled; -inf if there are too few."""
    filled, empty = [], []
    for bands, n_filled in zip(spins, filling, strict=True):
        if n_filled >= bands.shape[1]:
            return -math.inf
        filled += [bands[:, n_filled - 1].max()] if n_filled else []
        empty.append(bands[:, n_filled].min())
    return float(min(empty) - max(filled)) if filled else -math.inf


def read_electrons(path: Path, energy_ry: float) -> Electrons:
    """Read `prefix.xml`.

    Parameters
    ----------
    energy_ry : the total energy that the run printed; the file must hold the same

    Raises
    ------
    NoResult
        If the file is missing, broken, of another run, or without bands.
    """
    try:
        output = ElementTree.parse(path).getroot().find("output")
        if output is None:
            raise ValueError("it has no output")
        energy = 2 * _number(output, "total_energy/etot")
        if abs(energy - energy_ry) > _SAME_ENERGY:
            raise ValueError(f"its energy is {energy:.8f} Ry, printed was {energy_ry:.8f} Ry")
        return _electrons(output)
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise NoResult(FailureKind.UNPARSABLE, f"the XML file of pw.x cannot be used: {error}") from error


def _electrons(output: ElementTree.Element) -> Electrons:
    structure = output.find("band_structure")
    if structure is None:
        raise ValueError("it has no band_structure")
    has_spin = structure.findtext("lsda") == "true"
    energies = Hartree * _table(structure, "eigenvalues")
    occupations = _table(structure, "occupations")
    if energies.shape != occupations.shape or energies.shape[1] % (2 if has_spin else 1):
        raise ValueError(f"its bands, {energies.shape}, and occupations, {occupations.shape}, do not fit")
    n_bands = energies.shape[1] // (2 if has_spin else 1)
    parts = [slice(0, n_bands), slice(n_bands, None)] if has_spin else [slice(None)]
    return Electrons(
        n_electrons=_number(structure, "nelec"),
        channels=tuple(energies[:, part] for part in parts),
        top_occupation=max(float(occupations[:, part][:, -1].max()) for part in parts),
        magnetization=_number(output, "magnetization/total") if has_spin else 0.0,
    )


def _table(structure: ElementTree.Element, name: str) -> Floats:
    """(n_kpoints, n_values); as many at each k-point."""
    rows = [
        [float(word) for word in (point.findtext(name) or "").split()] for point in structure.findall("ks_energies")
    ]
    if len({len(row) for row in rows}) != 1 or not rows[0] or not np.isfinite(rows).all():
        raise ValueError(f"it has not as many finite {name} at each k-point")
    return np.array(rows)


def _number(element: ElementTree.Element, path: str) -> float:
    value = float(element.findtext(path) or "nan")
    if not math.isfinite(value):
        raise ValueError(f"it has no finite {path}")
    return value
