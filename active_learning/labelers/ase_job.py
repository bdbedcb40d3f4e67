"""The job of the labeler `ase`: relax a crystal, and compute its energy and what follows from energies."""

from __future__ import annotations

import importlib
import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
from ase import Atoms
from ase.calculators.calculator import SCFError, get_calculator_class
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from active_learning.crystals.ase import from_atoms, to_atoms
from active_learning.crystals.symmetry import crystal_key
from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.errors import ContractError
from active_learning.labelers.equation_of_state import fit_birch_murnaghan
from active_learning.labelers.results import failure

__all__ = ["run"]

_SYMPREC = 0.05
"""Angstrom; looser than for a pool's ideal crystals, since a relaxation stops near its minimum, not in it."""
_MOST_VOLUME_CHANGE = 3.0
"""A cell that grew or shrank by this factor is on its way to nowhere."""


class _NoResult(Exception):
    def __init__(self, kind: FailureKind, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(detail)


def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Compute what `inputs` ask for (`Ase.prepare` says how they look); a JSON object."""
    begin = time.perf_counter()
    try:
        result = _compute(inputs)
    except _NoResult as stopped:
        return failure(stopped.kind, stopped.detail)
    except NotImplementedError as error:
        # How ASE's calculators say that they know no such element, or no stress.
        return failure(FailureKind.REJECTED, f"the calculator cannot do this: {error}")
    except SCFError as error:
        return failure(FailureKind.UNCONVERGED, f"the electrons did not converge: {error}")
    except MemoryError as error:
        return failure(FailureKind.OUT_OF_MEMORY, f"out of memory: {error}")
    return result | {"wall_s": time.perf_counter() - begin}


def _compute(inputs: Mapping[str, Any]) -> dict[str, Any]:
    atoms = to_atoms(Crystal.from_json(inputs["crystal"]))
    atoms.calc = _calculator(inputs["calculator"], inputs["calculator_options"])
    relaxed = {"n_steps": 0, "max_force_ev_per_angstrom": None}
    if inputs["relax"] != "none":
        relaxed = _relax(atoms, inputs["relax"], inputs["fmax"], inputs["max_steps"])
    energy = _energy(atoms) / len(atoms)
    properties = {"energy_per_atom": energy, "volume_per_atom": float(atoms.get_volume()) / len(atoms)}
    if inputs["references"] is not None:
        counts = Counter(atoms.get_chemical_symbols())
        elements = sum(n * inputs["references"][symbol] for symbol, n in counts.items()) / len(atoms)
        properties["formation_energy_per_atom"] = energy - elements
    crystal = from_atoms(atoms)
    curve: dict[str, Any] = {}
    if inputs["equation_of_state"] is not None:
        properties["bulk_modulus"], curve = _bulk_modulus(atoms, inputs)
    settings = {key: value for key, value in inputs.items() if key != "crystal"}
    found = {"crystal": crystal.to_json(), "crystal_key": _key(crystal)}
    return {"properties": properties, "code": "ase", "version": ase.__version__} | settings | relaxed | found | curve


def _calculator(name: str, options: Mapping[str, Any]) -> Any:
    module, _, attribute = name.partition(":")
    make = getattr(importlib.import_module(module), attribute) if attribute else get_calculator_class(name)
    return make(**options)


def _key(crystal: Crystal) -> str | None:
    try:
        return crystal_key(crystal, symprec=_SYMPREC)
    except ContractError:
        # A relaxed cell may be too distorted for any symmetry at this tolerance; then it simply has no key.
        return None


def _energy(atoms: Atoms) -> float:
    energy = float(atoms.get_potential_energy())
    if not math.isfinite(energy):
        raise _NoResult(FailureKind.UNPARSABLE, f"the calculator gave the energy {energy}")
    return energy


def _relax(atoms: Atoms, how: str, fmax: float, max_steps: int) -> dict[str, Any]:
    """Move the atoms (`positions`), and the cell too (`cell`), until the largest force is below `fmax`.

    Forces are in eV/Angstrom; the cell's count as forces of three more atoms: minus the derivatives of the energy by
    the logarithm of the deformation, over the number of atoms.
    """
    movable = FrechetCellFilter(atoms) if how == "cell" else atoms
    optimizer = BFGS(movable, logfile=None)
    volume = float(atoms.get_volume())
    largest = math.nan
    for is_converged in optimizer.irun(fmax=fmax, steps=max_steps):
        n_steps = int(optimizer.nsteps)
        largest = float(np.sqrt((np.asarray(movable.get_forces()) ** 2).sum(axis=1).max()))
        if not (math.isfinite(largest) and math.isfinite(float(atoms.get_potential_energy()))):
            kind = FailureKind.UNCONVERGED if n_steps else FailureKind.UNPARSABLE
            raise _NoResult(kind, f"forces or energy are not finite after {n_steps} steps of relaxation")
        change = float(atoms.get_volume()) / volume
        if not 1 / _MOST_VOLUME_CHANGE < change < _MOST_VOLUME_CHANGE:
            raise _NoResult(FailureKind.UNCONVERGED, f"the cell came to {change:.3g} of its volume in {n_steps} steps")
        if is_converged:
            return {"n_steps": n_steps, "max_force_ev_per_angstrom": largest}
    raise _NoResult(
        FailureKind.UNCONVERGED,
        f"the largest force is {largest:.3g} eV/Angstrom after {max_steps} steps, wanted {fmax:g}",
    )


def _bulk_modulus(atoms: Atoms, inputs: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """Bulk modulus (GPa) from energies of evenly scaled cells; atoms relax in each unless `relax` is none."""
    settings = inputs["equation_of_state"]
    spread = settings["volume_range"]
    volumes, energies = [], []
    for factor in np.linspace(1 - spread, 1 + spread, settings["n_volumes"]):
        scaled = atoms.copy()
        scaled.calc = atoms.calc
        scaled.set_cell(atoms.cell * factor ** (1 / 3), scale_atoms=True)
        if inputs["relax"] != "none":
            _relax(scaled, "positions", inputs["fmax"], inputs["max_steps"])
        volumes.append(float(scaled.get_volume()))
        energies.append(_energy(scaled))
    try:
        curve = fit_birch_murnaghan(np.array(volumes), np.array(energies))
    except ValueError as error:
        raise _NoResult(FailureKind.UNCONVERGED, f"no bulk modulus: {error}") from error
    points = {"volumes": volumes, "energies": energies, "rmse_ev": curve.rmse}
    return curve.bulk_modulus, {"equation_of_state": settings | points}
