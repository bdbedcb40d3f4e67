"""Labels that people bring: what they need to know of a candidate is laid out for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, Measurement
from active_learning.errors import UserError
from active_learning.labelers.results import measurement_from, read_result
from active_learning.labelers.structure_files import (
    CANDIDATE_FILE,
    FILE_NAMES,
    StructureFormat,
    candidate_text,
    structure_text,
)

__all__ = ["Manual"]


class Manual:
    """Have candidates labeled by people, who tell the values.

    There is nothing to run: it goes with the submitter `person`, which lists the candidates in `to_label.csv`. What
    people tell counts for the level of theory that they name, or `told`.

    Parameters
    ----------
    options
    wanted : the property that is asked for; none until it is known which
    """

    answered_by_people: ClassVar[bool] = True

    class Options(options.Options):
        """Keys of ``[labeler]`` with ``kind = "manual"``."""

        unit: str = Field("", description="Unit of the values that are asked for.")
        formats: tuple[StructureFormat, ...] = Field(
            ("cif",), description="Structure files to write for each crystal: cif, poscar, extxyz, json (pymatgen's)."
        )

    def __init__(self, options: Options, *, wanted: str | None = None) -> None:
        self.options = options
        self.wanted = wanted

    @property
    def units(self) -> Mapping[str, str]:
        """The one property that is asked for, with its unit; empty until it is known which."""
        return {self.wanted: self.options.unit} if self.wanted else {}

    def for_property(self, name: str) -> Manual:
        """The same labeler, which asks for the property `name`: people may be asked for anything."""
        return Manual(self.options, wanted=name)

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The files that people need, and what their table says of the candidate.

        Raises
        ------
        UserError
            If it is not known what to ask for.
        """
        if not self.wanted:
            raise UserError("labeler 'manual' does not know which property to ask for")
        written = {CANDIDATE_FILE: candidate_text(candidate)}
        if candidate.crystal is not None:
            written |= {FILE_NAMES[form]: structure_text(candidate.crystal, form) for form in self.options.formats}
        inputs = {
            "candidate": candidate.id,
            "formula": candidate.formula,
            "property": self.wanted,
            "unit": self.options.unit,
            "structures": [name for name in written if name != CANDIDATE_FILE],
        }
        return JobSpec("active_learning.labelers.manual_job:run", inputs, written)

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """Why there is no label, if somebody ran the job; values that people tell do not come this way."""
        result = read_result(job_dir)
        if isinstance(result, Failure):
            return result
        return measurement_from(result, self.wanted or "property", self.units, "told")
