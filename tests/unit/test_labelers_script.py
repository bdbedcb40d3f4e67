"""The labeler `script`: any program, its files and its words."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pymatgen.core.structure import Structure

from active_learning.crystals.ase import from_atoms
from active_learning.crystals.pymatgen import from_structure
from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.elements import SYMBOLS
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.domain.protocols import SaysProtocol
from active_learning.errors import UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute
from active_learning.labelers.script import Script
from active_learning.labelers.structure_files import FILE_NAMES, structure_text

LI_F = Crystal(((0, 2.0, 2.0), (2.0, 0, 2.0), (2.0, 2.0, 0)), ("F", "Li"), ((0, 0, 0), (0.5, 0.5, 0.5)))
CANDIDATE = Candidate.of(LI_F, origin="; touch escaped $(touch escaped) `touch escaped`\n../escaped")
HOSTILE = ["; touch escaped", "$(touch escaped)", "`touch escaped`", "&& touch escaped", "a\nb", "'", '"', "x" * 5000]


def script(program: str | None = None, folder: Path | None = None, **rest: Any) -> Script:
    """A labeler whose program is this Python text."""
    changes: dict[str, Any] = {"command": ["{python}", "program.py"], "properties": {"energy": "eV"}}
    if program is not None:
        assert folder is not None
        (folder / "program.py").write_text(program)
        changes["files"] = [str(folder / "program.py")]
    return Script(Script.Options.model_validate(changes | rest))


def label(labeler: Script, folder: Path, candidate: Candidate = CANDIDATE) -> Measurement | Failure:
    directory = JobDirectory(folder / "jobs" / f"{candidate.id}-1")
    directory.prepare(labeler.prepare(candidate), "job", Resources(60.0, cores=3))
    execute(directory.path)
    return labeler.parse(directory.path)


def failed(labeler: Script, folder: Path) -> tuple[FailureKind, str]:
    found = label(labeler, folder)
    assert isinstance(found, Failure), found
    return found.kind, found.detail


def writes(labels: Any) -> str:
    return f"open('labels.json', 'w').write({json.dumps(labels) if not isinstance(labels, str) else labels!r})"


def test_a_program_reads_the_structure_and_gives_numbers_with_their_spread(tmp_path: Path) -> None:
    program = """
import json, os, sys
from ase.io import read
atoms = read(sys.argv[1])
candidate = json.load(open("candidate.json"))
print("working on", candidate["formula"])
labels = {"properties": {"volume": atoms.get_volume(), "energy": -1.5}, "std": {"energy": 0.25},
          "cores": sys.argv[2], "cores_too": os.environ["MOTHERLODE_CORES"], "seen": os.environ["MY_CODE"]}
