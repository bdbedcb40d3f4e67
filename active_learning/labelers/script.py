"""Labels from any program: a structure is written, the program runs, and the file that it leaves is checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.job import JobSpec
from active_learning.domain.label import Failure, FailureKind, Measurement
from active_learning.errors import UserError
from active_learning.jobs.directory import OWN_FILES
from active_learning.labelers.programs import CORES, PYTHON, STRUCTURE, checked_command
from active_learning.labelers.results import check_property, measurement_from, one_line, read_result, said_version
from active_learning.labelers.script_job import RESULT_FILE
from active_learning.labelers.structure_files import (
    CANDIDATE_FILE,
    FILE_NAMES,
    StructureFormat,
    candidate_text,
    structure_text,
)

__all__ = ["Script"]

_MOST_BYTES = 1_000_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_TAKEN = OWN_FILES | {CANDIDATE_FILE, RESULT_FILE, *FILE_NAMES.values()}


def _properties(units: dict[str, str]) -> dict[str, str]:
    if any(not name.strip() for name in units):
        raise ValueError("a property needs a name")
    return units


def _environment(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise ValueError(f"{name!r} = {value!r} cannot stand in a program's environment")
    return variables


def _files(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    names = [path.name for path in paths]
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a plain file name: at most 100 letters, digits and _ . + -")
        if name in _TAKEN:
            raise ValueError(f"a job has a file {name!r} of its own; give yours another name")
        if names.count(name) > 1:
            raise ValueError(f"two files have the name {name!r}, and they go into one folder")
    return paths


Command = Annotated[tuple[str, ...], AfterValidator(checked_command((STRUCTURE, CORES, PYTHON)))]


class Script:
    """Label candidates with a program of the user's own.

    The program runs in the job's directory, where it finds the structure and `candidate.json`, and leaves
    `labels.json` there: ``{"properties": {name: number}, "std": {name: number}, ...}``, or
    ``{"failure": {"kind": ..., "detail": ...}}``. No shell is between; nothing of a candidate is in the command.

    Parameters
    ----------
    options
    wanted : the property that must come out; without it, the first of `properties`
    """

    class Options(options.Options):
        """Keys of ``[labeler]`` with ``kind = "script"``."""

        command: Command = Field(
            description="The program and its arguments, one by one. {structure} is the structure file, {cores} the"
            " number of cores, {python} the interpreter that runs the job; each is an argument of its own."
        )
        properties: Annotated[dict[str, str], AfterValidator(_properties)] = Field(
            min_length=1, description="What the program gives: property -> unit ('' for none)."
        )
        format: StructureFormat | Literal["none"] = Field(
            "cif",
            description="Of the structure file: cif, poscar, extxyz, json (pymatgen's); none, for bare compositions.",
        )
        files: Annotated[tuple[options.FilePath, ...], AfterValidator(_files)] = Field(
            (), description="Text files that are copied into each job's directory, such as the program itself."
        )
        environment: Annotated[dict[str, str], AfterValidator(_environment)] = Field(
            {}, description="Environment variables of the program. No passwords: the job's files show them."
        )
        fidelity: str = Field("script", min_length=1, description="Name of the level of theory.")
        version: str | None = Field(
            None,
            min_length=1,
            description="The program's version; change it with the program, since labels are shared by it.",
        )

    def __init__(self, options: Options, *, wanted: str | None = None) -> None:
        self.options = options
        self.wanted = wanted or next(iter(options.properties))
        if options.format == "none" and STRUCTURE in options.command:
            raise UserError(f'the command asks for {STRUCTURE}, and format = "none" writes no structure')

    @property
    def units(self) -> Mapping[str, str]:
        """Unit of each property that the program gives."""
        return dict(self.options.properties)

    @property
    def fidelity(self) -> str:
        """The level of theory, as the user calls it."""
        return self.options.fidelity

    def protocol(self) -> Mapping[str, Any]:
        """What the values depend on beside a job's inputs and files.

        Raises
        ------
        UserError
            If the file does not say the program's version.
        """
        version = said_version(self.options.version, "script")
        return {"code": "script", "version": version, "fidelity": self.fidelity}

    def for_property(self, name: str) -> Script:
        """The same labeler, whose results must hold the property `name`.

        Raises
        ------
        UserError
            If the program does not give it.
        """
        check_property(name, self.options.properties, "script")
        return Script(self.options, wanted=name)

    def prepare(self, candidate: Candidate) -> JobSpec:
        """The job that runs the program on a candidate.

        Raises
        ------
        UserError
            If the candidate has no structure and one is to be written, or if a file cannot be read.
        """
        chosen = self.options
        written = {CANDIDATE_FILE: candidate_text(candidate)}
        if chosen.format != "none":
            if candidate.crystal is None:
                raise UserError(
                    f"{candidate.formula} is a bare composition, and a structure file is to be written; to run the"
                    ' program on compositions, say format = "none"'
                )
            written[FILE_NAMES[chosen.format]] = structure_text(candidate.crystal, chosen.format)
        copied = {path.name: _read(path) for path in chosen.files}
        inputs = {
            "candidate": candidate.id,
            "command": list(chosen.command),
            "structure": None if chosen.format == "none" else FILE_NAMES[chosen.format],
            "environment": dict(chosen.environment),
            "version": chosen.version,
            "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in copied.items()},
        }
        return JobSpec("active_learning.labelers.script_job:run", inputs, written | copied)

    def parse(self, job_dir: Path) -> Measurement | Failure:
        """What the program left, or why that is no measurement."""
        result = read_result(job_dir)
        if isinstance(result, Failure):
            return result
        rest = {key: value for key, value in result.items() if key != "std"}
        found = measurement_from(rest, self.wanted, self.options.properties, self.fidelity)
        stds = result.get("std", {})
        if isinstance(found, Failure) or stds == {}:
            return found
        return self._with_std(found, stds)

    def _with_std(self, found: Measurement, stds: Any) -> Measurement | Failure:
        if not isinstance(stds, Mapping) or not all(name in found.values for name in stds):
            said = f"std is {stds!r}, not a number for each of some properties"
            return Failure(FailureKind.UNPARSABLE, one_line(said))
        # A standard deviation keeps to the same rules as its value.
        checked = measurement_from({"properties": stds}, next(iter(stds)), self.options.properties, self.fidelity)
        if isinstance(checked, Failure):
            return replace(checked, detail=one_line(f"std: {checked.detail}"))
        std = {name: value for name, (value, _) in checked.values.items()}
        if min(std.values()) < 0:
            return Failure(FailureKind.UNPARSABLE, one_line(f"std is {std}, and none can be negative"))
        return replace(found, std=std)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise UserError(
                f"{path} is larger than {_MOST_BYTES:,} bytes, and would be copied for every job; name it in the"
                " command by its path instead"
            )
        return data.decode()
    except OSError as error:
        raise UserError(f"cannot read {path}, which the jobs need: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text; name it in the command by its path instead") from error
