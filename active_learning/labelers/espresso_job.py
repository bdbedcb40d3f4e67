"""The job of the labeler `espresso`: run pw.x on a crystal, and what follows from its energies and bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import Ry

from active_learning.crystals.geometry import volume_of
from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.labelers.crystal_jobs import (
    NoResult,
    bulk_modulus,
    check_volume,
    described,
    finished,
    formation_energy,
)
from active_learning.labelers.espresso_bands import Electrons, band_gap, bands_needed
from active_learning.labelers.espresso_output import Effort, Moves
from active_learning.labelers.espresso_run import PwRun, Setup, run_pw, scratch
from active_learning.labelers.namelists import merged
from active_learning.labelers.programs import filled
from active_learning.labelers.pseudopotentials import Pseudopotential, needs_more_density, of_one_functional, read_upf

__all__ = ["run"]

_SAME_MAGNETIZATION = 0.006
"""Bohr magnetons; pw.x prints two digits of what its XML file has in full."""


@dataclass(frozen=True)
class _Plan:
    """What all runs of a job share."""

    inputs: Mapping[str, Any]
    chosen: Mapping[str, Pseudopotential]
    setup: Setup


def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Compute what `inputs` ask for (`Espresso.prepare` says how they look); a JSON object."""
    return finished(lambda: _compute(inputs))


def _compute(inputs: Mapping[str, Any]) -> dict[str, Any]:
    crystal = Crystal.from_json(inputs["crystal"])
    chosen = _pseudopotentials(inputs)
    plan = _Plan(inputs, chosen, _setup(inputs, crystal, chosen))
    with scratch(Path(inputs["pseudo_dir"]), {element: upf.file for element, upf in chosen.items()}):
        runs = [_run(plan, "espresso", crystal, inputs["relax"])]
        properties = _properties(inputs, runs[0])
        curve: dict[str, Any] = {}
        if inputs["equation_of_state"] is not None:
            properties["bulk_modulus"], curve = _bulk_modulus(plan, runs)
    result = {"properties": properties} | {key: value for key, value in inputs.items() if key != "crystal"}
    return result | _about(plan, runs) | described(runs[0].output.crystal) | curve


def _about(plan: _Plan, runs: list[PwRun]) -> dict[str, Any]:
    """How the numbers came about, as far as the inputs do not say it."""
    files = {
        element: {"file": upf.file, "functional": upf.functional, "md5": upf.md5}
        for element, upf in plan.chosen.items()
    }
    effort = sum((done.effort for done in runs), Effort())
    return {
        "code": "pw.x",
        "version": runs[0].output.version,
        "pseudopotentials": files,
        "namelists": plan.setup.namelists,
        "n_scf": effort.n_scf,
        "n_iterations": effort.n_iterations,
        "n_steps": runs[0].effort.n_steps,
        "n_restarts": sum(done.n_restarts for done in runs),
        "magnetization": runs[0].output.magnetization,
    }


def _pseudopotentials(inputs: Mapping[str, Any]) -> dict[str, Pseudopotential]:
    """The files as they are where the job runs; they must be those that the campaign knows."""
    folder, chosen = Path(inputs["pseudo_dir"]), {}
    for element, known in inputs["pseudopotentials"].items():
        try:
            found = read_upf(folder / known["file"])
        except ValueError as error:
            raise NoResult(
                FailureKind.CRASHED, f"no pseudopotential of {element} where the job ran: {error}"
            ) from error
        if found.element != element:
            raise NoResult(FailureKind.REJECTED, f"{found.file} is a pseudopotential of {found.element}, not {element}")
        if known["md5"] not in (None, found.md5):
            detail = f"{found.file} is another file where the job ran (MD5 {found.md5}, not {known['md5']})"
            raise NoResult(FailureKind.REJECTED, detail)
        chosen[element] = found
    system = inputs["namelists"]["system"]
    reason = needs_more_density(chosen) if "ecutrho" not in system else None
    reason = reason or (of_one_functional(chosen) if "input_dft" not in system else None)
    if reason:
        raise NoResult(FailureKind.REJECTED, reason)
    return chosen