json.dump(labels, open("labels.json", "w"))
"""
    labeler = script(
        program,
        tmp_path,
        command=["{python}", "program.py", "{structure}", "{cores}"],
        properties={"energy": "eV", "volume": "Angstrom^3"},
        environment={"MY_CODE": "; touch escaped $(touch escaped)"},
        fidelity="mine",
        version="1.2",
    )
    found = label(labeler.for_property("volume"), tmp_path)
    assert isinstance(found, Measurement), found
    assert found.values == {"volume": (pytest.approx(16.0), "Angstrom^3"), "energy": (-1.5, "eV")}
    assert (found.std, found.fidelity) == ({"energy": 0.25}, "mine")
    program_said = {"cores": "3", "cores_too": "3", "seen": "; touch escaped $(touch escaped)"}
    assert found.provenance["program"] == program_said
    assert (found.provenance["code"], found.provenance["version"]) == ("script", "1.2")
    assert list(found.provenance["sha256"]) == ["program.py"]
    stdout = next((tmp_path / "jobs").iterdir()) / "stdout"
    assert stdout.read_text() == "working on FLi\n"


# pymatgen says that it takes 0.3333333333 for one third.
@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF:UserWarning")
@pytest.mark.parametrize("form", FILE_NAMES)
def test_every_format_is_read_back_as_the_same_crystal(form: Any, tmp_path: Path) -> None:
    lattice = ((3.123456789, 0.0, 0.0), (0.1, 3.75123456789, 0.0), (-0.2, 0.3, 4.0))
    crystal = Crystal(lattice, ("Cu", "Au", "Cu"), ((0, 0, 0), (1 / 3, 0.5, 0.25), (0.5, -0.1, 1.2)))
    path = tmp_path / FILE_NAMES[form]
    path.write_text(structure_text(crystal, form))
    if form == "json":
        read = from_structure(Structure.from_dict(json.loads(path.read_text())))
    else:
        read = from_atoms(ase.io.read(path))
        assert form == "extxyz" or from_structure(Structure.from_file(path)).amounts == crystal.amounts

    def distances(some: Crystal) -> Any:
        order = np.argsort(some.species, kind="stable")
        atoms = Atoms(some.species, cell=some.lattice, scaled_positions=some.frac_coords, pbc=True)[order]
        return atoms.get_all_distances(mic=True)

    assert read.amounts == crystal.amounts
    np.testing.assert_allclose(np.linalg.det(read.lattice), np.linalg.det(crystal.lattice), rtol=1e-7)
    np.testing.assert_allclose(distances(read), distances(crystal), atol=1e-7)


def test_the_structure_file_has_the_name_that_the_command_is_given(tmp_path: Path) -> None:
    labeler = script(command=["program", "{structure}"], format="poscar")
    spec = labeler.prepare(CANDIDATE)
    assert set(spec.files) == {"POSCAR", "candidate.json"}
    assert spec.inputs["structure"] == "POSCAR"
    assert Structure.from_str(spec.files["POSCAR"], fmt="poscar").composition.reduced_formula == "LiF"


def test_bare_compositions_need_a_program_that_takes_them(tmp_path: Path) -> None:
    bare = Candidate({"Al": 0.5, "Cu": 1.5})
    with pytest.raises(UserError, match=r'Al0\.5Cu1\.5 is a bare composition.*say format = "none"'):
        script().prepare(bare)
    program = """
