"""What a submitter runs for a request, and what it says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from active_learning.domain.label import Failure

__all__ = ["Job", "JobPhase", "JobReport", "JobSpec"]


@dataclass(frozen=True)
class JobSpec:
    """What is to be computed, as a labeler prepares it.

    Parameters
    ----------
    entry : "module:function"
        Called in the job's process, with the job directory as its working directory, as ``function(inputs)``. It
        returns a JSON object, which becomes `result.json`; what it raises makes the job fail.
    inputs : JSON object
    files : name -> text
        Written into the job directory before the job is submitted.
    """

    entry: str
    inputs: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job directory that is ready to run.

    Parameters
    ----------
    name : deterministic; what `Submitter.find` looks for after a crash
    directory : absolute
    command : argument list; runs the job wherever it lands, needs neither Prefect nor the campaign's database
    timeout_s : after so many seconds the submitter ends the job
    """

    name: str
    directory: PurePath
    command: tuple[str, ...]
    timeout_s: float


class JobPhase(StrEnum):
    """A backend's word on a job. It is advice: the files in the job directory are the truth."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobReport:
    """What a backend says of one job. `failure` is for what only the backend can know (time limit, memory, node)."""

    phase: JobPhase
    failure: Failure | None = None
