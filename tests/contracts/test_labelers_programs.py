"""The labelers that run programs, and the one that runs none, keep the laws."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.label import Failure, FailureKind
from active_learning.domain.protocols import Labeler
from active_learning.labelers.manual import Manual
from active_learning.labelers.script import Script
from active_learning.labelers.vasp import Vasp
from active_learning.testing.labelers import LabelerContract

TESTS = Path(__file__).parents[1]
CU = Crystal(
    ((3.6, 0, 0), (0, 3.6, 0), (0, 0, 3.6)), ("Cu",) * 4, ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
)
PROGRAM = """
import json, sys
from ase.io import read
atoms = read(sys.argv[1])
labels = {"properties": {"volume": atoms.get_volume(), "density": 8.25}, "std": {"density": 0.125}}
json.dump(labels, open("labels.json", "w"))
"""


class TestScript(LabelerContract):
    @pytest.fixture
    def labeler(self, tmp_path: Path) -> Labeler:
        (tmp_path / "mine").mkdir()
        program = tmp_path / "mine" / "program.py"
        program.write_text(PROGRAM)
        return Script(
            Script.Options(
                command=("{python}", "program.py", "{structure}"),
                properties={"volume": "Angstrom^3", "density": "g/cm^3"},
                files=(program,),
            )
        )

    @pytest.fixture
    def candidate(self) -> Candidate:
        return Candidate.of(CU)


class TestVasp(LabelerContract):
    @pytest.fixture
    def labeler(self, tmp_path: Path) -> Labeler:
        left, library = tmp_path / "left", tmp_path / "potentials" / "POT_GGA_PAW_PBE"
        for folder in (left, library):
            folder.mkdir(parents=True)
        (left / "vasprun.xml").write_bytes(
            lzma.decompress((TESTS / "data" / "vasp" / "cu-relaxed.xml.xz").read_bytes())
        )
        (library / "POTCAR.Cu_pv").write_text(" PAW_PBE\n VRHFIN =Cu: d10\n TITEL  = PAW_PBE Cu_pv\n End of Dataset\n")
        return Vasp(
            Vasp.Options(
                command=("{python}", str(TESTS / "helpers" / "stand_in_vasp.py"), str(left)),
                input_set="MPStaticSet",
                potcar_dir=library.parent,
                references={"Cu": -4.0},
            )
        ).for_property("formation_energy_per_atom")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return Candidate.of(CU)


class TestManual(LabelerContract):
    """It has no measurement to give, so the laws of measurements are here laws of its refusal."""

    @pytest.fixture
    def labeler(self) -> Labeler:
        return Manual(Manual.Options(unit="HV")).for_property("hardness")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return Candidate.of(CU)

    def test_a_job_gives_a_measurement_in_the_labelers_units(
        self, labeler: Labeler, candidate: Candidate, run: Callable[[Labeler, Candidate], Path]
    ) -> None:
        found = labeler.parse(run(labeler, candidate))
        assert isinstance(found, Failure)
        assert found.kind is FailureKind.REJECTED

    def test_only_finite_numbers_become_measurements(
        self, labeler: Labeler, candidate: Candidate, run: Callable[[Labeler, Candidate], Path]
    ) -> None:
        path = run(labeler, candidate)
        for bad in ("NaN", "1e999", '"1.0"', "null", "true"):
            (path / "result.json").write_text(f'{{"properties": {{"hardness": {bad}}}}}')
            assert isinstance(labeler.parse(path), Failure), bad

    def test_a_labeler_with_properties_refuses_unknown_ones(self, labeler: Labeler) -> None:
        assert Manual(Manual.Options()).for_property("people may be asked for anything").units == {
            "people may be asked for anything": ""
        }
