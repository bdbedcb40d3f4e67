"""Every built-in labeler keeps the laws, and labelers that break one are found out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from active_learning.domain.candidate import Candidate, Crystal
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.domain.protocols import Labeler
from active_learning.jobs import JobDirectory
from active_learning.labelers.ase import Ase
from active_learning.labelers.table import Table
from active_learning.testing.labelers import LabelerContract, job_runner

AU_CU3 = Crystal(
    ((3.75, 0, 0), (0, 3.75, 0), (0, 0, 3.75)),
    ("Au", "Cu", "Cu", "Cu"),
    ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)),
)


class TestAse(LabelerContract):
    @pytest.fixture
    def labeler(self) -> Labeler:
        return Ase(Ase.Options(calculator="emt"))

    @pytest.fixture
    def candidate(self) -> Candidate:
        return Candidate.of(AU_CU3)


class TestAseRelaxingFormationEnergies(LabelerContract):
    @pytest.fixture
    def labeler(self) -> Labeler:
        options = Ase.Options(calculator="emt", relax="cell", references={"Au": 0.01, "Cu": -0.02})
        return Ase(options).for_property("formation_energy_per_atom")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return Candidate.of(AU_CU3)


class TestAseBulkModulus(LabelerContract):
    @pytest.fixture
    def labeler(self) -> Labeler:
        return Ase(Ase.Options(calculator="emt", relax="cell", n_volumes=5)).for_property("bulk_modulus")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return Candidate.of(Crystal(((0, 1.8, 1.8), (1.8, 0, 1.8), (1.8, 1.8, 0)), ("Cu",), ((0, 0, 0),)))


class TestTable(LabelerContract):
    @pytest.fixture
    def labeler(self, tmp_path: Path) -> Labeler:
        (tmp_path / "labels").mkdir()
        path = tmp_path / "labels" / "hardness.csv"
        path.write_text("formula,hardness\nAuCu3,217.5\nAl,15\n")
        return Table(Table.Options(path=path, unit="HV")).for_property("hardness")

    @pytest.fixture
    def candidate(self) -> Candidate:
        return Candidate({"Au": 2, "Cu": 6})


class Sound:
    """A labeler that keeps the laws; each liar below breaks one."""

    units: Mapping[str, str] = {"energy": "eV"}

    def prepare(self, candidate: Candidate) -> JobSpec:
        return JobSpec("active_learning.testing.job_functions:echo", {"energy": -1.25})

    def parse(self, job_dir: Path) -> Measurement | Failure:
        outcome = JobDirectory(job_dir).outcome()
        energy = outcome.result.get("energy") if outcome and outcome.result else None
        if not isinstance(energy, float) or abs(energy) == float("inf") or energy != energy:
            return Failure(FailureKind.UNPARSABLE, "no energy")
        return Measurement({"energy": (energy, "eV")}, "guess")


class Moody(Sound):
    n_prepared = 0

    def prepare(self, candidate: Candidate) -> JobSpec:
        self.n_prepared += 1
        return JobSpec("active_learning.testing.job_functions:echo", {"energy": -1.25, "n": self.n_prepared})


class SpeaksNoJson(Sound):
    def prepare(self, candidate: Candidate) -> JobSpec:
        return JobSpec("active_learning.testing.job_functions:echo", {"energy": (-1.25, "eV")})


class NamesNoFunction(Sound):
    def prepare(self, candidate: Candidate) -> JobSpec:
        return JobSpec("active_learning.testing.job_functions:__doc__", {})


class MixesUnits(Sound):
    def parse(self, job_dir: Path) -> Measurement | Failure:
        found = super().parse(job_dir)
        return found if isinstance(found, Failure) else Measurement({"energy": (-28.7, "kcal/mol")}, "guess")


class Raises(Sound):
    def parse(self, job_dir: Path) -> Measurement | Failure:
        energy = json.loads((job_dir / "result.json").read_text())["energy"]
        return Measurement({"energy": (energy, "eV")}, "guess")


class Invents(Sound):
    def parse(self, job_dir: Path) -> Measurement | Failure:
        return Measurement({"energy": (-1.25, "eV")}, "guess")


class Litters(Sound):
    def parse(self, job_dir: Path) -> Measurement | Failure:
        (job_dir / "parsed").write_text("yes")
        return super().parse(job_dir)


class HasNoUnits(Sound):
    units: Mapping[str, str] = {}


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Labeler, Candidate], Path]:
    return job_runner(tmp_path)


CANDIDATE = Candidate({"Al": 1})


def test_a_labeler_that_keeps_the_laws_passes(run: Callable[[Labeler, Candidate], Path], tmp_path: Path) -> None:
    suite = LabelerContract()
    suite.test_every_property_has_a_unit(Sound())
    suite.test_a_job_gives_a_measurement_in_the_labelers_units(Sound(), CANDIDATE, run)
    suite.test_parse_never_raises_for_what_a_job_left("half a result", Sound(), tmp_path)


@pytest.mark.parametrize(
    ("liar", "law", "complaint"),
    [
        (HasNoUnits, "test_every_property_has_a_unit", "at least one property"),
        (Moody, "test_the_same_candidate_gives_an_equal_job", "two jobs for one candidate differ"),
        (SpeaksNoJson, "test_a_job_is_plain_json_and_its_entry_exists", "not plain JSON"),
        (NamesNoFunction, "test_a_job_is_plain_json_and_its_entry_exists", "is not a function"),
        (MixesUnits, "test_a_job_gives_a_measurement_in_the_labelers_units", "kcal/mol"),
        (Litters, "test_parse_reads_only_and_says_the_same_twice", "changed the job's directory"),
        (Invents, "test_only_finite_numbers_become_measurements", "NaN"),
        (Invents, "test_parse_never_raises_for_what_a_job_left", "half a result gave Measurement"),
        (Invents, "test_parse_of_a_directory_that_is_gone_is_a_failure", "no directory gave Measurement"),
    ],
)
def test_a_labeler_that_breaks_a_law_fails_its_test(
    liar: type[Sound],
    law: str,
    complaint: str,
    run: Callable[[Labeler, Candidate], Path],
    tmp_path: Path,
) -> None:
    known: dict[str, Any] = {
        "labeler": liar(), "candidate": CANDIDATE, "run": run, "tmp_path": tmp_path, "left": "half a result"
    }  # fmt: skip
    test = getattr(LabelerContract(), law)
    with pytest.raises(AssertionError, match=complaint):
        test(**{name: known[name] for name in inspect.signature(test).parameters})


def test_a_labeler_that_lets_a_job_crash_it_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"result\.json"):
        LabelerContract().test_parse_never_raises_for_what_a_job_left("nothing", Raises(), tmp_path)
