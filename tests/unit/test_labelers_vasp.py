"""The labeler `vasp`: its inputs, and outputs of real runs (tests/data/README.md says whose)."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import xml.etree.ElementTree as ElementTree
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from pymatgen.io.vasp.outputs import Outcar

from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.domain.protocols import References, SaysProtocol
from active_learning.errors import ContractError, UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute
from active_learning.labelers.crystal_jobs import NoResult
from active_learning.labelers.vasp import Vasp
from active_learning.labelers.vasp_output import band_gap, last_moment, own_words, ran_out_of_memory

DATA = Path(__file__).parents[1] / "data" / "vasp"
STAND_IN = Path(__file__).parents[1] / "helpers" / "stand_in_vasp.py"

FCC = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
TI = Candidate.of(
    Crystal(
        ((2.9, 0, 0), (-1.45, 2.511474, 0), (0, 0, 4.6)), ("Ti", "Ti"), ((1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75))
    )
)
CU = Candidate.of(Crystal(((3.6, 0, 0), (0, 3.6, 0), (0, 0, 3.6)), ("Cu",) * 4, FCC))
NA_CL = Candidate.of(
    Crystal(
        ((5.6, 0, 0), (0, 5.6, 0), (0, 0, 5.6)),
        ("Na",) * 4 + ("Cl",) * 4,
        FCC + tuple((x + 0.5, y, z) for x, y, z in FCC),
    )
)
FE_O = Candidate.of(Crystal(((0, 2.2, 2.2), (2.2, 0, 2.2), (2.2, 2.2, 0)), ("Fe", "O"), ((0, 0, 0), (0.5, 0.5, 0.5))))

BOX = """ running on    4 total cores
 -----------------------------------------------------------------------------
|                                                                             |
|     EEEEEEE  RRRRRR   RRRRRR   OOOOOOO  RRRRRR      ###     ###     ###     |
|     E        R     R  R     R  O     O  R     R     ###     ###     ###     |
|     E        R     R  R     R  O     O  R     R     ###     ###     ###     |
|     EEEEE    RRRRRR   RRRRRR   O     O  RRRRRR       #       #       #      |
|     E        R   R    R   R    O     O  R   R                               |
|     E        R    R   R    R   O     O  R    R      ###     ###     ###     |
|     EEEEEEE  R     R  R     R  OOOOOOO  R     R     ###     ###     ###     |
|                                                                             |
|     ERROR FEXCF: supplied exchange-correlation table                        |
|      is too small, maximal index : 7355                                     |
|                                                                             |
|       ---->  I REFUSE TO CONTINUE WITH THIS SICK JOB ... BYE!!! <----       |
|                                                                             |
 -----------------------------------------------------------------------------
