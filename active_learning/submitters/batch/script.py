"""The script that a batch system runs: the time limit is kept and the end is noted in it, so that both are known
where the batch system itself forgets a job soon or never tells.

Nothing in it comes from a candidate: it runs in the job's directory and names nothing else but the interpreter.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from active_learning.jobs import JobDirectory
from active_learning.jobs.runner import ALREADY_STARTED

__all__ = ["ENDED", "KILL_AFTER_S", "OUTPUT", "SCRIPT", "Ending", "batch_script", "read_ending"]

SCRIPT = "batch.sh"
OUTPUT = "scheduler.out"
ENDED = "batch_end"
KILL_AFTER_S = 30
"""Seconds between SIGTERM at the time limit and SIGKILL."""

_ENDING = re.compile(r"job (\d+) (\d+) ([0-9.]+)|environment (\d+) (\d+)")
_NOTE = f"""\
umask 077
ended() {{ printf '%s\\n' "$*" > {ENDED}.new && mv -f {ENDED}.new {ENDED}; }}
# So that a batch system's SIGTERM is noted, too; the job gets it by itself.
trap : TERM
"""
_LINE = """\
{line}
code=$?; if [ "$code" -ne 0 ]; then ended environment {number} "$code"; exit "$code"; fi
"""
_RUN = f"""\
begin=$SECONDS
timeout --kill-after={KILL_AFTER_S} {{limit}} {{python}} -m active_learning.jobs . >> stdout 2>> stderr
code=$?
[ "$code" -eq {ALREADY_STARTED} ] || ended job "$code" "$((SECONDS - begin))" {{limit}}
exit "$code"
"""


@dataclass(frozen=True)
class Ending:
    """How the script ended.

    Parameters
    ----------
    code : the exit status of the job, or of the line that failed; 128 and a signal's number for a signal
    line : number of the line of `environment` that failed, from 1; None if it was the job that ended
    seconds, limit_s : how long the job ran and might run
    """

    code: int
    line: int | None = None
    seconds: int = 0
    limit_s: float = 0.0

    @property
    def is_late(self) -> bool:
        """Whether the job was ended because its time was over."""
        # 124 is `timeout`'s own; 137 is also what it says if SIGTERM was not enough.
        return self.line is None and (self.code == 124 or (self.code == 137 and self.seconds >= self.limit_s))


def batch_script(header: str, *, first: Sequence[str], environment: Sequence[str], python: str, limit_s: float) -> str:
    """The text of the script.

    Parameters
    ----------
    header : the interpreter line and the batch system's directives
    first : lines of ours that come before everything else
    environment : the user's lines; one that fails ends the job
    python : path of the interpreter that runs the job
    limit_s : the job's time limit; the lines of `environment` are not counted
    """
    lines = [_LINE.format(line=line, number=number) for number, line in enumerate(environment, start=1)]
    limit = f"{limit_s:.3f}".rstrip("0").rstrip(".")
    run = _RUN.format(limit=limit, python=shlex.quote(python))
    return "".join([header.rstrip("\n"), "\n", *(f"{line}\n" for line in first), _NOTE, *lines, run])


def read_ending(directory: Path) -> Ending | None:
    """What the script noted of its end; None if it did not come so far."""
    match = _ENDING.fullmatch(JobDirectory(directory).tail(ENDED))
    if match is None:
        return None
    if match[4] is not None:
        return Ending(int(match[5]), line=int(match[4]))
    return Ending(int(match[1]), seconds=int(match[2]), limit_s=float(match[3]))
