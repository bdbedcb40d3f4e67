"""What a VASP run left: its own words where it failed, and numbers only where it converged."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.io.vasp.outputs import UnconvergedVASPWarning, Vasprun

from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.labelers.crystal_jobs import NoResult

__all__ = ["VaspRun", "band_gap", "last_moment", "own_words", "ran_out_of_memory", "read_vasprun"]

_REFUSAL = re.compile(r"I REFUSE TO CONTINUE WITH THIS SICK JOB")
_COMPLAINT = re.compile(
    r"VERY BAD NEWS|\berror\b|\bfatal\b|very serious problems|\bfailed\b|severe \(\d+\)|segmentation fault",
    re.IGNORECASE,
)
_BANNER = re.compile(r"[ERORWANIGDVC#! ]*")
"""The letters that are drawn in large; their rows hold nothing else."""
_MEMORY = re.compile(
    r"insufficient virtual memory|cannot allocate memory|out[ -]of[ -]memory|oom[-_ ]kill|std::bad_alloc"
    r"|not enough memory|allocation would exceed memory limit|allocat\w* .*failed|failed to allocate",
    re.IGNORECASE,
)
_MOMENT = re.compile(r"number of electron\s+\S+\s+magnetization[ \t]+(\S+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class VaspRun:
    """A run that converged.

    Parameters
    ----------
    energy : of the cell, eV; extrapolated to no smearing (VASP's "energy(sigma->0)")
    crystal : as it came to be
    volume_change : the cell's volume, over the one that it began with
    gap : eV, see `band_gap`
    has_spin : collinear; then the total moment stands in OUTCAR
    about : a JSON object for a label's provenance
    """

    energy: float
    crystal: Crystal
    volume_change: float
    gap: float | None
    has_spin: bool
    about: Mapping[str, Any]


def own_words(texts: Iterable[str]) -> str | None:
    """What VASP says is wrong, in one line: the text of its last box, else the last line that complains."""
    lines = [line.strip(" |\t\r") for text in texts for line in text.splitlines()]
    end = next((i for i in range(len(lines) - 1, -1, -1) if _REFUSAL.search(lines[i])), None)
    if end is not None:
        said: list[str] = []
        for line in reversed(lines[:end]):
            if line.startswith("---") or (line and _BANNER.fullmatch(line)):
                break
            said.insert(0, line)
        return " ".join(part for part in said if part) or lines[end]
    return next((line for line in reversed(lines) if _COMPLAINT.search(line)), None)


def ran_out_of_memory(texts: Iterable[str]) -> str | None:
    """The line that says so, of the runtime, the kernel or the scheduler; None if there is none."""
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return next((line for line in lines if _MEMORY.search(line)), None)


def last_moment(outcar: str) -> float:
    """The cell's total magnetic moment at the end of a collinear run, in Bohr magnetons, from the text of OUTCAR.

    Raises
    ------
    NoResult
        If none stands there, or no number.
    """
    found = _MOMENT.findall(outcar)
    try:
        moment = float(found[-1])
    except (IndexError, ValueError) as error:
        said = f"reads {found[-1]!r}" if found else "is missing"
        raise NoResult(FailureKind.UNPARSABLE, f"the magnetization in OUTCAR {said}") from error
    if not math.isfinite(moment):
        raise NoResult(FailureKind.UNPARSABLE, f"the magnetization in OUTCAR is {moment}")
    return moment


def band_gap(eigenvalues: Iterable[NDArray[np.float64]]) -> float | None:
    """The gap in eV between the highest filled and the lowest empty band, over all k-points of the run's mesh.

    Bands count as filled in more than half. Zero where two k-points have different numbers of them: then a band
    crosses the Fermi level. (To take single states by their occupation would find gaps of some meV in metals, between
    neighboring points of the mesh.)

    Parameters
    ----------
    eigenvalues : for each spin (n_kpoints, n_bands, 2)
        Energy and occupation (0 to 1).

    Returns
    -------
    None if the run has no empty band.
    """
    top, bottom = -math.inf, math.inf
    for values in eigenvalues:
        energies, filled = values[..., 0], values[..., 1] > 0.5
        numbers = set(filled.sum(axis=1).tolist())
        if len(numbers) > 1:
            return 0.0
        (n_filled,) = numbers
        ordered = np.sort(energies, axis=1)
        if n_filled == ordered.shape[1]:
            return None
        bottom = min(bottom, float(ordered[:, n_filled].min()))
        if n_filled:
            top = max(top, float(ordered[:, n_filled - 1].max()))
    return max(0.0, bottom - top) if math.isfinite(bottom - top) else None


def read_vasprun(path: Path, amounts: Mapping[str, float]) -> VaspRun:
    """The results of a run that ended well and converged.

    Parameters
    ----------
    amounts : atoms of each element that the cell must have

    Raises
    ------
    NoResult
        UNPARSABLE if the file is missing, cut off, or of another crystal; UNCONVERGED if the electrons of the last step
        or the atoms did not converge.
    """
    if not path.is_file():
        raise NoResult(FailureKind.UNPARSABLE, f"VASP left no {path.name}")
    try:
        with warnings.catch_warnings():
            # What it warns of is checked here.
            warnings.simplefilter("ignore", UnconvergedVASPWarning)
            run = Vasprun(path, parse_dos=False, parse_potcar_file=False)
        _check_convergence(run)
        crystal = from_structure(run.final_structure)
        found = VaspRun(
            energy=float(run.final_energy),
            crystal=crystal,
            volume_change=float(run.final_structure.volume / run.initial_structure.volume),
            gap=band_gap(run.eigenvalues.values()) if run.eigenvalues else None,
            has_spin=run.parameters.get("ISPIN") == 2 and not run.parameters.get("LNONCOLLINEAR"),
            about={
                "version": str(run.vasp_version),
                "n_ionic_steps": len(run.ionic_steps),
                "n_electronic_steps": sum(len(step["electronic_steps"]) for step in run.ionic_steps),
            },
        )
    except NoResult:
        raise
    except Exception as error:
        # pymatgen's parsers raise whatever comes to them: broken XML, a missing key, an index.
        raise NoResult(
            FailureKind.UNPARSABLE, f"{path.name} cannot be read: {type(error).__name__}: {error}"
        ) from error
    if not math.isfinite(found.energy):
        raise NoResult(FailureKind.UNPARSABLE, f"{path.name} holds the energy {found.energy}")
    if crystal.amounts != dict(amounts):
        raise NoResult(FailureKind.UNPARSABLE, f"{path.name} is of {crystal.amounts}, and not of {dict(amounts)}")
    return found


def _check_convergence(run: Vasprun) -> None:
    if not run.converged_electronic:
        most = run.parameters.get("NELM")
        raise NoResult(FailureKind.UNCONVERGED, f"the electrons did not converge in NELM = {most} steps")
    if not run.converged_ionic:
        most = run.parameters.get("NSW")
        raise NoResult(FailureKind.UNCONVERGED, f"the atoms did not come to rest in NSW = {most} steps")
