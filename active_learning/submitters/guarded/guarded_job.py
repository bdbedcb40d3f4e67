"""The process of a job that has a guardian: it runs the job, and dies with its guardian."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from active_learning.jobs.runner import execute
from active_learning.submitters.sessions import kill_session

__all__ = ["main"]

_OOM_SCORE = Path("/proc/self/oom_score_adj")


def main(settings: Mapping[str, Any]) -> NoReturn:
    """Run the job and leave the process.

    Parameters
    ----------
    settings : `directory`; `lifeline`, a pipe's reading end whose only writing end is the guardian's; `held`, the files
        whose locks this process has together with its guardian
    """
    for handle in (settings["lifeline"], *settings["held"]):
        # No program that the job starts may keep a lock longer than the job lives.
        os.set_inheritable(handle, False)
    faulthandler.enable()
    threading.Thread(target=_die_with_the_guardian, args=(settings["lifeline"],), daemon=True).start()
    # When memory runs out, the kernel should take a job and not its guardian. Where it cannot be told so, so be it.
    with suppress(OSError):
        _OOM_SCORE.write_text("500")
    os.umask(0o077)
    code = os.EX_SOFTWARE
    try:
        code = execute(Path(settings["directory"]))
    except BaseException:  # noqa: BLE001 - what went wrong with the directory itself is said, and the process left
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads that the job left behind do not keep it alive.
        os._exit(code)


def _die_with_the_guardian(lifeline: int) -> None:
    os.read(lifeline, 1)
    kill_session(os.getpid())
