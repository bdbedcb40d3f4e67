"""What a submitter runs for a request, and what it says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from active_learning.domain.label import Failure
from active_learning.errors import ContractError

__all__ = ["Job", "JobPhase", "JobReport", "JobSpec", "Resources"]


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
    of_machine : names of inputs that say how this machine runs the job (a command, a folder), and not what comes out
    """

    entry: str
    inputs: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    of_machine: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Resources:
    """What a job may use.

    Parameters
    ----------
    timeout_s : after so many seconds the submitter ends the job
    cores : its processes and threads together; the job finds the number in its environment, as MOTHERLODE_CORES
    memory_mb : in all, in 10^6 bytes; None: what the backend gives to those who do not ask
    """

    timeout_s: float
    cores: int = 1
    memory_mb: int | None = None

    def __post_init__(self) -> None:
        if not self.timeout_s > 0 or self.cores < 1 or (self.memory_mb is not None and self.memory_mb < 1):
            raise ContractError(f"a job needs some time, a core and, if it says how much, memory; got {self}")


@dataclass(frozen=True)
class Job:
    """A job directory that is ready to run.

    Parameters
    ----------
    name : deterministic; what `Submitter.find` looks for after a crash
    directory : absolute
    command : argument list; runs the job wherever it lands, needs neither Prefect nor the campaign's database
    resources : what it may use
    """

    name: str
    directory: PurePath
    command: tuple[str, ...]
    resources: Resources


class JobPhase(StrEnum):
    """A backend's word on a job. It is advice: the files in the job directory are the truth.

    GONE: the backend answers and does not know the job, any more or yet; it may still be writing its last files. Who
    is told ENDED need not wait for them. UNKNOWN: the backend does not answer.
    """

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class JobReport:
    """What a backend says of one job.

    Parameters
    ----------
    failure : what only the backend can know (time limit, memory, node)
    detail : its own words, in one line, for people: why a job waits
    """

    phase: JobPhase
    failure: Failure | None = None
    detail: str = ""
