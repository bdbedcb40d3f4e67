"""What pw.x printed, read so that nothing counts as a result that is not one.

A run has succeeded if it ended with status 0 and says that it is done, if every self-consistent cycle of it reached
its own threshold, and, where atoms moved, if their relaxation says that it converged. "convergence has been achieved"
alone says little: with ``scf_must_converge = .false.`` pw.x 6.7 prints it, in its XML file too, where the steps simply
ran out. So the accuracy that it prints is compared with the threshold that it prints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.labelers.crystal_jobs import NoResult
from active_learning.labelers.programs import signal_name
from active_learning.labelers.results import one_line

__all__ = ["Effort", "LostSymmetry", "Moves", "PwOutput", "check_ending", "crystal_so_far", "effort_of", "read_output"]

Moves = Literal["none", "positions", "cell"]

_VERSION = re.compile(r"Program PWSCF\s+v\.\s*(\S+)\s+starts")
_MD5 = re.compile(r"MD5 check sum: *([0-9a-f]{32})")
_START = re.compile(r"^ *Self-consistent Calculation", re.MULTILINE)
_THRESHOLD = re.compile(r"scf convergence threshold *=\s*(\S+)")
_ENERGY = re.compile(r"^! +total energy +=\s*(\S+) Ry\s*\n\s*estimated scf accuracy +<\s*(\S+) Ry", re.MULTILINE)
_ACHIEVED = re.compile(r"convergence has been achieved in\s+(\d+) iterations")
_MAGNETIZATION = re.compile(r"(total|absolute) magnetization +=\s*(\S+) Bohr mag/cell")
_RELAXED = re.compile(r"bfgs converged in\s+\d+ scf cycles and\s+(\d+) bfgs steps")
_FINAL = re.compile(r"Begin final coordinates(.*?)End final coordinates", re.DOTALL)
_CELL = re.compile(r"CELL_PARAMETERS \(angstrom\)\s*\n((?:.*\n){3})")
_SITES = re.compile(r"ATOMIC_POSITIONS \(crystal\)\s*\n((?:\s*[A-Z][a-z]?\s+[^\n]*\n)+)")
_ERROR = re.compile(r"%{20,}\s*\n(.*?)\n\s*%{20,}", re.DOTALL)
_NO_MEMORY = re.compile(
    r"error allocating|cannot allocate memory|insufficient virtual memory|out of memory|bad_alloc"
    r"|exited on signal 9|killed by signal 9|signal 9 \(killed\)|oom[-_ ]kill",
    re.IGNORECASE,
)
_NOISE = re.compile(r"ORTE_ERROR_LOG|^STOP \d+$|^Error termination. Backtrace|^#\d+ +0x")
_ROUNDED = 1.1, 5e-9
"""By how much (factor; Ry) an accuracy may seem to miss its threshold, as both are printed with few digits."""


class LostSymmetry(NoResult):
    """A relaxation whose cell drifted from the symmetry that it began with, which ends pw.x (``checkallsym``)."""


@dataclass(frozen=True)
class Effort:
    """How much pw.x did: self-consistent cycles, the iterations of all of them, steps of relaxation."""

    n_scf: int = 0
    n_iterations: int = 0
    n_steps: int = 0

    def __add__(self, other: Effort) -> Effort:
        """Both together."""
        return Effort(self.n_scf + other.n_scf, self.n_iterations + other.n_iterations, self.n_steps + other.n_steps)


@dataclass(frozen=True)
class PwOutput:
    """A successful run of pw.x.

    Parameters
    ----------
    md5 : sums of the pseudopotentials that it read
    energy_ry : of the last self-consistent cycle; with smearing the free energy, -TS included
    magnetization : total and absolute, Bohr magnetons in the cell, rounded by pw.x to 0.01; None without spin
    crystal : where the atoms ended
    """

    version: str
    md5: frozenset[str]
    energy_ry: float
    effort: Effort
    magnetization: tuple[float, float] | None
    crystal: Crystal


def check_ending(text: str, errors: str, crash: str, exit_code: int) -> None:
    """Raise NoResult (LostSymmetry where that is it) if the run did not end well, in pw.x's own words if it has some.

    Parameters
    ----------
    text, errors : what it wrote to stdout and stderr
    crash : the file CRASH; empty if there is none
    exit_code : as `subprocess` gives it; -9 and 137 are signal 9
    """
    if match := _NO_MEMORY.search(errors) or _NO_MEMORY.search(text):
        raise NoResult(FailureKind.OUT_OF_MEMORY, _line_around(match))
    ended_by = signal_name(exit_code)
    if ended_by == "SIGKILL":
        detail = "pw.x was ended by SIGKILL, which is most often the kernel's word for too little memory"
        raise NoResult(FailureKind.OUT_OF_MEMORY, detail)
    if "Maximum CPU time exceeded" in text:
        raise NoResult(FailureKind.TIMEOUT, "pw.x came to its max_seconds: Maximum CPU time exceeded")
    if match := re.search(r"convergence NOT achieved.*", text):
        raise NoResult(FailureKind.UNCONVERGED, f"the electrons did not converge: {match[0].strip()}")
    if match := _ERROR.search(text) or _ERROR.search(crash):
        said = " ".join(match[1].split())
        if "checkallsym" in said:
            raise LostSymmetry(FailureKind.CRASHED, said)
        kind = FailureKind.UNCONVERGED if "bands are not converged" in said else FailureKind.CRASHED
        raise NoResult(kind, said)
    if match := re.search(r"The maximum number of steps has been reached|bfgs failed after.*", text):
        raise NoResult(FailureKind.UNCONVERGED, f"the atoms did not come to rest: {match[0].strip()}")
    if ended_by is not None:
        raise NoResult(FailureKind.CRASHED, f"pw.x was ended by {ended_by}")
    if exit_code != 0:
        raise NoResult(FailureKind.CRASHED, f"pw.x ended with status {exit_code}: {_last_words(text, errors)}")
    if "JOB DONE." not in text:
        raise NoResult(FailureKind.UNPARSABLE, "pw.x ended with status 0, but its output breaks off")


def _line_around(match: re.Match[str]) -> str:
    begin, end = match.string.rfind("\n", 0, match.start()) + 1, match.string.find("\n", match.end())
    return match.string[begin : None if end < 0 else end].strip()


def _last_words(text: str, errors: str) -> str:
    """The last line that speaks of an error, else the last that is no noise of MPI's or the Fortran run time's."""
    for part in (errors, text):
        lines = [line.strip() for line in part.splitlines() if re.search(r"[A-Za-z]{3}", line)]
        said = [line for line in lines if not _NOISE.search(line)]
        if said:
            return next((line for line in reversed(said) if "error" in line.lower()), said[-1])
    return "it printed nothing"


def read_output(text: str, moves: Moves, start: Crystal) -> PwOutput:
    """Read the output of a run that ended well.

    Parameters
    ----------
    start : the crystal that the run began with
    moves : what its atoms and cell were free to do

    Raises
    ------
    NoResult
        If a cycle or the relaxation did not converge, or if something is missing or not a finite number.
    """
    version = _VERSION.search(text)
    if version is None:
        raise NoResult(FailureKind.UNPARSABLE, "this is no output of pw.x: it does not say which version wrote it")
    md5 = frozenset(_MD5.findall(text))
    if not md5:
        raise NoResult(FailureKind.UNPARSABLE, "pw.x does not say which pseudopotentials it read (MD5 check sum)")
    if "EXX" in text:
        raise NoResult(FailureKind.UNPARSABLE, "outputs of hybrid functionals (EXX) are not read")
    begins = [match.start() for match in _START.finditer(text)]
    if not begins:
        raise NoResult(FailureKind.UNPARSABLE, "there is no self-consistent cycle in the output")
    cycles = [
        _cycle(text[:begin], text[begin:end]) for begin, end in zip(begins, [*begins[1:], len(text)], strict=True)
    ]
    n_steps, crystal = (0, start) if moves == "none" else _relaxation(text, moves, start)
    return PwOutput(
        version=version[1],
        md5=md5,
        energy_ry=cycles[-1][0],
        effort=Effort(len(cycles), sum(n for _, n in cycles), n_steps),
        magnetization=_magnetization(text[begins[-1] :]),
        crystal=crystal,
    )


def _cycle(before: str, text: str) -> tuple[float, int]:
    """Energy (Ry) and iterations of one self-consistent cycle; `before` is what was printed before it."""
    thresholds = _THRESHOLD.findall(before)
    energies = _ENERGY.findall(text)
    achieved = _ACHIEVED.search(text)
    if not thresholds or len(energies) != 1 or achieved is None:
        raise NoResult(FailureKind.UNPARSABLE, "a self-consistent cycle has no single energy that it converged to")
    energy = _number("the total energy", energies[0][0])
    accuracy = _number("the estimated scf accuracy", energies[0][1])
    threshold = _number("the scf convergence threshold", thresholds[-1])
    factor, rounding = _ROUNDED
    if accuracy > factor * threshold + rounding:
        detail = f"the electrons did not converge: accuracy {accuracy:g} Ry, wanted {threshold:g} Ry"
        raise NoResult(FailureKind.UNCONVERGED, f"{detail}, after {achieved[1]} iterations")
    return energy, int(achieved[1])


def _relaxation(text: str, moves: Moves, start: Crystal) -> tuple[int, Crystal]:
    """Steps of a relaxation that converged, and where it ended; of a cell, with a last cycle in the new cell."""
    converged = _RELAXED.search(text)
    if converged is None or "End of BFGS Geometry Optimization" not in text:
        raise NoResult(FailureKind.UNCONVERGED, "the atoms did not come to rest: no word of convergence")
    final = _FINAL.search(text, converged.end())
    if final is None:
        raise NoResult(FailureKind.UNPARSABLE, "a converged relaxation printed no final coordinates")
    if moves == "cell" and _START.search(text, final.end()) is None:
        raise NoResult(FailureKind.UNCONVERGED, "there is no self-consistent cycle in the relaxed cell")
    return int(converged[1]), _crystal(final[1], moves, start)


def effort_of(text: str) -> Effort:
    """How much a run did that did not come to its end."""
    iterations = [int(n) for n in _ACHIEVED.findall(text)]
    return Effort(len(iterations), sum(iterations), len(re.findall(r"number of bfgs steps", text)))


def crystal_so_far(text: str, moves: Moves, start: Crystal) -> Crystal:
    """Where a relaxation was when it ended; `start` if it never moved.

    Raises
    ------
    NoResult
        If that cannot be read.
    """
    last = text.rfind("CELL_PARAMETERS" if moves == "cell" else "ATOMIC_POSITIONS")
    return start if last < 0 else _crystal(text[last:], moves, start)


def _crystal(text: str, moves: Moves, start: Crystal) -> Crystal:
    """The first crystal in the text, as a relaxation prints it."""
    lattice = start.lattice
    if moves == "cell":
        rows = _rows(_CELL.search(text), "cell")
        lattice = (_vector(rows[0]), _vector(rows[1]), _vector(rows[2]))
    sites = _rows(_SITES.search(text), "positions")
    if [site[0] for site in sites] != list(start.species):
        raise NoResult(FailureKind.UNPARSABLE, "the final positions are not of the atoms that were given")
    return Crystal(lattice, start.species, tuple(_vector(site[1:]) for site in sites))


def _rows(match: re.Match[str] | None, what: str) -> Sequence[Sequence[str]]:
    if match is None:
        raise NoResult(FailureKind.UNPARSABLE, f"the final {what} cannot be read")
    return [line.split() for line in match[1].splitlines()]


def _vector(words: Sequence[str]) -> tuple[float, float, float]:
    if len(words) < 3:
        raise NoResult(FailureKind.UNPARSABLE, one_line(f"a final vector reads {' '.join(words)!r}"))
    # Fixed atoms have three more numbers, which say what may move.
    x, y, z = (_number("a final coordinate", word) for word in words[:3])
    return x, y, z


def _magnetization(text: str) -> tuple[float, float] | None:
    """The last total and absolute magnetization; None if there is none."""
    found = dict(_MAGNETIZATION.findall(text))
    if not found:
        return None
    if len(found) != 2:
        raise NoResult(FailureKind.UNPARSABLE, "a magnetization is missing")
    return _number("the total magnetization", found["total"]), _number("the absolute one", found["absolute"])


def _number(what: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise NoResult(FailureKind.UNPARSABLE, one_line(f"{what} reads {text!r}")) from error
    if not math.isfinite(value):
        raise NoResult(FailureKind.UNPARSABLE, f"{what} is {value}")
    return value