def _setup(inputs: Mapping[str, Any], crystal: Crystal, chosen: Mapping[str, Pseudopotential]) -> Setup:
    namelists = inputs["namelists"]
    start = inputs["starting_magnetization"]
    if inputs["band_gap"] and "nbnd" not in namelists["system"]:
        electrons = [chosen[symbol].z_valence for symbol in crystal.species]
        moments = [] if start is None else [n * start[s] for n, s in zip(electrons, crystal.species, strict=True)]
        namelists = merged(namelists, {"system": {"nbnd": bands_needed(sum(electrons), sum(map(abs, moments)))}})
    return Setup(
        command=filled(inputs["command"]),
        namelists=namelists,
        kpoints=tuple(inputs["kpoints"]),
        starting_magnetization=start,
    )


def _run(plan: _Plan, name: str, crystal: Crystal, moves: Moves) -> PwRun:
    """One run, by the version and with the pseudopotentials that are meant, and whose relaxation makes sense."""
    needs_electrons = plan.inputs["band_gap"] or plan.inputs["starting_magnetization"] is not None
    done = run_pw(name, crystal, plan.setup, moves, with_electrons=needs_electrons)
    wanted = plan.inputs["version"]
    if wanted is not None and done.output.version != wanted:
        raise NoResult(FailureKind.REJECTED, f"this is version {done.output.version} of pw.x, asked for was {wanted}")
    if done.output.md5 != {upf.md5 for upf in plan.chosen.values()}:
        # pw.x looks in other folders, too, for a file that it does not find.
        raise NoResult(FailureKind.CRASHED, "pw.x read other pseudopotentials than it was given")
    check_volume(volume_of(done.output.crystal) / volume_of(crystal), done.effort.n_steps)
    return done


def _properties(inputs: Mapping[str, Any], done: PwRun) -> dict[str, float]:
    crystal = done.output.crystal
    n_atoms = len(crystal.species)
    energy = done.output.energy_ry * Ry / n_atoms
    properties = {"energy_per_atom": energy, "volume_per_atom": volume_of(crystal) / n_atoms}
    if inputs["references"] is not None:
        properties["formation_energy_per_atom"] = formation_energy(energy, crystal, inputs["references"])
    if done.electrons is not None and inputs["starting_magnetization"] is not None:
        properties["magnetic_moment_per_atom"] = abs(_magnetization(done, done.electrons)) / n_atoms
    if done.electrons is not None and inputs["band_gap"]:
        properties["band_gap"] = band_gap(done.electrons)
    return properties


def _magnetization(done: PwRun, electrons: Electrons) -> float:
    """Bohr magnetons in the cell; text and XML file must agree."""
    printed = done.output.magnetization
    if printed is None:
        raise NoResult(FailureKind.UNPARSABLE, "a calculation with spin printed no magnetization")
    if not math.isclose(printed[0], electrons.magnetization, abs_tol=_SAME_MAGNETIZATION):
        detail = f"the magnetization is {printed[0]} in the text and {electrons.magnetization} in the XML file of pw.x"
        raise NoResult(FailureKind.UNPARSABLE, detail)
    return electrons.magnetization


def _bulk_modulus(plan: _Plan, runs: list[PwRun]) -> tuple[float, dict[str, Any]]:
    """Bulk modulus (GPa) from the cell that the first run ended with; atoms relax in each unless `relax` is none.

    The mesh of k-points is the same at all volumes, and the volume of the first run needs no second one.
    """
    first = runs[0].output
    moves: Moves = "none" if plan.inputs["relax"] == "none" else "positions"

    def volume_and_energy(factor: float) -> tuple[float, float]:
        if math.isclose(factor, 1.0):
            return volume_of(first.crystal), first.energy_ry * Ry
        lattice = np.array(first.crystal.lattice) * factor ** (1 / 3)
        a, b, c = (tuple(row) for row in lattice.tolist())
        scaled = Crystal((a, b, c), first.crystal.species, first.crystal.frac_coords)
        runs.append(_run(plan, f"volume-{len(runs)}", scaled, moves))
        return volume_of(scaled), runs[-1].output.energy_ry * Ry

    return bulk_modulus(plan.inputs["equation_of_state"], volume_and_energy)
