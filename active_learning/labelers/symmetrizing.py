"""Crystals that are nearly symmetric, made exactly so."""

from __future__ import annotations

import numpy as np
from moyopy import Cell, MoyoDataset
from numpy.typing import NDArray

from active_learning.domain.candidate import Crystal
from active_learning.domain.elements import ATOMIC_NUMBERS
from active_learning.errors import ContractError

__all__ = ["symmetrized"]

Floats = NDArray[np.float64]


def symmetrized(crystal: Crystal, symprec: float) -> Crystal:
    """The crystal with lattice and sites where its symmetry would have them, in the same setting and orientation.

    Metric and sites are averaged over the operations of the space group: the metric ``G`` over ``W^T G W``, and each
    site over the images that operations bring to it.

    Parameters
    ----------
    symprec : Angstrom; how far sites may be from where the symmetry would have them

    Raises
    ------
    ContractError
        If no symmetry can be found: atoms lie on one another, or the lattice has no volume.
    """
    numbers = [ATOMIC_NUMBERS[symbol] for symbol in crystal.species]
    lattice, sites = np.array(crystal.lattice), np.array(crystal.frac_coords)
    try:
        operations = MoyoDataset(Cell(lattice.tolist(), sites.tolist(), numbers), symprec=symprec).operations
    except ValueError as error:
        raise ContractError(f"no symmetry found: {error}") from error
    rotations, translations = np.array(operations.rotations, dtype=float), np.array(operations.translations)
    metric = np.einsum("gji,jk,gkl->il", rotations, lattice @ lattice.T, rotations) / len(rotations)
    a, b, c = (tuple(row) for row in _nearest_lattice(metric, lattice).tolist())
    found = _averaged_sites(sites, np.array(numbers), rotations, translations, lattice)
    return Crystal((a, b, c), crystal.species, tuple((x, y, z) for x, y, z in found.tolist()))


def _nearest_lattice(metric: Floats, lattice: Floats) -> Floats:
    """The lattice (rows) of this metric that lies nearest to another one: the orthogonal Procrustes problem."""
    some = np.linalg.cholesky(metric)
    left, _, right = np.linalg.svd(some.T @ lattice)
    turned: Floats = some @ left @ right
    return turned


def _averaged_sites(sites: Floats, numbers: Floats, rotations: Floats, translations: Floats, lattice: Floats) -> Floats:
    """Sites as the means of the images that come to them, fractional; each stays in its cell."""
    shifts = np.zeros_like(sites)
    for rotation, translation in zip(rotations, translations, strict=True):
        images = sites @ rotation.T + translation
        away = images[:, None] - sites[None]
        away -= np.round(away)
        distances = np.linalg.norm(away @ lattice, axis=2)
        distances[numbers[:, None] != numbers[None]] = np.inf
        # The site nearest to each image; an operation of the group leaves none out.
        targets = distances.argmin(axis=1)
        shifts[targets] += away[np.arange(len(sites)), targets]
    averaged: Floats = sites + shifts / len(rotations)
    return averaged
