"""Run a command that submits a job so that it is known afterwards, whoever died, whether it did.

The command is run by a process of its own (`submission_process`), which goes on if the campaign is killed. In the job's
directory stand: `submitting`, a file that is locked as long as that process or the command lives; `submit.out` and
`submit.err`, what the command printed, which are there before it begins; `submitted`, how it ended.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from active_learning.errors import BackendError, TransientSubmitError
from active_learning.jobs import JobDirectory
from active_learning.submitters import file_locks
from active_learning.submitters.command import submission_process
from active_learning.submitters.command.submission_process import ERRORS, OUTPUT, RECORD

__all__ = ["Fate", "Submission", "look", "run"]

_LOCK = "submitting"


class Fate(StrEnum):
    """What is known of a submission.

    NEVER: the command was not run. REFUSED: it failed, so the job was not launched. DONE: it succeeded. BUSY: it may
    still be running. CUT_OFF: it was run, and what watched it died: nobody knows.
    """

    NEVER = "never"
    REFUSED = "refused"
    DONE = "done"
    BUSY = "busy"
    CUT_OFF = "cut off"


@dataclass(frozen=True)
class Submission:
    """What is known of a submission, and what its command printed (if it was refused: why)."""

    fate: Fate
    said: str = ""


def run(directory: Path, command: Sequence[str], within_s: float) -> Submission:
    """Run a submit command in the job's directory and wait for its end, or until the time is over (BUSY).

    Raises
    ------
    TransientSubmitError
        If the process that shall run it cannot be started.
    BackendError
        If another command still submits this job, or files in the directory cannot be locked.
    """
    lock = file_locks.hold(directory / _LOCK, BackendError(f"a command that submits the job in {directory} still runs"))
    listen, tell = os.pipe()
    try:
        for name in (RECORD, OUTPUT, ERRORS):
            (directory / name).unlink(missing_ok=True)
        order = {"command": list(command), "directory": str(directory), "lock": lock, "tell": tell}
        starter = [sys.executable, "-I", "-S", submission_process.__file__, json.dumps(order)]
        # The far end of the pipe closes when that process ends.
        subprocess.run(
            starter,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[lock, tell],
            start_new_session=True,
            check=False,
        )
        os.close(tell)
        tell = -1
        # Not `select`, which knows no file with a number above 1023.
        end = select.poll()
        end.register(listen)
        end.poll(within_s * 1000)
    except OSError as error:
        raise TransientSubmitError(f"cannot start a process to submit the job in {directory}: {error}") from error
    finally:
        os.close(lock)
        os.close(listen)
        if tell >= 0:
            os.close(tell)
    return look(directory)


def look(directory: Path) -> Submission:
    """What is known of the submission of the job in this directory.

    Raises
    ------
    BackendError
        If its files cannot be read.
    """
    job = JobDirectory(directory)
    try:
        # What the command left running may hold the lock longer than the command, so the record comes first.
        is_busy = not (directory / RECORD).exists() and file_locks.is_held(directory / _LOCK)
        status = _recorded_status(directory)
        if status == 0:
            return Submission(Fate.DONE, job.tail(OUTPUT))
        if status is not None:
            said = job.tail(ERRORS) or job.tail(OUTPUT) or "it said nothing"
            return Submission(Fate.REFUSED, f"status {status}: {said}")
        if is_busy:
            return Submission(Fate.BUSY)
        was_begun = (directory / OUTPUT).exists()
        return Submission(Fate.CUT_OFF, job.tail(OUTPUT)) if was_begun else Submission(Fate.NEVER)
    except (OSError, ValueError, KeyError) as error:
        raise BackendError(f"cannot read how the job in {directory} was submitted: {error}") from error


def _recorded_status(directory: Path) -> int | None:
    with suppress(FileNotFoundError):
        return int(json.loads((directory / RECORD).read_text(encoding="utf-8"))["status"])
    return None
