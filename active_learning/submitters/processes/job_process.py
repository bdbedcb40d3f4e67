"""The life of one job's process, from the fork to its end."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from active_learning.jobs.runner import execute
from active_learning.submitters.sessions import kill_session

__all__ = ["run_and_exit"]

_OOM_SCORE = Path("/proc/self/oom_score_adj")


def run_and_exit(directory: Path, lifeline: int, not_mine: Iterable[int]) -> NoReturn:
    """Run the job in this newly forked process and leave it.

    Parameters
    ----------
    lifeline : a pipe's reading end; its only writing end is the supervisor's, so that its end of file is their death
    not_mine : inherited files that must be closed: the control pipes, the other jobs' locks
    """
    code = os.EX_SOFTWARE
    try:
        os.setsid()
        _forget_the_supervisor(not_mine)
        _open_output(directory)
        threading.Thread(target=_die_with_the_supervisor, args=(lifeline,), daemon=True).start()
        _be_like_new()
        code = execute(directory)
    except BaseException:  # noqa: BLE001 - the process leaves here whatever happened; it may not return into the loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _forget_the_supervisor(not_mine: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    for handle in not_mine:
        os.close(handle)


def _open_output(directory: Path) -> None:
    """What programs write to the plain descriptors 1 and 2 goes to the job's files too."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    faulthandler.enable(file=2)


def _die_with_the_supervisor(lifeline: int) -> None:
    # A second line only: a supervisor that learns of the campaign's death kills its jobs itself, from outside.
    os.read(lifeline, 1)
    leader = os.getpid()
    kill_session(leader)


def _be_like_new() -> None:
    """What a fresh interpreter would have and a fork has not."""
    if "numpy.random" in sys.modules:
        # Siblings would draw the same numbers from the global generator. (`random` sees to itself.)
        sys.modules["numpy.random"].seed()
    # When memory runs out, the kernel should take a job and not the campaign. Where it cannot be told so, so be it.
    with contextlib.suppress(OSError):
        _OOM_SCORE.write_text("500")