"""


def xml_of(name: str) -> str:
    return lzma.decompress((DATA / f"{name}.xml.xz").read_bytes()).decode()


def potcar(symbol: str, element: str | None = None) -> str:
    """The head of a pseudopotential, and none of what is licensed."""
    element = element or symbol.split("_")[0]
    return (
        f" PAW_PBE {symbol} 01Jan2000\n   1.0\n parameters from PSCTR are:\n   VRHFIN ={element}: s2p1\n"
        f"   TITEL  = PAW_PBE {symbol} 01Jan2000\n   LULTRA =        F\n    End of Dataset\n"
    )


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Pseudopotentials in both layouts that pymatgen knows."""
    folder = tmp_path / "potentials"
    packed, plain = folder / "POT_GGA_PAW_PBE", folder / "POT_GGA_PAW_PBE" / "Cl"
    plain.mkdir(parents=True)
    (plain / "POTCAR").write_text(potcar("Cl"))
    for symbol in ("Ti_pv", "Cu_pv", "Na_pv", "Fe_pv", "O"):
        (packed / f"POTCAR.{symbol}.gz").write_bytes(gzip.compress(potcar(symbol).encode()))
    return folder


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What the stand-in leaves."""
    folder = tmp_path / "left"
    folder.mkdir()
    return folder


def vasp(library: Path, left: Path | None = None, **rest: Any) -> Vasp:
    changes: dict[str, Any] = {"input_set": "MPStaticSet", "potcar_dir": str(library)} | rest
    if left is not None:
        changes["command"] = ["{python}", str(STAND_IN), str(left)]
    return Vasp(Vasp.Options.model_validate(changes))


def label(labeler: Vasp, candidate: Candidate, folder: Path) -> Measurement | Failure:
    directory = JobDirectory(folder / "jobs" / f"{candidate.id}-1")
    directory.prepare(labeler.prepare(candidate), "job", Resources(60.0, cores=2))
    execute(directory.path)
    return labeler.parse(directory.path)


def failed(labeler: Vasp, candidate: Candidate, folder: Path) -> tuple[str, str]:
    found = label(labeler, candidate, folder)
    assert isinstance(found, Failure), found
    return found.kind.value, found.detail


def in_the_file(text: str) -> tuple[float, float]:
    """Energy and volume of the last step, read from the XML itself."""
    root = ElementTree.fromstring(text)
    last = root.findall("calculation")[-1]
    energy = last.findall("scstep")[-1].findall("energy/i[@name='e_0_energy']")[-1].text
    volume = root.findall("structure[@name='finalpos']/crystal/i[@name='volume']")[-1].text
    return float(energy or "nan"), float(volume or "nan")


@pytest.mark.parametrize(
    ("name", "candidate", "gap"), [("nacl-static", NA_CL, 5.5603), ("cu-relaxed", CU, 0.0), ("ti-spin", TI, 0.0)]
)
def test_a_run_that_converged_gives_the_numbers_of_its_file(
    name: str, candidate: Candidate, gap: float, library: Path, left: Path, tmp_path: Path
) -> None:
    (left / "vasprun.xml").write_text(xml_of(name))
    (left / "OUTCAR").write_text(" number of electron      24.0000000 magnetization      -0.5000000\n")
    found = label(vasp(library, left), candidate, tmp_path)
    assert isinstance(found, Measurement), found
    energy, volume = in_the_file(xml_of(name))
    n_atoms = sum(candidate.amounts.values())
    assert found.values["energy_per_atom"] == (pytest.approx(energy / n_atoms, abs=1e-8), "eV/atom")
    assert found.values["volume_per_atom"] == (pytest.approx(volume / n_atoms, abs=1e-2), "Angstrom^3/atom")
    assert found.values["band_gap"] == (pytest.approx(gap, abs=1e-4), "eV")
    if name == "ti-spin":
        assert found.values["magnetic_moment_per_atom"] == (0.25, "mu_B/atom")
    else:
        assert "magnetic_moment_per_atom" not in found.values
    assert found.fidelity == "vasp-MPStaticSet"
    told = found.provenance
    assert (told["code"], told["input_set"]) == ("vasp", "MPStaticSet")
    assert told["version"][:5] in ("5.4.4", "6.6.0")
    assert told["incar"]["LWAVE"] is False
    assert told["n_electronic_steps"] == xml_of(name).count("<scstep>")
    json.dumps(dict(told), allow_nan=False)


def test_a_version_that_was_said_is_held_to_and_is_needed_to_share_labels(
    library: Path, left: Path, tmp_path: Path
) -> None:
    (left / "vasprun.xml").write_text(xml_of("nacl-static"))
    xml_version = xml_of("nacl-static").split('name="version" type="string">')[1][:5].strip()
    assert isinstance(label(vasp(library, left, version=xml_version), NA_CL, tmp_path / "same"), Measurement)
    found = label(vasp(library, left, version="4.6"), NA_CL, tmp_path / "other")
    assert isinstance(found, Failure)
    assert found.kind is FailureKind.REJECTED
    assert "asked for was 4.6" in found.detail
    assert vasp(library, version="6.4.2").protocol()["version"] == "6.4.2"
    with pytest.raises(UserError, match=r"say which by `version` in \[labeler\] \(vasp\)"):
        vasp(library).protocol()


def test_a_formation_energy_is_that_above_the_elements(library: Path, left: Path, tmp_path: Path) -> None:
    (left / "vasprun.xml").write_text(xml_of("nacl-static"))
    labeler = vasp(library, left, references={"Cl": -1.8, "Na": -1.3}).for_property("formation_energy_per_atom")
    found = label(labeler, NA_CL, tmp_path)
    assert isinstance(found, Measurement), found
    energy = found.values["energy_per_atom"][0]
    assert found.values["formation_energy_per_atom"][0] == pytest.approx(energy - (-1.8 - 1.3) / 2)


def test_elements_are_measured_first_by_the_same_settings(library: Path, tmp_path: Path) -> None:
    labeler = vasp(library).for_property("formation_energy_per_atom")
    assert isinstance(labeler, References)
    crystals = labeler.references(["Cu", "Ti"])
    assert {element: crystal.elements for element, crystal in crystals.items()} == {"Cu": ("Cu",), "Ti": ("Ti",)}
    with pytest.raises(ContractError, match="needs the elements' energies first: Cu"):
        labeler.prepare(CU)
    energy = Measurement({"energy_per_atom": (-3.7, "eV/atom")}, labeler.fidelity)
    assert labeler.with_references({"Cu": energy}).prepare(CU).inputs["references"] == {"Cu": -3.7}
    other = Measurement({"energy_per_atom": (-3.7, "eV/atom")}, "vasp-MPRelaxSet")
    with pytest.raises(ContractError, match="is 'vasp-MPRelaxSet', not 'vasp-MPStaticSet'"):
        labeler.with_references({"Cu": other})
    assert vasp(library).references(["Cu"]) == {}


def test_energies_with_a_hubbard_u_are_not_compared_with_elements_without(library: Path) -> None:
    references = {"Fe": -8.3, "O": -4.9}
    labeler = vasp(library, references=references).for_property("formation_energy_per_atom")
    with pytest.raises(UserError, match=r"gives atoms in FeO a Hubbard U, and none to the elements.*LDAU = false"):
        labeler.prepare(FE_O)
    assert vasp(library).prepare(FE_O).inputs["incar"]["LDAU"] is True
    without = vasp(library, references=references, incar={"LDAU": False})
    without.for_property("formation_energy_per_atom").prepare(FE_O)


def test_a_relaxation_that_used_all_its_steps_is_unconverged(library: Path, left: Path, tmp_path: Path) -> None:
    (left / "vasprun.xml").write_text(xml_of("ti-stopped-at-nsw"))
    told = failed(vasp(library, left), TI, tmp_path)
    assert told == ("unconverged", "the atoms did not come to rest in NSW = 20 steps")


def test_electrons_that_used_all_their_steps_are_unconverged(library: Path, left: Path, tmp_path: Path) -> None:
    text = xml_of("nacl-static")
    n_steps = text.count("<scstep>")
    limited = re.sub(r'(name="NELM">)\s*\d+', rf"\1 {n_steps}", text)
    assert limited != text
    (left / "vasprun.xml").write_text(limited)
    told = failed(vasp(library, left), NA_CL, tmp_path)
    assert told == ("unconverged", f"the electrons did not converge in NELM = {n_steps} steps")


def test_a_run_that_was_told_to_stop_is_unconverged(library: Path, left: Path, tmp_path: Path) -> None:
    (left / "vasprun.xml").write_text(xml_of("cu-relaxed"))
    (left / "OUTCAR").write_text("soft stop encountered!  aborting job ...\n")
    told = failed(vasp(library, left), CU, tmp_path)
    assert told == ("unconverged", "VASP was told to stop (STOPCAR) before it was done")


@pytest.mark.parametrize(
    ("files", "kind", "detail"),
    [
        ({"exit_code": "1", "stdout": BOX}, "crashed", r"^exit code 1: ERROR FEXCF: supplied .* maximal index : 7355$"),
        ({"stdout": BOX}, "crashed", r"^ERROR FEXCF: supplied exchange-correlation table is too small"),
        ({"OUTCAR": " VERY BAD NEWS! internal error in subroutine IBZKPT:\n"}, "crashed", "^VERY BAD NEWS! internal"),
        ({"stdout": "ZBRENT: fatal error in bracketing\n"}, "crashed", "^ZBRENT: fatal error in bracketing"),
        ({"exit_code": "2"}, "crashed", "^exit code 2: not a word$"),
        ({"exit_code": "1", "stderr": "mpirun: not enough slots\n"}, "crashed", "^exit code 1: mpirun: not enough sl"),
        ({"signal": "11"}, "crashed", "^ended by SIGSEGV: not a word"),
        ({"exit_code": "137"}, "crashed", "^ended by SIGKILL: not a word"),
        (
            {"exit_code": "41", "stderr": "forrtl: severe (41): insufficient virtual memory\nImage  PC\n"},
            "out_of_memory",
            r"^exit code 41: forrtl: severe \(41\): insufficient virtual memory$",
        ),
        ({"signal": "9", "stderr": "slurmstepd: error: Detected 1 oom-kill event(s)\n"}, "out_of_memory", "oom-kill"),
        ({"exit_code": "1", "stdout": "Out of memory: Killed process 7\n"}, "out_of_memory", "Out of memory"),
        ({}, "unparsable", "^VASP left no vasprun.xml$"),
        ({"vasprun.xml": ""}, "unparsable", "vasprun.xml cannot be read"),
        ({"vasprun.xml": "<modeling></modeling>"}, "unparsable", "vasprun.xml cannot be read"),
    ],
)
def test_every_way_to_fail_is_told_apart(
    files: dict[str, str], kind: str, detail: str, library: Path, left: Path, tmp_path: Path
) -> None:
    for name, content in files.items():
        (left / name).write_text(content)
    told = failed(vasp(library, left), NA_CL, tmp_path)
    assert told[0] == kind, told
    assert re.search(detail, told[1]), told


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_file_that_was_cut_off_is_unparsable(share: float, library: Path, left: Path, tmp_path: Path) -> None:
    text = xml_of("nacl-static")
    (left / "vasprun.xml").write_text(text[: int(share * len(text))])
    kind, detail = failed(vasp(library, left), NA_CL, tmp_path)
    assert kind == "unparsable"
    assert detail.startswith("vasprun.xml cannot be read: ")


def test_a_file_with_stars_for_an_energy_is_unparsable(library: Path, left: Path, tmp_path: Path) -> None:
    (left / "vasprun.xml").write_text(re.sub(r'(name="e_0_energy">)[^<]*', r"\1 ************ ", xml_of("nacl-static")))
    kind, _ = failed(vasp(library, left), NA_CL, tmp_path)
    assert kind == "unparsable"


def test_the_results_of_another_crystal_are_not_believed(library: Path, left: Path, tmp_path: Path) -> None:
    (left / "vasprun.xml").write_text(xml_of("cu-relaxed"))
    kind, detail = failed(vasp(library, left), TI, tmp_path)
    assert (kind, detail) == ("unparsable", "vasprun.xml is of {'Cu': 4.0}, and not of {'Ti': 2.0}")


def test_a_run_with_spin_that_says_no_moment_is_unparsable(library: Path, left: Path, tmp_path: Path) -> None:
    (left / "vasprun.xml").write_text(xml_of("ti-spin"))
    assert failed(vasp(library, left), TI, tmp_path) == ("unparsable", "the magnetization in OUTCAR is missing")
    (left / "OUTCAR").write_text("number of electron      24.0000000 magnetization      **********\n")
    told = failed(vasp(library, left), TI, tmp_path / "again")
    assert told == ("unparsable", "the magnetization in OUTCAR reads '**********'")


def test_a_program_that_is_not_there_is_a_crash_that_names_it(library: Path, tmp_path: Path) -> None:
    told = failed(vasp(library, command=["no-such-vasp-anywhere", "{cores}"]), CU, tmp_path)
    assert told == ("crashed", "'no-such-vasp-anywhere' cannot be started: No such file or directory")


def test_the_moment_is_that_of_pymatgen_in_a_real_outcar() -> None:
    spec = find_spec("ase.test")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "testdata" / "vasp" / "OUTCAR_example_1"
    if not path.is_file():
        pytest.skip("this installation of ASE comes without its test data")
    assert last_moment(path.read_text()) == Outcar(path).total_mag == 17.0482806
    without_spin = "number of electron     448.0000000 magnetization\naugmentation part 448.0 magnetization\n"
    with pytest.raises(NoResult, match="is missing"):
        last_moment(without_spin)


def test_vasps_words_are_those_in_its_last_box() -> None:
    assert own_words(["", " all is well\n", ""]) is None
    other = BOX.replace("ERROR FEXCF: supplied exchange-correlation table  ", "No INCAR found, STOPPING" + " " * 26)
    assert own_words([BOX + other]) == "No INCAR found, STOPPING is too small, maximal index : 7355"
    assert ran_out_of_memory(["total amount of memory used by VASP MPI-rank0 43178. kBytes"]) is None


def bands(*columns: tuple[float, float]) -> Any:
    """One k-point: (energy, occupation) of each band."""
    return [list(columns)]


def test_a_gap_lies_between_bands_and_not_between_neighboring_points_of_a_mesh() -> None:
    insulator = np.array(bands((-1.0, 1), (3.0, 0)) + bands((-0.5, 1), (2.0, 0)))
    assert band_gap([insulator]) == pytest.approx(2.5)
    crossing = np.array(bands((-1.0, 1), (0.01, 0)) + bands((-0.5, 1), (-0.01, 1)))
    assert band_gap([crossing]) == 0.0
    semimetal = np.array(bands((0.2, 1), (3.0, 0)) + bands((-0.5, 1), (0.1, 0)))
    assert band_gap([semimetal]) == 0.0
    down = np.array(bands((-2.0, 1), (1.0, 0)) + bands((-2.0, 1), (1.5, 0)))
    assert band_gap([insulator, down]) == pytest.approx(1.5)
    smeared = np.array(bands((-1.0, 1.04), (3.0, -0.04)))
    assert band_gap([smeared]) == pytest.approx(4.0)
    assert band_gap([np.array(bands((-1.0, 1), (0.0, 1)))]) is None
    assert band_gap([]) is None


def test_the_inputs_are_those_of_the_input_set(library: Path) -> None:
    spec = vasp(library, incar={"ENCUT": 400}, kpoints={"reciprocal_density": 30}).prepare(NA_CL)
    assert set(spec.files) == {"INCAR", "KPOINTS", "POSCAR", "POTCAR"}
    incar = Incar.from_str(spec.files["INCAR"])
    assert (incar["ENCUT"], incar["NSW"], incar["LWAVE"], incar["LCHARG"]) == (400, 0, False, False)
    structure = Poscar.from_str(spec.files["POSCAR"]).structure
    assert structure.composition.formula == "Na4 Cl4"
    assert structure.volume == pytest.approx(5.6**3)
    assert Kpoints.from_str(spec.files["KPOINTS"]).kpts == [(3, 3, 3)]
    assert [line for line in spec.files["POTCAR"].splitlines() if "TITEL" in line] == [
        "   TITEL  = PAW_PBE Na_pv 01Jan2000",
        "   TITEL  = PAW_PBE Cl 01Jan2000",
    ]
    assert spec.inputs["potcar"]["titles"] == ["PAW_PBE Na_pv 01Jan2000", "PAW_PBE Cl 01Jan2000"]
    assert isinstance(vasp(library), SaysProtocol)


def test_a_pseudopotential_is_found_checked_and_else_asked_for(
    library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = library / "POT_GGA_PAW_PBE"
    with pytest.raises(UserError, match=r"no pseudopotential 'Cu_sv' of PBE in .*looked for .*POTCAR.Cu_sv and .*potc"):
        vasp(library, potcar={"Cu": "Cu_sv"}).prepare(CU)
    (place / "POTCAR.Cu_pv.gz").write_bytes(gzip.compress(potcar("Cu_pv", "Ag").encode()))
    with pytest.raises(UserError, match=r"POTCAR.Cu_pv.gz should be of Cu, and is of Ag"):
        vasp(library).prepare(CU)
    (place / "POTCAR.Cu_pv.gz").write_bytes(b"\x1f\x8b not packed")
    with pytest.raises(UserError, match=r"POTCAR.Cu_pv.gz cannot be read"):
        vasp(library).prepare(CU)
    (place / "POTCAR.Cu_pv.gz").unlink()
    (place / "POTCAR.Cu_pv").write_text("<html>please log in</html>")
    with pytest.raises(UserError, match=r"should be of Cu, and is no POTCAR"):
        vasp(library).prepare(CU)
    monkeypatch.setattr("active_learning.labelers.vasp_inputs.SETTINGS", {})
    with pytest.raises(UserError, match=r"come with your license. Say where they are: `potcar_dir`.*PMG_VASP_PSP_DIR"):
        Vasp(Vasp.Options()).prepare(CU)
    (place / "POTCAR.Cu_pv").write_text(potcar("Cu_pv"))
    monkeypatch.setattr("active_learning.labelers.vasp_inputs.SETTINGS", {"PMG_VASP_PSP_DIR": str(library)})
    assert Vasp(Vasp.Options()).prepare(CU).files["POTCAR"] == potcar("Cu_pv")


def test_xenon_is_called_x_in_its_pseudopotential(library: Path) -> None:
    (library / "POT_GGA_PAW_PBE" / "POTCAR.Xe").write_text(potcar("Xe", "X"))
    xenon = Candidate.of(Crystal(((0, 3.1, 3.1), (3.1, 0, 3.1), (3.1, 3.1, 0)), ("Xe",), ((0, 0, 0),)))
    assert vasp(library).prepare(xenon).inputs["potcar"]["titles"] == ["PAW_PBE Xe 01Jan2000"]


def test_what_cannot_be_labeled_is_refused(library: Path) -> None:
    with pytest.raises(UserError, match="AlCu3 is a bare composition; labeler 'vasp' needs a crystal"):
        vasp(library).prepare(Candidate({"Al": 1, "Cu": 3}))
    with pytest.raises(UserError, match="needs a collinear calculation with spin: ISPIN = 2"):
        vasp(library, incar={"ISPIN": 1}).for_property("magnetic_moment_per_atom").prepare(CU)
    with pytest.raises(UserError, match="given twice"):
        vasp(library, kpoints={"length": 30}, incar={"KSPACING": 0.3})
    with pytest.raises(UserError, match=r"cannot give the property 'band_gaps'\. Did you mean 'band_gap'"):
        vasp(library).for_property("band_gaps")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"input_set": "MPRelaxset"}, "no input set 'MPRelaxset'. Did you mean 'MPRelaxSet'"),
        ({"incar": {"ENCUTT": 500}}, "INCAR has no tag 'ENCUTT', as far as pymatgen knows. Did you mean 'ENCUT'"),
        ({"incar": {"ENCUT": float("nan")}}, "finite numbers"),
        ({"kpoints": {"density": 3}}, "'reciprocal_density'"),
        ({"kpoints": {"length": 3, "grid_density": 3}}, "at most 1 item"),
        ({"kpoints": {"length": -3}}, "greater than 0"),
        ({"potcar": {"Cu": "../../secret"}}, "not the name of a pseudopotential"),
        ({"potcar": {"Xx": "Cu_pv"}}, "not a chemical symbol"),
        ({"potcar_functional": "B3LYP"}, "'PBE_54'"),
        ({"command": ["vasp", "{structure}"]}, "'{structure}' is not a placeholder"),
        ({"command": []}, "it is missing"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes: dict[str, Any], complaint: str, library: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        vasp(library, **changes)
    assert complaint in str(caught.value)


def test_the_command_gets_the_cores_of_the_job_and_nothing_of_the_candidate(
    library: Path, left: Path, tmp_path: Path
) -> None:
    (left / "vasprun.xml").write_text(xml_of("cu-relaxed"))
    hostile = Candidate(CU.amounts, CU.crystal, origin="; touch escaped $(touch escaped)\n../x")
    spec = vasp(library, left).prepare(hostile)
    assert "escaped" not in json.dumps([dict(spec.inputs), dict(spec.files)])
    assert isinstance(label(vasp(library, left), hostile, tmp_path), Measurement)
    assert not list(tmp_path.rglob("escaped"))
    failure = label(
        vasp(library, command=["{python}", "-c", "import sys; sys.exit(sys.argv[1])", "{cores}"]), TI, tmp_path
    )
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.detail) == (FailureKind.CRASHED, "exit code 1: 2")
