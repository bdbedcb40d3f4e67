"""What became of a job that is not in the queue any more: first its own files, then what the batch system says."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from active_learning.domain.job import JobPhase, JobReport
from active_learning.domain.label import Failure, FailureKind
from active_learning.jobs import JobDirectory
from active_learning.submitters.batch.schedulers import Listed, Saying
from active_learning.submitters.batch.script import OUTPUT, Ending, read_ending

__all__ = ["has_outcome", "verdict"]

_READ = 20_000
_SIGNALS = (128 + signal.SIGTERM, 128 + signal.SIGKILL)


def has_outcome(directory: Path) -> bool:
    """Whether the job left its exit code, here; after that there is nothing more to know."""
    return (directory / "exit_code").exists()


def verdict(directory: Path, listed: Listed | None, sayings: Sequence[Saying], environment: Sequence[str]) -> JobReport:
    """What to report of a job that cannot do anything any more, or that is not listed.

    ENDED only if its exit code is there or a reason for there being none is known; else GONE, since files of another
    host may come late and an end is for ever.

    Parameters
    ----------
    listed : what the batch system says of it; None if it is not listed
    sayings : the batch system's, in the output of jobs that it ended
    environment : the user's lines, one of which may have failed

    Raises
    ------
    OSError
        If the directory is there and cannot be read.
    """
    try:
        # A network file system answers from its memory for a while, but not after a look into the directory.
        names = set(os.listdir(directory))  # noqa: PTH208 - names only
    except FileNotFoundError:
        names = set()
    if "exit_code" in names:
        return JobReport(JobPhase.ENDED)
    ending = read_ending(directory)
    own = _of_the_script(directory, ending, environment)
    # Whoever else ended the job did it by these signals, and knows better why.
    is_own_end = ending is not None and (ending.is_late or ending.code not in _SIGNALS)
    failure = (own if is_own_end else None) or _memory_first(_said(directory, sayings), listed) or own
    if failure is not None:
        return JobReport(JobPhase.ENDED, failure)
    return JobReport(JobPhase.GONE, detail="" if listed is None else listed.detail)


def _memory_first(said: Failure | None, listed: Listed | None) -> Failure | None:
    """A job that was killed for its memory may be listed as failed, or as cancelled."""
    if said is not None and said.kind is FailureKind.OUT_OF_MEMORY:
        return said
    return (listed.failure if listed is not None else None) or said


def _said(directory: Path, sayings: Sequence[Saying]) -> Failure | None:
    lines = JobDirectory(directory).tail(OUTPUT, _READ).splitlines()
    for pattern, kind in sayings:
        for line in lines:
            if pattern.search(line):
                return Failure(kind, " ".join(line.split())[:300])
    return None


def _of_the_script(directory: Path, ending: Ending | None, environment: Sequence[str]) -> Failure | None:
    if ending is None or (ending.line is None and ending.code == 0):
        # Status 0 is an exit code that did not arrive yet.
        return None
    if ending.line is not None:
        line = repr(environment[ending.line - 1]) if ending.line <= len(environment) else f"number {ending.line}"
        words = _last_line(directory, OUTPUT)
        return Failure(FailureKind.CRASHED, f"line {line} of `environment` failed with status {ending.code}{words}")
    if ending.is_late:
        return Failure(FailureKind.TIMEOUT, f"ran longer than {ending.limit_s:g} s and was ended")
    if ending.code == 128 + signal.SIGTERM:
        return Failure(FailureKind.CANCELLED, f"ended by SIGTERM after {ending.seconds} s, not by the campaign")
    if ending.code == 128 + signal.SIGKILL:
        text = f"killed by signal 9 (SIGKILL) after {ending.seconds} s; the kernel does so when memory runs out"
        return Failure(FailureKind.CRASHED, text)
    words = _last_line(directory, "stderr")
    return Failure(FailureKind.CRASHED, f"its process ended with status {ending.code} and left no outcome{words}")


def _last_line(directory: Path, name: str) -> str:
    lines = JobDirectory(directory).tail(name).splitlines()
    return f": {' '.join(lines[-1].split())[:300]}" if lines else ""
