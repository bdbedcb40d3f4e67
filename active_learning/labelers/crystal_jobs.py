"""What the jobs that compute crystals have in common: how they end, and what follows from energies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from active_learning.crystals.symmetry import crystal_key
from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.errors import ContractError
from active_learning.labelers.equation_of_state import fit_birch_murnaghan
from active_learning.labelers.results import failure

__all__ = ["NoResult", "bulk_modulus", "check_volume", "described", "finished", "formation_energy"]

_SYMPREC = 0.05
"""Angstrom; looser than for a pool's ideal crystals, since a relaxation stops near its minimum, not in it."""
_MOST_VOLUME_CHANGE = 3.0
"""A cell that grew or shrank by this factor is on its way to nowhere."""


class NoResult(Exception):
    """The job knows why it has no result."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(detail)


def finished(compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a job's function returns: the result with the seconds that it took, or the failure that it knows."""
    begin = time.perf_counter()
    try:
        result = compute()
    except NoResult as stopped:
        return failure(stopped.kind, stopped.detail)
    except MemoryError as error:
        return failure(FailureKind.OUT_OF_MEMORY, f"out of memory: {error}")
    return result | {"wall_s": time.perf_counter() - begin}


def described(crystal: Crystal) -> dict[str, Any]:
    """The crystal that a job ended with, and its key (None if it is too distorted for any symmetry)."""
    try:
        key: str | None = crystal_key(crystal, symprec=_SYMPREC)
    except ContractError:
        key = None
    return {"crystal": crystal.to_json(), "crystal_key": key}


def formation_energy(energy: float, crystal: Crystal, elements: Mapping[str, float]) -> float:
    """Energy per atom less that of the elements; all in eV/atom."""
    counts = Counter(crystal.species)
    return energy - sum(n * elements[symbol] for symbol, n in counts.items()) / len(crystal.species)


def check_volume(change: float, n_steps: int) -> None:
    """Raise NoResult if a relaxation brought the cell to a `change`-fold of its volume that makes no sense."""
    if not 1 / _MOST_VOLUME_CHANGE < change < _MOST_VOLUME_CHANGE:
        raise NoResult(FailureKind.UNCONVERGED, f"the cell came to {change:.3g} of its volume in {n_steps} steps")


def bulk_modulus(
    settings: Mapping[str, Any], volume_and_energy: Callable[[float], tuple[float, float]]
) -> tuple[float, dict[str, Any]]:
    """Bulk modulus (GPa) from energies of evenly scaled cells, and the points with the fit's residual.

    Parameters
    ----------
    settings : with ``n_volumes`` and ``volume_range``
    volume_and_energy : of the cell scaled to so many times its volume; cubic Angstrom and eV

    Raises
    ------
    NoResult
        If the energies have no minimum among the volumes.
    """
    spread = settings["volume_range"]
    factors = np.linspace(1 - spread, 1 + spread, settings["n_volumes"])
    points = [volume_and_energy(float(factor)) for factor in factors]
    volumes, energies = [volume for volume, _ in points], [energy for _, energy in points]
    try:
        curve = fit_birch_murnaghan(np.array(volumes), np.array(energies))
    except ValueError as error:
        raise NoResult(FailureKind.UNCONVERGED, f"no bulk modulus: {error}") from error
    fitted = {"volumes": volumes, "energies": energies, "rmse_ev": curve.rmse}
    return curve.bulk_modulus, {"equation_of_state": dict(settings) | fitted}
