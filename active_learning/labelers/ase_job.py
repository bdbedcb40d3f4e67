"""The job of the labeler `ase`: relax a crystal, and compute its energy and what follows from energies."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
from ase import Atoms
from ase.calculators.calculator import SCFError, get_calculator_class
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from active_learning.crystals.ase import from_atoms, to_atoms
from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.labelers import machine_learned
from active_learning.labelers.crystal_jobs import (
    NoResult,
    bulk_modulus,
    check_volume,
    described,
    finished,
    formation_energy,
)

__all__ = ["run"]


def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Compute what `inputs` ask for (`Ase.prepare` says how they look); a JSON object."""
    return finished(lambda: _guarded(inputs))


def _guarded(inputs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return _compute(inputs)
    except NotImplementedError as error:
        # How ASE's calculators say that they know no such element, or no stress.
        raise NoResult(FailureKind.REJECTED, f"the calculator cannot do this: {error}") from error
    except SCFError as error:
        raise NoResult(FailureKind.UNCONVERGED, f"the electrons did not converge: {error}") from error


def _compute(inputs: Mapping[str, Any]) -> dict[str, Any]:
    atoms = to_atoms(Crystal.from_json(inputs["crystal"]))
    atoms.calc = _calculator(inputs["calculator"], inputs["calculator_options"])
    relaxed = {"n_steps": 0, "max_force_ev_per_angstrom": None}
    if inputs["relax"] != "none":
        relaxed = _relax(atoms, inputs["relax"], inputs["fmax"], inputs["max_steps"])
    energy = _energy(atoms) / len(atoms)
    properties = {"energy_per_atom": energy, "volume_per_atom": float(atoms.get_volume()) / len(atoms)}
    crystal = from_atoms(atoms)
    if inputs["references"] is not None:
        properties["formation_energy_per_atom"] = formation_energy(energy, crystal, inputs["references"])
    curve: dict[str, Any] = {}
    if inputs["equation_of_state"] is not None:
        properties["bulk_modulus"], curve = _bulk_modulus(atoms, inputs)
    settings = {key: value for key, value in inputs.items() if key != "crystal"}
    code = {"properties": properties, "code": "ase", "version": ase.__version__}
    return code | settings | relaxed | described(crystal) | curve


def _calculator(name: str, options: Mapping[str, Any]) -> Any:
    if name in machine_learned.POTENTIALS:
        return machine_learned.build(name, options)
    module, _, attribute = name.partition(":")
    make = getattr(importlib.import_module(module), attribute) if attribute else get_calculator_class(name)
    return make(**options)


def _energy(atoms: Atoms) -> float:
    energy = float(atoms.get_potential_energy())
    if not math.isfinite(energy):
        raise NoResult(FailureKind.UNPARSABLE, f"the calculator gave the energy {energy}")
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
            raise NoResult(kind, f"forces or energy are not finite after {n_steps} steps of relaxation")
        check_volume(float(atoms.get_volume()) / volume, n_steps)
        if is_converged:
            return {"n_steps": n_steps, "max_force_ev_per_angstrom": largest}
    raise NoResult(
        FailureKind.UNCONVERGED,
        f"the largest force is {largest:.3g} eV/Angstrom after {max_steps} steps, wanted {fmax:g}",
    )


def _bulk_modulus(atoms: Atoms, inputs: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """Bulk modulus (GPa) from energies of evenly scaled cells; atoms relax in each unless `relax` is none."""

    def volume_and_energy(factor: float) -> tuple[float, float]:
        scaled = atoms.copy()
        scaled.calc = atoms.calc
        scaled.set_cell(atoms.cell * factor ** (1 / 3), scale_atoms=True)
        if inputs["relax"] != "none":
            _relax(scaled, "positions", inputs["fmax"], inputs["max_steps"])
        return float(scaled.get_volume()), _energy(scaled)

    return bulk_modulus(inputs["equation_of_state"], volume_and_energy)
