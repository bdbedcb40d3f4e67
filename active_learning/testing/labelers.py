"""The laws of a labeler, as tests. Subclass `LabelerContract`, and give a labeler and a candidate that it can label.

::

    class TestMyLabeler(LabelerContract):
        @pytest.fixture
        def labeler(self):
            return MyLabeler(MyLabeler.Options())

        @pytest.fixture
        def candidate(self):
            return Candidate({"Al": 1, "Cu": 3})
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from active_learning.domain.candidate import Candidate
from active_learning.domain.job import Resources
from active_learning.domain.label import Failure, Measurement
from active_learning.domain.protocols import Labeler, References
from active_learning.errors import UserError
from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import execute

__all__ = ["GARBAGE", "LabelerContract", "job_runner"]

GARBAGE: Mapping[str, Mapping[str, bytes]] = {
    "nothing": {},
    "no result": {"exit_code": b"0\n"},
    "an empty result": {"exit_code": b"0\n", "result.json": b""},
    "half a result": {"exit_code": b"0\n", "result.json": b'{"properties": {"energy_per'},
    "no text": {"exit_code": b"0\n", "result.json": b"\xff\xfe\x00"},
    "a list": {"exit_code": b"0\n", "result.json": b"[1, 2]"},
    "an empty object": {"exit_code": b"0\n", "result.json": b"{}"},
    "properties of the wrong type": {"exit_code": b"0\n", "result.json": b'{"properties": [1]}'},
    "a failure of the wrong type": {"exit_code": b"0\n", "result.json": b'{"failure": 7}'},
    "an unknown kind of failure": {"exit_code": b"0\n", "result.json": b'{"failure": {"kind": ["x"], "detail": "y"}}'},
    "an exit code that is no number": {"exit_code": b"zero\n", "result.json": b"{}"},
    "a crash without a word": {"exit_code": b"1\n"},
    "a crash with a traceback": {"exit_code": b"1\n", "stderr": b"Traceback:\n  line\nValueError: two\xff words\n"},
}
"""What a broken job may leave: file -> content."""


def _files(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()} if directory.exists() else {}


def _check_failure(found: Measurement | Failure, left: str) -> None:
    assert isinstance(found, Failure), f"a job that left {left} gave {found!r}"
    assert found.detail.strip(), f"the failure of a job that left {left} says nothing"
    assert "\n" not in found.detail, f"the failure of a job that left {left} is longer than a line"


def job_runner(folder: Path) -> Callable[[Labeler, Candidate], Path]:
    """``run(labeler, candidate)`` prepares and runs a candidate's job in this process and returns its directory."""

    def run(labeler: Labeler, candidate: Candidate) -> Path:
        path = folder / "jobs" / f"{candidate.id}-1"
        JobDirectory(path).prepare(labeler.prepare(candidate), path.name, Resources(timeout_s=60.0))
        execute(path)
        return path

    return run


