"""From a job directory to a measurement or a failure: what every labeler checks before it believes a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from active_learning.domain.hints import did_you_mean
from active_learning.domain.label import LARGEST_VALUE, Failure, FailureKind, Measurement
from active_learning.errors import UserError
from active_learning.jobs import JobDirectory

__all__ = ["check_property", "failure", "measurement_from", "one_line", "read_result", "said_version"]

_LONGEST_LINE = 300


def one_line(text: str) -> str:
    """Text without line breaks, at most 300 characters.

    >>> one_line(" two\\n  lines ")
    'two lines'
    """
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"


def failure(kind: FailureKind, detail: str) -> dict[str, Any]:
    """What a job's function returns instead of a result when it knows why there is none."""
    return {"failure": {"kind": kind.value, "detail": one_line(detail)}}


def read_result(job_dir: Path) -> Mapping[str, Any] | Failure:
    """What the job of `job_dir` returned, or how it failed. Never raises for what stands in the directory.

    The job's own word (`failure`) is taken where it gave one; a job that ended with an exception has CRASHED, and
    the detail is the last line of its traceback.
    """
    try:
        outcome = JobDirectory(job_dir).outcome()
    except OSError as error:
        return Failure(FailureKind.UNPARSABLE, one_line(f"the job's files cannot be read: {error}"))
    if outcome is None:
        return Failure(FailureKind.UNPARSABLE, "the job left no exit code that can be read")
    if outcome.exit_code != 0:
        last = outcome.stderr_tail.splitlines()[-1:] or [f"exit code {outcome.exit_code}, nothing in stderr"]
        kind = FailureKind.OUT_OF_MEMORY if last[0].startswith("MemoryError") else FailureKind.CRASHED
        return Failure(kind, one_line(last[0]))
    if outcome.result is None:
        return Failure(FailureKind.UNPARSABLE, "result.json is missing or not a JSON object")
    if "failure" in outcome.result:
        return _told_failure(outcome.result["failure"])
    return outcome.result


def _told_failure(told: Any) -> Failure:
    if isinstance(told, Mapping) and told.get("kind") in [kind.value for kind in FailureKind]:
        return Failure(FailureKind(told["kind"]), one_line(str(told.get("detail", ""))))
    return Failure(FailureKind.UNPARSABLE, one_line(f"the job failed in a way that is not known: {told!r}"))


def measurement_from(
    result: Mapping[str, Any], wanted: str, units: Mapping[str, str], fidelity: str
) -> Measurement | Failure:
    """The measurement in a result: all of `properties` with their units, the rest as provenance.

    Parameters
    ----------
    result : with ``properties``, property -> number
    wanted : a property that must be among them
    units : of each property that may be among them
    """
    properties = result.get("properties")
    if not isinstance(properties, Mapping) or wanted not in properties:
        return Failure(FailureKind.UNPARSABLE, f"the result holds no {wanted}")
    for name, value in properties.items():
        if name not in units:
            return Failure(FailureKind.UNPARSABLE, one_line(f"the result holds {name!r}, which has no unit"))
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return Failure(FailureKind.UNPARSABLE, one_line(f"{name} is {value!r}, not a finite number"))
        # Whole numbers in JSON may be larger than any float.
        if not -LARGEST_VALUE <= value <= LARGEST_VALUE:
            what = "not a finite number" if value in (math.inf, -math.inf) else "larger than any property"
            return Failure(FailureKind.UNPARSABLE, one_line(f"{name} is {str(value)[:40]}, {what}"))
    values = {name: (float(value), units[name]) for name, value in properties.items()}
    return Measurement(values, fidelity, {key: value for key, value in result.items() if key != "properties"})


def said_version(version: str | None, labeler: str) -> str:
    """The version of an external program, which only the user can know beforehand.

    Raises
    ------
    UserError
        If the file does not say it.
    """
    if version is None:
        raise UserError(
            f"Labels are shared among those of one version of the program: say which by `version` in [labeler]"
            f" ({labeler}), or leave [cache] out."
        )
    return version


def check_property(name: str, units: Mapping[str, str], labeler: str) -> None:
    """Raise UserError if `name` is not among the properties that `labeler` gives."""
    if name not in units:
        raise UserError(
            f"labeler {labeler!r} cannot give the property {name!r}.{did_you_mean(name, units)} "
            f"It gives: {', '.join(units)}."
        )
