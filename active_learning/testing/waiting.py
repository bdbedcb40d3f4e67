"""Waiting in tests: for something to become true, or not within a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["is_alive", "wait_for"]


def wait_for(what: str, is_true: Callable[[], bool], patience_s: float) -> None:
    """Return as soon as `is_true()`; an AssertionError that names `what` after `patience_s` seconds."""
    end = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < end, f"waited {patience_s:g} s in vain for: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and was not yet waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()
