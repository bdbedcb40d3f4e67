"""Volumes and distances in a crystal, over all periodic images; exact for cells of any shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from active_learning.domain.candidate import Crystal
from active_learning.errors import ContractError

__all__ = ["Contact", "closest_contact", "minimum_distance", "neighbor_distances", "scaled", "volume_of"]

Floats = NDArray[np.float64]
_BLOCK = 100_000
"""Distances in memory at a time."""


@dataclass(frozen=True)
class Contact:
    """Two atoms: their symbols, how far apart they are (Angstrom), and that over the sum of their radii."""

    symbols: tuple[str, str]
    distance: float
    ratio: float


def volume_of(crystal: Crystal) -> float:
    """Volume of the cell, cubic Angstrom.

    Raises
    ------
    ContractError
        If the lattice has no volume, or a number in the crystal is not finite.
    """
    lattice = np.array(crystal.lattice)
    if not (np.isfinite(lattice).all() and np.isfinite(crystal.frac_coords).all()):
        raise ContractError("the lattice or a coordinate is not a finite number")
    volume = abs(float(np.linalg.det(lattice)))
    if volume < 1e-6 * float(np.linalg.norm(lattice, axis=1).prod()) or volume == 0.0:
        raise ContractError("the lattice vectors lie in one plane: the cell has no volume")
    return volume


def scaled(crystal: Crystal, volume: float) -> Crystal:
    """The same crystal, its cell scaled evenly to `volume` (cubic Angstrom)."""
    factor = float(np.cbrt(volume / volume_of(crystal)))
    a, b, c = (tuple(factor * v for v in row) for row in crystal.lattice)
    return Crystal((a, b, c), crystal.species, crystal.frac_coords)  # type: ignore[arg-type]


def _compact(lattice: Floats) -> NDArray[np.int_]:
    """Integer matrix M, determinant 1, that makes ``M @ lattice`` a shorter basis of the same lattice.

    Only speed depends on how short it is: a short basis needs fewer periodic images.
    """
    change = np.eye(3, dtype=int)
    for _ in range(100):
        basis = change @ lattice
        gram = basis @ basis.T
        steps = np.rint(gram / np.diag(gram)).astype(int)
        np.fill_diagonal(steps, 0)
        if not steps.any():
            break
        gains = steps * (2 * gram - steps * np.diag(gram))
        i, j = np.unravel_index(int(np.argmax(gains)), gains.shape)
        if gains[i, j] <= 1e-9 * gram[i, i]:
            break
        change[i] -= steps[i, j] * change[j]
    return change


def _basis_and_sites(crystal: Crystal) -> tuple[Floats, Floats]:
    volume_of(crystal)
    lattice = np.array(crystal.lattice)
    change = _compact(lattice)
    return change @ lattice, np.array(crystal.frac_coords) @ np.linalg.inv(change)


def _translations(basis: Floats, reach: float) -> Floats:
    """Lattice translations, Cartesian, that bring every image within `reach` of a site near it.

    For fractional differences in [-0.5, 0.5]: a vector no longer than `reach` has fractional components no larger
    than `reach` times the lengths of the reciprocal vectors.
    """
    heights = np.linalg.norm(np.linalg.inv(basis), axis=0)
    n = np.floor(reach * heights + 0.5 + 1e-9).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-k, k + 1) for k in n), indexing="ij"), axis=-1)
    return np.asarray(steps.reshape(-1, 3) @ basis, dtype=np.float64)


def _distances(basis: Floats, sites: Floats, translations: Floats) -> Iterator[tuple[int, Floats]]:
    """Distances from a few sites at a time: the first of them, and (n_few, n_sites, n_translations).

    A site is infinitely far from itself; its images are not.
    """
    few = max(1, _BLOCK // (len(sites) * len(translations)))
    here = int(np.flatnonzero(~translations.any(axis=1))[0])
    for first in range(0, len(sites), few):
        apart = sites[None, :, :] - sites[first : first + few, None, :]
        near = (apart - np.rint(apart)) @ basis
        vectors = near[:, :, None, :] + translations
        distances = np.sqrt(np.einsum("ijkx,ijkx->ijk", vectors, vectors))
        rows = np.arange(len(distances))
        distances[rows, first + rows, here] = np.inf
        yield first, distances


def _closest(crystal: Crystal, basis: Floats, sites: Floats, radii: Floats, reach: float) -> Contact:
    best = Contact(("", ""), np.inf, np.inf)
    for first, images in _distances(basis, sites, _translations(basis, reach)):
        distances = images.min(axis=2)
        ratios = distances / (radii[first : first + len(distances), None] + radii)
        i, j = np.unravel_index(int(np.argmin(ratios)), ratios.shape)
        if ratios[i, j] < best.ratio:
            pair = (crystal.species[first + i], crystal.species[j])
            best = Contact(pair, float(distances[i, j]), float(ratios[i, j]))
    return best


def closest_contact(crystal: Crystal, radii: Mapping[str, float]) -> Contact:
    """The two atoms, of all periodic images, whose distance is the smallest part of the sum of their radii.

    Parameters
    ----------
    radii : element -> radius, Angstrom

    Raises
    ------
    ContractError
        As `volume_of`; or if an element has no radius.
    """
    unknown = sorted(symbol for symbol in crystal.amounts if symbol not in radii)
    if unknown:
        raise ContractError(f"no radius is known for {', '.join(unknown)}")
    basis, sites = _basis_and_sites(crystal)
    sizes = np.array([radii[symbol] for symbol in crystal.species])
    # Every atom meets its own image one lattice vector away, so the closest contact is no farther than this.
    bound = float(np.linalg.norm(basis, axis=1).min()) / (2 * sizes.max())
    if len(sites) > 1:
        bound = min(bound, _closest(crystal, basis, sites, sizes, 0.0).ratio)
    return _closest(crystal, basis, sites, sizes, bound * 2 * sizes.max())


def minimum_distance(crystal: Crystal) -> float:
    """Smallest distance between two atoms, Angstrom, over all periodic images.

    Raises
    ------
    ContractError
        As `volume_of`.
    """
    return closest_contact(crystal, dict.fromkeys(crystal.species, 0.5)).distance


def neighbor_distances(crystal: Crystal, n: int) -> dict[tuple[str, str], Floats]:
    """Geometry without a frame: distances to the `n` nearest atoms of one element, averaged over another's sites.

    It does not change under supercells, rotations, shifts of the origin and permutations, nor for mirror images.

    Returns
    -------
    (element of the site, element of its neighbors) -> (n,), ascending, Angstrom

    Raises
    ------
    ContractError
        As `volume_of`.

    References
    ----------
    Widdowson, Mosca, Pulido, Cooper & Kurlin (2022), doi:10.46793/match.87-3.529W: average minimum distances.
    """
    basis, sites = _basis_and_sites(crystal)
    species = np.array(crystal.species)
    elements = sorted(crystal.amounts)
    fewest = min(crystal.amounts.values())
    reach = float(np.cbrt(volume_of(crystal) * n / fewest))
    while True:
        near: dict[tuple[str, str], list[Floats]] = {(a, b): [] for a in elements for b in elements}
        for first, images in _distances(basis, sites, _translations(basis, reach)):
            for i, distances in enumerate(images, start=first):
                for element in elements:
                    row = np.sort(distances[species == element], axis=None)[:n]
                    near[crystal.species[i], element].append(row)
        # Beyond `reach` some images are missing, so what was found there may not be the nearest.
        if all(len(row) == n and row[-1] <= reach for rows in near.values() for row in rows):
            return {pair: np.mean(rows, axis=0) for pair, rows in near.items()}
        reach *= 1.3