import json
amounts = json.load(open("candidate.json"))["amounts"]
json.dump({"properties": {"energy": amounts["Cu"]}}, open("labels.json", "w"))
"""
    found = label(script(program, tmp_path, format="none"), tmp_path, bare)
    assert isinstance(found, Measurement)
    assert found.values == {"energy": (1.5, "eV")}
    with pytest.raises(UserError, match=r'asks for \{structure\}, and format = "none" writes no structure'):
        script(command=["x", "{structure}"], format="none")


@pytest.mark.parametrize(
    ("program", "kind", "detail"),
    [
        ("raise ValueError('no such basis')", "crashed", r"exit code 1: ValueError: no such basis"),
        ("raise SystemExit(7)", "crashed", "exit code 7: nothing in stderr"),
        (f"{writes({'properties': {'energy': 1.0}})}; raise SystemExit(3)", "crashed", "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "crashed", "ended by SIGKILL: nothing in stderr"),
        ("raise MemoryError('12 GB')", "out_of_memory", "MemoryError: 12 GB"),
        ("import sys; sys.exit('ESC \\x1b[31m NUL \\0 end')", "crashed", r"exit code 1: ESC \[31m NUL end"),
        ("pass", "unparsable", "the program left no labels.json"),
        ("import os; os.mkdir('labels.json')", "unparsable", "labels.json cannot be read: Is a directory"),
        (writes("{"), "unparsable", "labels.json cannot be read: Expecting"),
        (writes("[1]"), "unparsable", "labels.json holds no JSON object"),
        (writes({}), "unparsable", "the result holds no energy"),
        (writes({"properties": {"energi": 1.0}}), "unparsable", "the result holds no energy"),
        (writes({"properties": {"energy": 1.0, "mass": 2.0}}), "unparsable", "'mass', which has no unit"),
        (writes('{"properties": {"energy": NaN}}'), "unparsable", "NaN is not a finite number"),
        (writes('{"properties": {"energy": 1.0}, "note": -Infinity}'), "unparsable", "-Infinity is not a finite"),
        (writes('{"properties": {"energy": 1e999}}'), "unparsable", "1e999 is not a finite number"),
        (writes('{"properties": {"energy": 1e101}}'), "unparsable", "larger than any property"),
        ("open('labels.json', 'w').write('{\"x\": ' + '9' * 400 + '}')", "unparsable", "a number of 400 digits"),
        (writes('{"properties": {"energy": true}}'), "unparsable", "energy is True, not a finite number"),
        (writes('{"properties": {"energy": "1.0"}}'), "unparsable", "energy is '1.0', not a finite number"),
        (writes('{"properties": {"energy": 1.0}, "note": "\\ud800"}'), "unparsable", "surrogates not allowed"),
        (writes('{"properties": {"energy": 1.0}, "note": "\\u0000"}'), "unparsable", "a NUL character"),
        ("open('labels.json', 'wb').write(b'{\"x\": \"\\xff\"}')", "unparsable", "invalid start byte"),
        ("open('labels.json', 'w').write('[' * 100000)", "unparsable", "labels.json cannot be read"),
        ("open('labels.json', 'w').write(' ' * 1000001)", "unparsable", "larger than 1,000,000 bytes"),
        (writes({"properties": {"energy": 1.0}, "std": {"energy": -0.1}}), "unparsable", "none can be negative"),
        (writes({"properties": {"energy": 1.0}, "std": {"mass": 0.1}}), "unparsable", "std is {'mass': 0.1}, not"),
        (writes({"properties": {"energy": 1.0}, "std": {"energy": "1"}}), "unparsable", "std: energy is '1', not"),
        (writes({"properties": {"energy": 1.0}, "std": 0.1}), "unparsable", "std is 0.1, not a number for each"),
        (writes({"failure": {"kind": "unconverged", "detail": "100 cycles"}}), "unconverged", "100 cycles"),
        (writes({"failure": {"kind": "node", "detail": "a\nb"}}), "node", "a b"),
        (writes({"failure": {"kind": "tired"}}), "unparsable", "failed in a way that is not known: .*tired"),
        (writes({"failure": ["no"]}), "unparsable", "failed in a way that is not known"),
        (f"{writes({'failure': {'kind': 'timeout', 'detail': '1 h'}})}; raise SystemExit(1)", "timeout", "1 h"),
    ],
)
def test_every_way_to_fail_is_told_apart(program: str, kind: str, detail: str, tmp_path: Path) -> None:
    found = label(script(program, tmp_path), tmp_path)
    assert isinstance(found, Failure), found
    assert found.kind == kind, found
    assert re.search(detail, found.detail), found.detail


def test_a_program_that_is_not_there_is_a_crash_that_names_it(tmp_path: Path) -> None:
    assert failed(script(command=["no-such-program-anywhere"]), tmp_path) == (
        FailureKind.CRASHED,
        "the program 'no-such-program-anywhere' cannot be started: No such file or directory",
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_what_looks_like_a_shells_words_is_only_an_argument(text: str, tmp_path: Path) -> None:
    program = """
import json, sys
json.dump({"properties": {"energy": 1.0}, "arguments": sys.argv[1:]}, open("labels.json", "w"))
"""
    labeler = script(program, tmp_path, command=["{python}", "program.py", text], environment={"HOSTILE": text})
    found = label(labeler, tmp_path)
    assert isinstance(found, Measurement), found
    assert found.provenance["program"] == {"arguments": [text]}
    assert not list(tmp_path.rglob("escaped*"))
    assert not Path("escaped").exists()


def test_a_job_reads_nothing_from_the_terminal_and_keeps_its_files_to_itself(tmp_path: Path) -> None:
    program = """
