"""Signals to a job with all its descendants: its session, which it leads since it was born."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

__all__ = ["kill_session", "signal_session"]

_PROC = Path("/proc")


def _members(leader: int) -> list[int]:
    """Living processes of a session, by /proc; empty where there is no /proc (macOS)."""
    found = []
    for entry in _PROC.glob("[0-9]*"):
        try:
            # "pid (name) state ppid pgrp session ..."; the name may hold blanks and parentheses.
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == leader and state not in "ZX":
            found.append(int(entry.name))
    return found


def signal_session(leader: int, number: signal.Signals) -> None:
    """Send a signal to the leader, its process group and, where /proc tells, its whole session.

    MPI launchers and shells put their children into process groups of their own, but seldom into sessions. A
    descendant that made its own session is out of reach.
    """
    # The leader's group last: it may be the leader itself who kills.
    for pid in _members(leader):
        if pid != leader:
            _signal(os.kill, pid, number)
    if not _signal(os.killpg, leader, number):
        # Just born and not yet leader of anything, then it has no descendants either; or gone.
        _signal(os.kill, leader, number)


def _signal(send: Callable[[int, int], None], number: int, signal_number: signal.Signals) -> bool:
    # PermissionError: a program of another user (setuid), or on macOS a group whose processes all ended.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(number, signal_number)
        return True
    return False


def kill_session(leader: int, passes: int = 5) -> None:
    """SIGKILL to a session; again while a member that was born meanwhile is seen, at most `passes` times."""
    for _ in range(passes):
        signal_session(leader, signal.SIGKILL)
        if not _members(leader):
            return
