"""The right to run a job on a Dask cluster: a file in the job's directory, which only one can take.

Dask runs a task again when its worker dies, and may still run one that nobody wants any more. What counts is therefore
the file `dask.ticket`: renamed to `dask.taken` by the worker that runs the job, and to `dask.over` or removed by a
campaign that takes it back. Each of these happens once, also on a network file system.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["close", "is_over", "is_taken", "offer", "take", "void", "withdraw"]

_TICKET, _TAKEN, _OVER = "dask.ticket", "dask.taken", "dask.over"


def _look(directory: Path) -> set[str]:
    # The whole folder: a network file system may remember of a single file that it was not there.
    return set(os.listdir(directory))  # noqa: PTH208 - names only


def _touch(file: Path) -> None:
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))


def offer(directory: Path) -> bool:
    """Let the job be run; False if it was taken, or is over, already."""
    if _look(directory) & {_TAKEN, _OVER}:
        return False
    _touch(directory / _TICKET)
    return True


def take(directory: Path) -> bool:
    """Take the right to run the job; False if there is none."""
    return _rename(directory, _TAKEN)


def void(directory: Path) -> bool:
    """End a job that nobody has taken; False if there is none such."""
    return _rename(directory, _OVER)


def withdraw(directory: Path) -> bool:
    """Take the offer back, as if it had not been made; False if there is none."""
    with suppress(FileNotFoundError):
        (directory / _TICKET).unlink()
        return True
    return False


def close(directory: Path) -> None:
    """Say that nothing of the job runs any more."""
    _touch(directory / _OVER)


def is_taken(directory: Path) -> bool:
    """Whether somebody runs the job, or ran it."""
    return _TAKEN in _look(directory)


def is_over(directory: Path) -> bool:
    """Whether nothing of the job runs or will run."""
    return _OVER in _look(directory)


def _rename(directory: Path, to: str) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        (directory / _TICKET).rename(directory / to)
        return True
    return False
