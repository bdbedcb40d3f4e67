"""What pw.x printed becomes a result only if it is one."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.units import Ry
from hypothesis import given
from hypothesis import strategies as st

from active_learning.domain.candidate import Crystal
from active_learning.domain.label import FailureKind
from active_learning.labelers.crystal_jobs import NoResult
from active_learning.labelers.espresso_output import PwOutput, check_ending, read_output

DATA = Path(__file__).parents[1] / "data" / "espresso"
CASES = json.loads((DATA / "cases.json").read_text())
GOOD = ("insulator", "metal", "magnet", "positions", "cell")


def printed(case: str, ending: str = "pwo") -> str:
    path = DATA / f"{case}.{ending}"
    return path.read_text() if path.exists() else ""


def read(case: str, text: str | None = None, *, exit_code: int | None = None, crash: str = "") -> PwOutput:
    about = CASES[case]
    text = printed(case) if text is None else text
    check_ending(text, printed(case, "err"), crash, about["exit_code"] if exit_code is None else exit_code)
    return read_output(text, about["relax"], Crystal.from_json(about["crystal"]))


def failure(case: str, text: str | None = None, **more: object) -> NoResult:
    with pytest.raises(NoResult, match=r"\w") as caught:
        read(case, text, **more)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("case", GOOD)
def test_energy_and_final_crystal_are_those_that_ases_reader_finds(case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = ase.io.read(DATA / f"{case}.pwo", format="espresso-out")
    found = read(case)
    # ASE reads with the Rydberg of CODATA 2006.
    assert found.energy_ry * Ry == pytest.approx(reference.get_potential_energy(), rel=2e-7)
    assert np.allclose(found.crystal.lattice, reference.cell.array, atol=1e-4)
    difference = np.array(found.crystal.frac_coords) - reference.get_scaled_positions(wrap=False)
    assert np.abs(difference - np.round(difference)).max() < 1e-6
    assert list(found.crystal.species) == reference.get_chemical_symbols()
    assert found.version == "6.7MaX"
    assert len(found.md5) == 1


@pytest.mark.parametrize("case", GOOD)
def test_cycles_and_iterations_are_counted(case: str) -> None:
    text, found = printed(case), read(case)
    assert found.effort.n_scf == len(re.findall(r"^!", text, re.MULTILINE))
    assert found.effort.n_iterations == len(re.findall(r"iteration # ", text))


def test_a_relaxed_cell_ends_with_the_energy_of_a_cycle_in_the_new_cell() -> None:
    found = read("cell")
    energies = re.findall(r"^! .*= +(\S+) Ry", printed("cell"), re.MULTILINE)
    assert found.energy_ry == float(energies[-1]) != float(energies[-2])
    volumes = re.findall(r"new unit-cell volume.*\( *(\S+) Ang\^3", printed("cell"))
    assert abs(np.linalg.det(found.crystal.lattice)) == pytest.approx(float(volumes[-1]), abs=1e-4)
    assert found.effort.n_steps == 3


def test_a_magnetization_is_read_where_there_is_one() -> None:
    found = read("magnet").magnetization
    assert found is not None
    last = re.findall(r"(?:total|absolute) magnetization +=\s+(\S+)", printed("magnet"))[-2:]
    assert found == (float(last[0]), float(last[1]))
    assert found[0] > 0.1
    assert read("metal").magnetization is None


@pytest.mark.parametrize(
    ("case", "kind", "detail"),
    [
        ("unconverged", FailureKind.UNCONVERGED, r"the electrons did not converge: convergence NOT achieved after   2"),
        ("steps_ran_out", FailureKind.UNCONVERGED, r"the atoms did not come to rest: The maximum number of steps has"),
        ("steps_of_cell_ran_out", FailureKind.UNCONVERGED, r"the atoms did not come to rest: The maximum number"),
        (
            "charge_is_wrong",
            FailureKind.CRASHED,
            r"Error in routine electrons \(1\): charge is wrong: smearing is",
        ),
        ("bad_variable", FailureKind.CRASHED, r"Error in routine read_namelists \(1\): bad line in namelist &system"),
        ("no_pseudopotential", FailureKind.CRASHED, r"Error in routine readpp \(1\): file \S*pseudo/Ge.UPF not found"),
        ("time_ran_out", FailureKind.TIMEOUT, r"pw.x came to its max_seconds"),
        ("memory_ran_out", FailureKind.OUT_OF_MEMORY, r"Error allocating 1078347240 bytes: Cannot allocate memory"),
    ],
)
def test_a_run_that_failed_is_told_as_what_it_is(case: str, kind: FailureKind, detail: str) -> None:
    found = failure(case)
    assert found.kind is kind
    assert re.search(detail, found.detail), found.detail


def test_steps_that_ran_out_are_not_convergence_though_pw_x_says_so() -> None:
    text = printed("unconverged_with_status_0")
    assert "convergence has been achieved" in text
    assert "JOB DONE." in text
    assert CASES["unconverged_with_status_0"]["exit_code"] == 0
    found = failure("unconverged_with_status_0")
    assert found.kind is FailureKind.UNCONVERGED
    assert "accuracy 0.0045621 Ry, wanted 1e-06 Ry, after 2 iterations" in found.detail


@pytest.mark.parametrize("cycle", [0, 1, -2, -1])
def test_each_cycle_of_a_relaxation_must_converge(cycle: int) -> None:
    text = printed("cell")
    accuracies = list(re.finditer(r"(?m)^!.*\n.*accuracy +< +(\S+)", text))
    begin, end = accuracies[cycle].span(1)
    found = failure("cell", text[:begin] + "0.00012345" + text[end:])
    assert found.kind is FailureKind.UNCONVERGED


@pytest.mark.parametrize(
    ("status", "kind", "detail"),
    [
        (-9, FailureKind.OUT_OF_MEMORY, "ended by SIGKILL, .* too little memory"),
        (137, FailureKind.OUT_OF_MEMORY, "ended by SIGKILL, .* too little memory"),
        (-15, FailureKind.CRASHED, "ended by SIGTERM"),
        (143, FailureKind.CRASHED, "ended by SIGTERM"),
        (-11, FailureKind.CRASHED, "ended by SIGSEGV"),
        (255, FailureKind.CRASHED, "ended with status 255: "),
        (1, FailureKind.CRASHED, "ended with status 1: "),
    ],
)
def test_a_run_that_was_ended_is_no_result_however_far_it_came(status: int, kind: FailureKind, detail: str) -> None:
    for text in (printed("insulator"), printed("insulator")[:2000]):
        found = failure("insulator", text, exit_code=status)
        assert found.kind is kind
        assert re.search(detail, found.detail)


@pytest.mark.parametrize(
    "words",
    [
        "mpirun noticed that process rank 0 with PID 0 on node vm exited on signal 9 (Killed).",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.batch.",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_memory_that_ran_out_is_known_by_what_others_say(words: str) -> None:
    with pytest.raises(NoResult, match=re.escape(words)) as caught:
        check_ending("", f"-----\n{words}\n-----\n", "", 1)
    assert caught.value.kind is FailureKind.OUT_OF_MEMORY


def test_the_file_crash_speaks_where_the_output_is_lost() -> None:
    crash = f" {'%' * 78}\n     task #         3\n     from c_bands : error #         1\n     oops\n {'%' * 78}\n"
    found = failure("insulator", "", exit_code=1, crash=crash)
    assert found.detail == "task # 3 from c_bands : error # 1 oops"
    assert found.kind is FailureKind.CRASHED


def test_bands_that_do_not_converge_are_no_crash() -> None:
    block = f" {'%' * 78}\n     Error in routine c_bands (1):\n     too many bands are not converged\n {'%' * 78}\n"
    assert failure("insulator", block, exit_code=1).kind is FailureKind.UNCONVERGED


def test_a_crash_without_a_word_shows_the_last_that_is_no_noise() -> None:
    noise = "[host:1] [[2,0],0] ORTE_ERROR_LOG: Data unpack\nSTOP 1\n-----\n"
    with pytest.raises(NoResult, match="ended with status 1: Illegal instruction in line 7"):
        check_ending("", f"Illegal instruction in line 7\n{noise}", "", 1)
    trace = "Fortran runtime error: end of file\n\nError termination. Backtrace:\n#0  0x7fae1d4218c2 in ???\n"
    with pytest.raises(NoResult, match="ended with status 2: Fortran runtime error: end of file"):
        check_ending("", trace + noise, "", 2)
    with pytest.raises(NoResult, match="ended with status 1: it printed nothing"):
        check_ending("", noise, "", 1)


@pytest.mark.parametrize(
    ("case", "pattern", "replacement", "detail"),
    [
        ("insulator", r"(?m)^(! .*=) +\S+", r"\1 ****************", r"the total energy reads '\*+'"),
        ("insulator", r"(?m)^(! .*=) +\S+", r"\1 NaN", "the total energy is nan"),
        ("insulator", r"(?m)^(! .*=) +\S+", r"\1 -Infinity", "the total energy is -inf"),
        ("insulator", r"(?m)^(!.*\n.*<) +\S+", r"\1 *****", "the estimated scf accuracy reads"),
        ("insulator", r"(?m)^(!.*\n.*<) +\S+", r"\1 NaN", "the estimated scf accuracy is nan"),
        ("insulator", r"(?m)^! .*\n", "", "no single energy"),
        ("insulator", r"convergence has been achieved", "", "no single energy"),
        ("insulator", r"(?m)^.*scf convergence threshold.*\n", "", "no single energy"),
        ("insulator", r"Program PWSCF", "Program CP", "no output of pw.x"),
        ("insulator", r"Self-consistent Calculation", "", "no self-consistent cycle"),
        ("insulator", r"MD5 check sum", "", "which pseudopotentials"),
        ("insulator", r"Exchange-correlation=", "EXX-fraction =", "hybrid"),
        ("magnet", r"(total magnetization +=) +\S+", r"\1 *****", "the total magnetization reads"),
        ("magnet", r"absolute magnetization", "", "a magnetization is missing"),
        ("positions", r"bfgs converged in", "", "no word of convergence"),
        ("positions", r"End of BFGS", "", "no word of convergence"),
        ("positions", r"End final coordinates", "", "no final coordinates"),
        ("positions", r"ATOMIC_POSITIONS \(crystal\)", "ATOMIC_POSITIONS (bohr)", "the final positions cannot be read"),
        ("positions", r"(?m)^Si +0.2417\S+", "Si ******", r"a final coordinate reads '\*+'"),
        ("positions", r"(?m)^Si( +0.2417\S+)", r"Ge\1", "not of the atoms that were given"),
        ("positions", r"(?m)^(Si +0.2417\S+) .*$", r"\1", "a final vector reads '0.2417"),
        ("cell", r"CELL_PARAMETERS \(angstrom\)", "CELL_PARAMETERS (alat= 7.0)", "the final cell cannot be read"),
    ],
)
def test_what_is_missing_or_no_number_is_unparsable(case: str, pattern: str, replacement: str, detail: str) -> None:
    text, n_changed = re.subn(pattern, replacement, printed(case))
    assert n_changed
    found = failure(case, text)
    assert found.kind in (FailureKind.UNPARSABLE, FailureKind.UNCONVERGED)
    assert re.search(detail, found.detail), found.detail


def test_a_relaxed_cell_without_its_last_cycle_is_no_result() -> None:
    text = printed("cell")
    at = text.rindex("Self-consistent Calculation")
    found = failure("cell", text[:at] + text[text.index("JOB DONE.") :])
    assert (found.kind, found.detail) == (
        FailureKind.UNCONVERGED, "there is no self-consistent cycle in the relaxed cell"
    )  # fmt: skip


@given(case=st.sampled_from(GOOD), part=st.floats(0, 1, exclude_max=True))
def test_an_output_that_breaks_off_anywhere_is_no_result(case: str, part: float) -> None:
    text = printed(case)
    cut = text[: int(part * text.index("JOB DONE."))]
    found = failure(case, cut)
    assert found.detail.strip()


@given(text=st.text(), status=st.integers(-40, 300))
def test_rubbish_is_never_a_result_and_never_raises_anything_else(text: str, status: int) -> None:
    failure("cell", text + "JOB DONE.", exit_code=status)
