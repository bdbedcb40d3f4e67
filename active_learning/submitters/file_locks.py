"""Locks on files: held by whoever has the file open, a child that inherited it too, and gone with the last of them."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from active_learning.errors import BackendError

__all__ = ["hold", "is_held"]


def hold(path: Path, busy: BackendError) -> int:
    """Lock a file, which is made if it is not there.

    Parameters
    ----------
    busy : what is raised if somebody else holds it

    Returns
    -------
    descriptor : holds the lock until it is closed; appends what is written to it

    Raises
    ------
    BackendError
        `busy`, or one that says why the file cannot be made or locked at all.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise BackendError(f"cannot make a lock in {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise busy from error
        raise BackendError(f"cannot lock files in {path.parent}: {error.strerror}") from error
    return handle


def is_held(path: Path) -> bool:
    """Whether somebody holds it; nobody if it is not there."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