import json, sys
json.dump({"properties": {"energy": float(len(sys.stdin.read()))}}, open("labels.json", "w"))
"""
    found = label(script(program, tmp_path), tmp_path)
    assert isinstance(found, Measurement)
    assert found.values["energy"][0] == 0.0
    (job,) = (tmp_path / "jobs").iterdir()
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in job.iterdir()}
    assert (modes["labels.json"], modes["structure.cif"], modes["program.py"]) == ("0o600", "0o600", "0o600")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"command": []}, "the first word of a command is the program, and it is missing"),
        ({"command": [" "]}, "the first word of a command is the program"),
        ({"command": ["x", "{structur}"]}, "'{structur}' is not a placeholder. Did you mean '{structure}'"),
        ({"command": ["x", "--in={structure}"]}, "{structure} must be an argument of its own"),
        ({"command": ["x", "a\0b"]}, "no NUL character"),
        ({"properties": {}}, "at least 1 item"),
        ({"properties": {" ": "eV"}}, "a property needs a name"),
        ({"format": "xyz"}, "'cif', 'poscar', '"),
        ({"environment": {"A=B": "c"}}, "cannot stand in a program's environment"),
        ({"environment": {"A": "b\0"}}, "cannot stand in a program's environment"),
        ({"files": ["a/x.py", "b/x.py"]}, "two files have the name 'x.py'"),
        ({"files": ["a b.py"]}, "not a plain file name"),
        ({"files": ["x;touch escaped"]}, "not a plain file name"),
        ({"files": [".."]}, "not a plain file name"),
        ({"files": ["POSCAR"]}, "a job has a file 'POSCAR' of its own"),
        ({"fidelity": ""}, "at least 1 character"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        script(**changes)
    assert complaint in str(caught.value)


def test_no_file_of_the_user_takes_the_place_of_one_of_the_jobs(tmp_path: Path) -> None:
    found = label(script(writes({"properties": {"energy": 1.0}}), tmp_path), tmp_path)
    assert isinstance(found, Measurement)
    (job,) = (tmp_path / "jobs").iterdir()
    names = {file.name for file in job.iterdir()} - {"program.py"}
    assert {"result.json", "labels.json", "exit_code"} <= names
    for name in names:
        with pytest.raises(ValidationError, match="of its own"):
            script(files=[str(tmp_path / name)])
    taken = JobDirectory(tmp_path / "other")
    for name in ("lock", "ended_by"):
        with pytest.raises(ValidationError, match="of its own"):
            script(files=[name])
    assert not taken.path.exists()


def test_a_file_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*gone\.py, which the jobs need: No such file"):
        script(files=[str(tmp_path / "gone.py")]).prepare(CANDIDATE)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="binary is not text; name it in the command by its path"):
        script(files=[str(tmp_path / "binary")]).prepare(CANDIDATE)
    (tmp_path / "huge").write_bytes(b"x" * 1_000_001)
    with pytest.raises(UserError, match="huge is larger than 1,000,000 bytes"):
        script(files=[str(tmp_path / "huge")]).prepare(CANDIDATE)


def test_a_program_that_changed_is_another_job(tmp_path: Path) -> None:
    old = script("pass", tmp_path).prepare(CANDIDATE)
    new = script("pass  # better", tmp_path).prepare(CANDIDATE)
    assert old.inputs["sha256"] != new.inputs["sha256"]
    assert isinstance(script(), SaysProtocol)
    assert script(version="2").protocol() == {"code": "script", "version": "2", "fidelity": "script"}


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(SYMBOLS[:90]), st.integers(1, 9), min_size=1, max_size=4), st.text(max_size=60))
def test_nothing_of_a_candidate_stands_in_a_command_or_a_file_name(amounts: dict[str, int], origin: str) -> None:
    candidate = Candidate({symbol: float(n) for symbol, n in amounts.items()}, origin=origin)
    spec = script(format="none").prepare(candidate)
    assert spec.inputs["command"] == ["{python}", "program.py"]
    assert set(spec.files) == {"candidate.json"}
    assert json.loads(spec.files["candidate.json"])["amounts"] == amounts


def test_the_interpreter_of_the_job_runs_the_users_program(tmp_path: Path) -> None:
    program = (
        "import json, sys; json.dump({'properties': {'energy': 1}, 'python': sys.executable}, open('labels.json', 'w'))"
    )
    found = label(script(program, tmp_path), tmp_path)
    assert isinstance(found, Measurement)
    assert found.provenance["program"]["python"] == sys.executable
    assert os.environ["MOTHERLODE_CORES"] == "3"
