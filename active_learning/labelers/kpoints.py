"""Meshes of k-points by density."""

from __future__ import annotations

import numpy as np

from active_learning.domain.candidate import Crystal

__all__ = ["mesh"]

_ROUNDING = 1e-9
"""So that a spacing that divides a reciprocal vector does so in spite of rounding."""


def mesh(crystal: Crystal, spacing: float) -> tuple[int, int, int]:
    """Divisions of the three reciprocal vectors, such that neighbors are at most `spacing` apart.

    ``n_i = max(1, ceil(|b_i| / spacing))`` with ``a_i . b_j = 2 pi delta_ij``: spacings are in 1/Angstrom and hold the
    2 pi, as VASP's KSPACING does. Cells of a crystal that differ in size get meshes of one density.

    Parameters
    ----------
    spacing : 1/Angstrom, > 0

    Examples
    --------
    >>> cube = Crystal(((4, 0, 0), (0, 4, 0), (0, 0, 8)), ("Al",), ((0, 0, 0),))
    >>> mesh(cube, 0.5)
    (4, 4, 2)
    """
    reciprocal = 2 * np.pi * np.linalg.inv(np.array(crystal.lattice)).T
    lengths = np.linalg.norm(reciprocal, axis=1)
    a, b, c = (max(1, int(np.ceil(length / spacing - _ROUNDING))) for length in lengths)
    return a, b, c
