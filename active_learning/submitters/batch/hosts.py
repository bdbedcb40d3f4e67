"""Where the commands of a batch system are typed: on this machine, or on another one (see `ssh`).

Commands are lists of arguments, never lines for a shell.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from active_learning.errors import BackendError, BackendSilent

__all__ = ["CANNOT_RUN", "Answer", "Host", "ThisHost", "run_program"]

CANNOT_RUN = (126, 127)
"""Exit statuses of a program that could not be started, as a shell gives them."""
_LONGEST_SAYING = 500


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its words in one line, for people."""
        words = " ".join((self.err.strip() or self.out.strip()).split())
        return words[:_LONGEST_SAYING] or f"nothing (exit status {self.status})"


class Host(Protocol):
    """A machine where a batch system's commands are, and where its jobs have their directories."""

    def run(self, command: Sequence[str], within_s: float) -> Answer:
        """Run a command that asks or cancels.

        Raises
        ------
        BackendError
            If there is no answer within `within_s` seconds, or the machine is not reached.
        """

    def put(self, directory: Path, name: str, within_s: float) -> None:
        """Have the job's directory there, whole.

        Raises
        ------
        BackendError
            If that did not work.
        """

    def gather(self, directory: Path, name: str, jobs: Sequence[tuple[Path, str]], within_s: float) -> None:
        """Have a directory there with the batch script of `directory` and a link, its number, to each of these jobs.

        Raises
        ------
        BackendError
            If that did not work.
        """

    def launch(self, directory: Path, name: str, command: Sequence[str], lock: int, within_s: float) -> Answer:
        """Run a command in the job's directory there.

        Law: as long as it may still do anything, whoever has the file `lock` locked, that file stays locked, also when
        this process dies. What the command says goes into that file.

        Raises
        ------
        BackendError
            As `run`; whether the command did its work is not known.
        """

    def recall(self, directory: Path, name: str, within_s: float) -> bool:
        """Whether the job ever started, by its directory there. No `launch` of the past has any effect after this.

        Raises
        ------
        BackendError
            As `run`, or if an earlier launch is still on its way.
        """

    def fetch(self, directory: Path, name: str, within_s: float) -> None:
        """Have here what the job left there; its exit code last.

        Raises
        ------
        BackendError
            If not all of it came.
        """


def run_program(
    command: Sequence[str],
    within_s: float,
    *,
    directory: Path | None = None,
    stdin: IO[bytes] | None = None,
    out: IO[bytes] | None = None,
    err: int | None = None,
) -> Answer:
    """Run a program of this machine to its end, with files of mode 0600.

    Parameters
    ----------
    out : takes its output, which is then not in the answer
    err : a descriptor that takes what it says, and that it holds until its end

    Raises
    ------
    BackendError
        If it does not end within `within_s` seconds; it was killed then.
    """
    # Files, not pipes: what a program leaves running in the background may keep a pipe open for ever.
    with tempfile.TemporaryFile() as own_out, tempfile.TemporaryFile() as own_err:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=directory,
                stdin=stdin or subprocess.DEVNULL,
                stdout=out or own_out,
                stderr=own_err if err is None else err,
                # Ctrl-C is for the campaign and must not cut a submission in two.
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            return Answer(CANNOT_RUN[1 if missing else 0], "", f"{error.filename or command[0]}: {error.strerror}")
        try:
            status = process.wait(within_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise BackendSilent(f"{_name(command)} did not answer within {within_s:g} s") from None
        return Answer(status, _text(own_out.fileno()), _text(own_err.fileno() if err is None else err))


def _name(command: Sequence[str]) -> str:
    """The program's name, past what `env` is told."""
    words = list(command)
    if words[0] == "env":
        del words[0]
        while words[0] == "-u" or "=" in words[0]:
            del words[: 2 if words[0] == "-u" else 1]
    return words[0]


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode(errors="replace")


class ThisHost:
    """The batch system's commands are on this machine, which shares its files with the compute nodes."""

    def run(self, command: Sequence[str], within_s: float) -> Answer:
        """As `Host.run`."""
        return run_program(command, within_s)

    def put(self, directory: Path, name: str, within_s: float) -> None:
        """The directory is there."""

    def gather(self, directory: Path, name: str, jobs: Sequence[tuple[Path, str]], within_s: float) -> None:  # noqa: ARG002
        """As `Host.gather`."""
        try:
            for number, (job, _) in enumerate(jobs):
                (directory / str(number)).unlink(missing_ok=True)
                (directory / str(number)).symlink_to(job, target_is_directory=True)
        except OSError as error:
            raise BackendError(f"cannot link the jobs of {directory}: {error.strerror}") from error

    def launch(self, directory: Path, name: str, command: Sequence[str], lock: int, within_s: float) -> Answer:  # noqa: ARG002
        """As `Host.launch`: the command inherits the locked file as its standard error."""
        return run_program(command, within_s, directory=directory, err=lock)

    def recall(self, directory: Path, name: str, within_s: float) -> bool:  # noqa: ARG002
        """As `Host.recall`: the caller has the lock, so no launch is on its way."""
        return (directory / "started").exists()

    def fetch(self, directory: Path, name: str, within_s: float) -> None:
        """All is here."""
