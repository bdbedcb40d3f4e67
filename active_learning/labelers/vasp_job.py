"""The job of the labeler `vasp`: run VASP, and take its numbers if it converged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from active_learning.crystals.geometry import volume_of
from active_learning.domain.label import FailureKind
from active_learning.labelers.against_elements import ENERGY, FORMATION
from active_learning.labelers.crystal_jobs import NoResult, check_volume, described, finished, formation_energy
from active_learning.labelers.programs import filled, run_program, signal_name
from active_learning.labelers.vasp_output import (
    VaspRun,
    last_moment,
    own_words,
    ran_out_of_memory,
    read_vasprun,
)

__all__ = ["run"]

_VASPRUN, _OUTCAR = Path("vasprun.xml"), Path("OUTCAR")
_TAIL = 20_000
_SOFT_STOP = "soft stop encountered"


def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Compute what `inputs` ask for (`Vasp.prepare` says how they look); a JSON object."""
    return finished(lambda: _compute(inputs))


def _compute(inputs: Mapping[str, Any]) -> dict[str, Any]:
    command = filled(inputs["command"])
    # Where nobody says how many, VASP with OpenMP takes all threads of the node for each of its processes.
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    try:
        status, words = run_program(command, threads)
    except OSError as error:
        raise NoResult(FailureKind.CRASHED, f"{command[0]!r} cannot be started: {error.strerror}") from error
    found = _result(status, words, inputs["amounts"])
    properties = _properties(found, inputs)
    settings = {key: inputs[key] for key in ("command", "input_set", "incar", "kpoints", "potcar", "references")}
    return {"properties": properties, "code": "vasp"} | dict(found.about) | settings | described(found.crystal)


def _result(status: int, words: str, amounts: Mapping[str, float]) -> VaspRun:
    texts = (_tail(_OUTCAR), _tail(Path("stdout")), words)
    if status == 0:
        try:
            found = read_vasprun(_VASPRUN, amounts)
        except NoResult as broken:
            # VASP often says what is wrong, stops, and returns 0.
            if broken.kind is FailureKind.UNPARSABLE:
                _raise_own_words(texts, "")
            raise
        if _SOFT_STOP in texts[0]:
            raise NoResult(FailureKind.UNCONVERGED, "VASP was told to stop (STOPCAR) before it was done")
        return found
    name = signal_name(status)
    how = f"ended by {name}" if name else f"exit code {status}"
    _raise_own_words(texts, f"{how}: ")
    raise NoResult(FailureKind.CRASHED, f"{how}: {words.splitlines()[-1] if words else 'not a word'}")


def _raise_own_words(texts: tuple[str, ...], how: str) -> None:
    if line := ran_out_of_memory(texts):
        raise NoResult(FailureKind.OUT_OF_MEMORY, f"{how}{line}")
    if said := own_words(texts):
        raise NoResult(FailureKind.CRASHED, f"{how}{said}")


def _properties(found: VaspRun, inputs: Mapping[str, Any]) -> dict[str, float]:
    check_volume(found.volume_change, found.about["n_ionic_steps"])
    n_atoms = len(found.crystal.species)
    properties = {ENERGY: found.energy / n_atoms, "volume_per_atom": volume_of(found.crystal) / n_atoms}
    if inputs["references"] is not None:
        properties[FORMATION] = formation_energy(properties[ENERGY], found.crystal, inputs["references"])
    if found.gap is not None:
        properties["band_gap"] = found.gap
    if found.has_spin:
        # Which way is up is an accident of the start.
        moment = last_moment(_OUTCAR.read_text(errors="replace") if _OUTCAR.is_file() else "")
        properties["magnetic_moment_per_atom"] = abs(moment) / n_atoms
    return properties


def _tail(path: Path) -> str:
    """The end of a file; empty if there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return file.read().decode(errors="replace")
