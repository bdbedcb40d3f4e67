"""What is particular to a batch system: its header, its commands and its words. See `slurm`, `pbs` and `sge`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from qtoolkit.core.exceptions import OutputParsingError

from active_learning.domain.job import JobPhase
from active_learning.domain.label import Failure, FailureKind
from active_learning.errors import BackendSilent
from active_learning.submitters.batch.hosts import Answer

__all__ = ["Ask", "Listed", "Run", "Saying", "Scheduler", "id_in", "mebibytes", "who_am_i"]

Run = Callable[[Sequence[str]], Answer]
"""Runs a command where the batch system is; raises BackendError if there is no answer."""


@dataclass(frozen=True)
class Ask:
    """What a job asks of the batch system.

    Parameters
    ----------
    directory : where it will run
    limit_s : the batch system's own limit, later than that of the script
    memory_mb : in 10^6 bytes, for all cores together
    queue, account, qos, lines : as in the options; `lines` are directives without their mark
    n_tasks : how many jobs, numbered from 0, each in the subdirectory of its number; None: one, and no number
    """

    name: str
    directory: str
    limit_s: float
    cores: int
    memory_mb: int | None
    queue: str | None
    account: str | None
    qos: str | None
    lines: tuple[str, ...]
    n_tasks: int | None = None


@dataclass(frozen=True)
class Listed:
    """A job, as the batch system lists it.

    Parameters
    ----------
    name : as it was submitted; with a slash and its number for a job of an array, without if it stands for all its jobs
        that are not listed
    submitted : when, in its words, which must not depend on who asks; None if it does not tell
    phase : QUEUED, RUNNING or ENDED; UNKNOWN if it uses a word that we do not know
    failure : what it says went wrong
    detail : its own words, for people: why a job waits, in which state it ended
    was_refused : it never was nor will be run
    """

    id: str
    name: str
    phase: JobPhase
    submitted: str | None = None
    failure: Failure | None = None
    detail: str = ""
    was_refused: bool = False

    @property
    def is_active(self) -> bool:
        """Whether the job may still do something."""
        return self.phase is not JobPhase.ENDED


Saying = tuple[re.Pattern[str], FailureKind]
"""What a batch system writes into a job's output, and what it means; the first that is found counts."""


class Scheduler(Protocol):
    """A batch system."""

    @property
    def title(self) -> str:
        """What people call it."""

    @property
    def first_lines(self) -> tuple[str, ...]:
        """What its scripts begin with."""

    @property
    def sayings(self) -> Sequence[Saying]:
        """What it writes into the output of jobs that it ends, which is known even when it forgot the job."""

    @property
    def submit_command(self) -> tuple[str, ...]:
        """The command that submits the script in the working directory."""

    def header(self, ask: Ask) -> str:
        """The interpreter line and the directives."""

    def submitted_id(self, answer: Answer) -> str | None:
        """The id of the job that was just submitted; None if the answer has none."""

    def is_refusal(self, answer: Answer) -> bool:
        """Whether a submission certainly left no job. An answer that is not understood is none."""

    def listed(self, run: Run, *, ids: Sequence[str] = (), name: str | None = None) -> list[Listed]:
        """The user's jobs, at least those of these ids or of this name, as far as they are known; in one call.

        Raises
        ------
        BackendError
            If the batch system does not answer, or not so that it can be understood.
        """

    def cancel(self, run: Run, ids: Sequence[str]) -> None:
        """End these jobs.

        Raises
        ------
        BackendError
            If the batch system does not answer.
        """


def who_am_i(run: Run, *options: str) -> str:
    """What `id` says of the user: the last word, since a login may say more.

    Raises
    ------
    BackendError
        If it says nothing.
    """
    answer = run(["id", *options])
    if answer.status != 0 or not answer.out.split():
        raise BackendSilent(f"id: {answer.said}")
    return answer.out.split()[-1]


def id_in(io: Any, answer: Answer) -> str | None:
    """The id in what a submit command said, in whichever line it stands.

    Parameters
    ----------
    io : qtoolkit's of this batch system, which reads one line
    """
    for line in answer.out.splitlines():
        try:
            found = io.parse_submit_output(0, line.strip(), "").job_id
        except OutputParsingError:
            continue
        if found and io.is_valid_job_id(str(found)):
            return str(found)
    return None


def mebibytes(memory_mb: int) -> int:
    """Units of 2^20 bytes, rounded up, from units of 10^6 bytes: what batch systems call MB.

    >>> mebibytes(1000)
    954
    """
    return math.ceil(memory_mb * 1e6 / 2**20)