class LabelerContract:
    """Tests that every labeler passes."""

    @pytest.fixture
    def labeler(self) -> Labeler:
        """The labeler under test; override it."""
        raise NotImplementedError("override the fixture `labeler`")

    @pytest.fixture
    def candidate(self) -> Candidate:
        """A candidate that the labeler can label, quickly; override it."""
        raise NotImplementedError("override the fixture `candidate`")

    @pytest.fixture
    def run(self, tmp_path: Path) -> Callable[[Labeler, Candidate], Path]:
        """Prepares and runs a candidate's job here; the job's directory."""
        return job_runner(tmp_path)

    def test_every_property_has_a_unit(self, labeler: Labeler) -> None:
        assert labeler.units, "a labeler gives at least one property"
        assert all(isinstance(unit, str) for unit in labeler.units.values()), "units are text ('' for none)"

    def test_the_same_candidate_gives_an_equal_job(self, labeler: Labeler, candidate: Candidate) -> None:
        again = Candidate(candidate.amounts, candidate.crystal, candidate.origin)
        assert labeler.prepare(candidate) == labeler.prepare(again), "two jobs for one candidate differ"

    def test_a_job_is_plain_json_and_its_entry_exists(self, labeler: Labeler, candidate: Candidate) -> None:
        spec = labeler.prepare(candidate)
        inputs = dict(spec.inputs)
        assert json.loads(json.dumps(inputs, allow_nan=False)) == inputs, "the job's inputs are not plain JSON"
        module, _, function = spec.entry.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), f"{spec.entry} is not a function"

    def test_a_job_gives_a_measurement_in_the_labelers_units(
        self, labeler: Labeler, candidate: Candidate, run: Callable[[Labeler, Candidate], Path]
    ) -> None:
        found = labeler.parse(run(labeler, candidate))
        assert isinstance(found, Measurement), f"the candidate's job gave {found!r}"
        for name, (value, unit) in found.values.items():
            assert labeler.units.get(name) == unit, f"{name} came in {unit!r}, promised was {labeler.units.get(name)!r}"
            assert math.isfinite(value), f"{name} is {value}"
        assert found.fidelity, "a measurement names its fidelity"
        json.dumps(dict(found.provenance), allow_nan=False)

    def test_parse_reads_only_and_says_the_same_twice(
        self, labeler: Labeler, candidate: Candidate, run: Callable[[Labeler, Candidate], Path]
    ) -> None:
        path = run(labeler, candidate)
        before = _files(path)
        assert labeler.parse(path) == labeler.parse(path), "parse says something else the second time"
        assert _files(path) == before, "parse changed the job's directory"

    @pytest.mark.parametrize("left", GARBAGE)
    def test_parse_never_raises_for_what_a_job_left(self, left: str, labeler: Labeler, tmp_path: Path) -> None:
        for name, content in GARBAGE[left].items():
            (tmp_path / name).write_bytes(content)
        _check_failure(labeler.parse(tmp_path), left)

    def test_parse_of_a_directory_that_is_gone_is_a_failure(self, labeler: Labeler, tmp_path: Path) -> None:
        _check_failure(labeler.parse(tmp_path / "gone"), "no directory")

    def test_only_finite_numbers_become_measurements(
        self, labeler: Labeler, candidate: Candidate, run: Callable[[Labeler, Candidate], Path]
    ) -> None:
        path = run(labeler, candidate)
        good = labeler.parse(path)
        assert isinstance(good, Measurement), f"the candidate's job gave {good!r}"
        written = (path / "result.json").read_text()
        for bad in ("NaN", "Infinity", "-Infinity", '"1.0"', "null", "true", "[1]"):
            text = written
            for number, _ in good.values.values():
                text = text.replace(json.dumps(number), bad)
            (path / "result.json").write_text(text)
            _check_failure(labeler.parse(path), f"the value {bad}")

    def test_a_bare_composition_is_prepared_or_refused_with_a_reason(
        self, labeler: Labeler, candidate: Candidate
    ) -> None:
        try:
            spec = labeler.prepare(Candidate(candidate.amounts, origin=candidate.origin))
        except UserError as refused:
            assert str(refused), "a refusal says why"
        else:
            assert spec.entry, "a job names its function"

    def test_a_labeler_with_properties_refuses_unknown_ones(self, labeler: Labeler) -> None:
        for_property: Any = getattr(labeler, "for_property", None)
        if for_property is None:
            pytest.skip("this labeler always gives the same properties")
        for name in labeler.units:
            assert name in for_property(name).units, f"the labeler for {name} does not give it"
        with pytest.raises(UserError, match="no_such_property"):
            for_property("no_such_property")

    def test_references_are_elemental_crystals_that_the_labeler_can_prepare(
        self, labeler: Labeler, candidate: Candidate
    ) -> None:
        if not isinstance(labeler, References):
            pytest.skip("this labeler measures against nothing")
        for element, reference in labeler.references(candidate.elements).items():
            assert reference.elements == (element,), f"the reference of {element} is {reference.formula}"
