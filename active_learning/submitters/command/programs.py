"""Ask a program something: it answers in time, or it has not answered."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from active_learning.errors import BackendError, BackendSilent

__all__ = ["ask"]

_TAIL = 500


def ask(command: Sequence[str], within_s: float) -> str:
    """What a program prints.

    Raises
    ------
    BackendError
        If it cannot be started, does not end within `within_s` seconds (it is then killed), or fails.
    """
    # Files, since a pipe is at its end only when everything that the program left running has closed it.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as error:
            raise BackendError(f"cannot run {command[0]}: {error.strerror}") from error
        try:
            status = process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            raise BackendSilent(f"{command[0]} did not answer within {within_s:g} s") from error
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        if status != 0:
            said = (err.read() or out.read()).decode(errors="replace").strip()
            raise BackendSilent(f"{command[0]} ended with status {status}: {said[-_TAIL:] or 'it said nothing'}")
        return out.read().decode(errors="replace")
