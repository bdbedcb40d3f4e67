"""One run of pw.x: its input, the program itself, and what it left.

Input and output stay in the job's directory. Wavefunctions and links to the pseudopotentials are in a folder that is
deleted at the end. No text of a candidate, and no path of the user's, comes into an input or a command line.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ase.io.espresso import write_espresso_in

from active_learning.crystals.ase import to_atoms
from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.errors import ContractError
from active_learning.labelers.crystal_jobs import NoResult
from active_learning.labelers.espresso_bands import Electrons, read_electrons
from active_learning.labelers.espresso_output import (
    Effort,
    LostSymmetry,
    Moves,
    PwOutput,
    check_ending,
    crystal_so_far,
    effort_of,
    read_output,
)
from active_learning.labelers.namelists import for_species, merged
from active_learning.labelers.symmetrizing import symmetrized

__all__ = ["PwRun", "Setup", "input_text", "run_pw", "scratch"]

_SCRATCH = Path("scratch")
_PREFIX = "pwscf"
_CALCULATIONS: Mapping[Moves, str] = {"none": "scf", "positions": "relax", "cell": "vc-relax"}
_DIGITS = 1e-3
"""Angstrom; sites of a crystal that is to relax are put where its symmetry has them if they are no farther away. Files
with five digits would lose their symmetry in the first steps."""
_DRIFT = 0.05
"""Angstrom; the same for a relaxation that lost its symmetry."""
_MOST_RESTARTS = 4
_FILES_MODE = 0o600
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True)
class Setup:
    """What is the same in all runs of a job.

    Parameters
    ----------
    command : argument list, `{cores}` in it already replaced
    namelists : those of the labeler's options and the user's
    kpoints : divisions of the mesh, which holds Gamma
    starting_magnetization : element -> part of its valence electrons; None without spin
    """

    command: Sequence[str]
    namelists: Mapping[str, Mapping[str, Any]]
    kpoints: tuple[int, int, int]
    starting_magnetization: Mapping[str, float] | None


@dataclass(frozen=True)
class PwRun:
    """A run that succeeded.

    Parameters
    ----------
    electrons : only if they were asked for
    n_restarts : how often the relaxation lost its symmetry and went on
    effort : of all its parts
    """

    output: PwOutput
    electrons: Electrons | None
    n_restarts: int
    effort: Effort


@contextlib.contextmanager
def scratch(folder: Path, files: Mapping[str, str]) -> Iterator[None]:
    """The folder for wavefunctions, with links to the pseudopotentials (element -> file); deleted in any case."""
    links = _SCRATCH / "pseudo"
    _SCRATCH.mkdir(mode=_DIRECTORY_MODE)
    try:
        links.mkdir(mode=_DIRECTORY_MODE)
        for element, file in files.items():
            (links / f"{element}.UPF").symlink_to((folder / file).absolute())
        yield
    finally:
        # What cannot be deleted must not cost a result that is there.
        shutil.rmtree(_SCRATCH, ignore_errors=True)


def input_text(crystal: Crystal, setup: Setup, moves: Moves) -> str:
    """The input file of a run."""
    atoms = to_atoms(crystal)
    start = setup.starting_magnetization
    if start is not None:
        atoms.set_initial_magnetic_moments([start[symbol] for symbol in crystal.species])
    species = list(dict.fromkeys(crystal.species))
    control = {
        "calculation": _CALCULATIONS[moves],
        "prefix": _PREFIX,
        "outdir": str(_SCRATCH / "out"),
        "pseudo_dir": str(_SCRATCH / "pseudo"),
    }
    stream = io.StringIO()
    write_espresso_in(
        stream,
        atoms,
        input_data=for_species(merged(setup.namelists, {"control": control}), species),
        pseudopotentials={symbol: f"{symbol}.UPF" for symbol in species},
        kpts=tuple(setup.kpoints),
        crystal_coordinates=True,
    )
    return stream.getvalue()


def run_pw(name: str, crystal: Crystal, setup: Setup, moves: Moves, *, with_electrons: bool = False) -> PwRun:
    """Run pw.x on a crystal, in the folder of `scratch`; files are called `name`.pwi, .pwo and .err.

    Where a relaxation loses the symmetry that it began with, it goes on from where it was, made symmetric again, with
    the steps that are left (`name`-2.pwi, ...).

    Raises
    ------
    NoResult
        If the run does not end well, or its output is not that of a calculation that converged.
    """
    if moves == "none":
        return _run_once(name, crystal, setup, moves, with_electrons)
    start, effort, left = _symmetric(crystal, _DIGITS, moves), Effort(), setup
    for n_restarts in range(_MOST_RESTARTS + 1):
        part = f"{name}-{n_restarts + 1}" if n_restarts else name
        try:
            done = _run_once(part, start, left, moves, with_electrons)
        except LostSymmetry as lost:
            text = Path(f"{part}.pwo").read_text(errors="replace")
            effort += effort_of(text)
            n_left = setup.namelists["control"]["nstep"] - effort.n_steps
            if n_restarts == _MOST_RESTARTS or n_left < 1:
                told = f"the atoms did not come to rest in {effort.n_steps} steps, and lost their symmetry"
                raise NoResult(FailureKind.UNCONVERGED, f"{told}: {lost.detail}") from lost
            start = _symmetric(crystal_so_far(text, moves, start), _DRIFT, moves)
            left = replace(setup, namelists=merged(setup.namelists, {"control": {"nstep": n_left}}))
        else:
            return replace(done, n_restarts=n_restarts, effort=effort + done.effort)
    raise AssertionError("the last turn of the loop returns or raises")


def _symmetric(crystal: Crystal, symprec: float, moves: Moves) -> Crystal:
    """The crystal made symmetric, as far as it may move."""
    try:
        found = symmetrized(crystal, symprec)
    except ContractError:
        # Without any symmetry there is none to lose; what is wrong with such a crystal pw.x says better.
        return crystal
    return found if moves == "cell" else replace(crystal, frac_coords=found.frac_coords)


def _run_once(name: str, crystal: Crystal, setup: Setup, moves: Moves, with_electrons: bool) -> PwRun:
    source, target, errors = (Path(f"{name}.{ending}") for ending in ("pwi", "pwo", "err"))
    with _private(source) as file:
        file.write(input_text(crystal, setup, moves).encode("ascii"))
    saved, crash = _SCRATCH / "out", Path("CRASH")
    try:
        exit_code = _execute([*setup.command, "-in", str(source)], target, errors)
        text = target.read_text(errors="replace")
        said = crash.read_text(errors="replace") if crash.exists() else ""
        check_ending(text, errors.read_text(errors="replace"), said, exit_code)
        output = read_output(text, moves, crystal)
        electrons = read_electrons(saved / f"{_PREFIX}.xml", output.energy_ry) if with_electrons else None
        return PwRun(output, electrons, 0, output.effort)
    finally:
        # Of another run's wavefunctions and last words there must be nothing left.
        shutil.rmtree(saved, ignore_errors=True)
        crash.unlink(missing_ok=True)


def _private(path: Path) -> IO[bytes]:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILES_MODE)
    return os.fdopen(handle, "wb")


def _execute(command: Sequence[str], output: Path, errors: Path) -> int:
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # Without this, gfortran's programs lose their last words when MPI ends them: those that say what was wrong.
    unbuffered = {"GFORTRAN_UNBUFFERED_PRECONNECTED": "1"}
    try:
        with _private(output) as out, _private(errors) as err:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | one_thread | unbuffered,
                umask=0o077,
                check=False,
            )
    except OSError as error:
        raise NoResult(FailureKind.CRASHED, f"{command[0]} cannot be run: {error.strerror}") from error
    return ended.returncode
