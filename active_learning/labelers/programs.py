"""Programs that jobs run: commands as lists of arguments, their placeholders, and how they ended. No shell anywhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from active_learning.domain.hints import did_you_mean

__all__ = ["CORES", "PYTHON", "STRUCTURE", "checked_command", "filled", "run_program", "signal_name"]

CORES, PYTHON, STRUCTURE = "{cores}", "{python}", "{structure}"
"""What may stand in a command for the job's number of cores, its interpreter, its structure file."""

_TAIL = 2000


def checked_command(placeholders: Sequence[str]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """A validator of commands with these placeholders, each an argument of its own."""

    def check(arguments: tuple[str, ...]) -> tuple[str, ...]:
        for argument in arguments:
            if argument in placeholders:
                continue
            if "\0" in argument:
                raise ValueError(f"an argument of a program holds no NUL character, got {argument!r}")
            if re.fullmatch(r"\{\w+\}", argument):
                hint = did_you_mean(argument, placeholders)
                raise ValueError(f"{argument!r} is not a placeholder.{hint} Known: {', '.join(placeholders)}.")
            if part := next((known for known in placeholders if known in argument), None):
                raise ValueError(f"{part} must be an argument of its own, not a part of {argument!r}")
        if not arguments or not arguments[0].strip():
            raise ValueError("the first word of a command is the program, and it is missing")
        return arguments

    return check


def filled(command: Sequence[str], structure: str | None = None) -> list[str]:
    """A command with its placeholders filled, in the job's process."""
    known = {CORES: os.environ.get("MOTHERLODE_CORES", "1"), PYTHON: sys.executable, STRUCTURE: structure}
    return [known.get(argument) or argument for argument in command]


def run_program(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a program in the job's directory to its end; its exit status, and the end of what it wrote to stderr.

    What it writes goes to the job's `stdout` and `stderr`; the files that it makes are for their owner only.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    path = Path("stderr")
    before = path.stat().st_size if path.exists() else 0
    with Path("stdout").open("ab") as out, path.open("ab") as err:
        status = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **environment},
            umask=0o077,
            check=False,
        ).returncode
    with path.open("rb") as file:
        file.seek(max(before, path.stat().st_size - _TAIL))
        return status, file.read().decode(errors="replace").strip()


def signal_name(status: int) -> str | None:
    """The signal that ended a program; None if none did. A shell in between adds 128 to its number.

    >>> signal_name(-9), signal_name(137), signal_name(1)
    ('SIGKILL', 'SIGKILL', None)
    """
    number = -status if status < 0 else status - 128
    return signal.Signals(number).name if number in set(signal.Signals) else None
