"""A machine that is reached by the system's `ssh`: commands are run there, job directories go there and come back.

Whom to trust and with which key is OpenSSH's own affair: the user's agent, configuration and known hosts. Nothing is
ever asked: a host whose key is not known, or not the one that is known, is not spoken to.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from active_learning.errors import BackendError
from active_learning.submitters.batch.hosts import Answer, run_program
from active_learning.submitters.batch.script import SCRIPT
from active_learning.submitters.batch.staging import pack, unpack

__all__ = ["SshHost"]

_BUSY, _ABSENT, _STARTED = 77, 66, 76
_SSH_FAILED = 255
_SHARED_FOR_S = 60
_LONGEST_SOCKET = 100

# Run by `sh -c` over there. They are constant; what varies comes as arguments: $1 is a folder, $2 a job's name. Each is
# one line, which every login shell hands on as it is.
_IN = 'umask 077; cd -- "$1" && shift && exec "$@"'
_PUT = "; ".join(
    [
        'umask 077; mkdir -p -- "$1" && cd -- "$1" || exit',
        f'[ ! -e "$2/started" ] || exit {_STARTED}',
        f'if [ -d "$2" ]; then flock -n -E {_BUSY} "$2/submitting" true || exit; fi',
        'rm -rf -- "$2.new" && mkdir -- "$2.new" && tar --no-same-owner -xf - -C "$2.new" || exit',
        f'[ -f "$2.new/{SCRIPT}" ] || {{ echo "not all files of the job arrived" >&2; exit 1; }}',
        'rm -rf -- "$2" && mv -- "$2.new" "$2"',
    ]
)
_GATHER = "; ".join(
    [
        'umask 077; cd -- "$1" && rm -rf -- "$2" && mkdir -- "$2" && cd -- "$2" || exit',
        f"cat > {SCRIPT} || exit",
        'shift 2; i=0; for name in "$@"; do ln -s -- "../$name" "$i" || exit; i=$((i + 1)); done',
    ]
)
_RECALL = "; ".join(
    [
        f'[ -d "$1/$2" ] || exit {_ABSENT}',
        f'cd -- "$1/$2" && flock -n -E {_BUSY} submitting rm -f {SCRIPT} || exit',
        "[ ! -e started ] || echo started",
    ]
)
_FETCH = f'[ -d "$1/$2" ] || exit {_ABSENT}; exec tar -cf - -C "$1/$2" .'


class SshHost:
    """A host behind `ssh`.

    Parameters
    ----------
    host : as `ssh` takes it: "cluster", "user@cluster", a name of the user's ssh configuration
    directory : there; jobs have their directories in it. Relative to the user's home if it is not absolute
    identity_file : a private key; without it, the agent's keys and the usual ones
    ssh_config : instead of the user's own configuration
    """

    def __init__(
        self,
        host: str,
        directory: str,
        *,
        port: int | None = None,
        identity_file: Path | None = None,
        ssh_config: Path | None = None,
    ) -> None:
        self._host, self._directory = host, directory
        self._arguments = ["-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"]
        # A connection that died silently is noticed after a minute.
        self._arguments += ["-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
        if ssh_config is not None:
            self._arguments += ["-F", str(ssh_config)]
        if port is not None:
            self._arguments += ["-p", str(port)]
        if identity_file is not None:
            self._arguments += ["-i", str(identity_file), "-o", "IdentitiesOnly=yes"]

    def run(self, command: Sequence[str], within_s: float) -> Answer:
        """As `Host.run`."""
        return self._ssh(command, within_s)

    def put(self, directory: Path, name: str, within_s: float) -> None:
        """As `Host.put`: into a new directory there, which gets its name once it is whole."""
        with tempfile.TemporaryFile() as archive:
            pack(directory, archive)
            archive.seek(0)
            answer = self._script(_PUT, name, within_s, stdin=archive)
        if answer.status == _BUSY:
            raise BackendError(f"an earlier submission of {name} is still on its way at {self._host}")
        if answer.status == _STARTED:
            raise BackendError(f"{name} ran at {self._host} before; a job runs once")
        if answer.status != 0:
            raise BackendError(f"cannot bring {name} to {self._host}: {answer.said}")

    def gather(self, directory: Path, name: str, jobs: Sequence[tuple[Path, str]], within_s: float) -> None:
        """As `Host.gather`."""
        with (directory / SCRIPT).open("rb") as script:
            names = [job_name for _, job_name in jobs]
            answer = self._script(_GATHER, name, within_s, *names, stdin=script)
        if answer.status != 0:
            raise BackendError(f"cannot link the jobs of {name} at {self._host}: {answer.said}")

    def launch(self, directory: Path, name: str, command: Sequence[str], lock: int, within_s: float) -> Answer:  # noqa: ARG002
        """As `Host.launch`: `ssh` has the locked file here, and `flock` one over there."""
        there = f"{self._directory}/{name}"
        # `env` says of a program that is not there what a shell says.
        held = ["flock", "-n", "-E", str(_BUSY), "submitting", "env", *command]
        answer = self._ssh(["sh", "-c", _IN, "sh", there, *held], within_s, err=lock)
        if answer.status == _BUSY:
            raise BackendError(f"an earlier submission of {name} is still on its way at {self._host}")
        return answer

    def recall(self, directory: Path, name: str, within_s: float) -> bool:  # noqa: ARG002
        """As `Host.recall`: without its script, a launch that is late has nothing to submit."""
        answer = self._script(_RECALL, name, within_s)
        if answer.status == _BUSY:
            raise BackendError(f"the submission of {name} is still on its way at {self._host}")
        if answer.status not in (0, _ABSENT):
            raise BackendError(f"{self._host} does not say whether {name} ever started: {answer.said}")
        return answer.out.split()[-1:] == ["started"]

    def fetch(self, directory: Path, name: str, within_s: float) -> None:
        """As `Host.fetch`. A directory that is not there any more has nothing to give."""
        if (directory / "exit_code").exists():
            return
        with tempfile.TemporaryFile() as archive:
            answer = self._script(_FETCH, name, within_s, out=archive)
            if answer.status == _ABSENT:
                return
            if answer.status != 0:
                raise BackendError(f"cannot fetch {name} from {self._host}: {answer.said}")
            archive.seek(0)
            unpack(archive, directory)

    def _script(
        self,
        script: str,
        name: str,
        within_s: float,
        *rest: str,
        stdin: IO[bytes] | None = None,
        out: IO[bytes] | None = None,
    ) -> Answer:
        return self._ssh(["sh", "-c", script, "sh", self._directory, name, *rest], within_s, stdin=stdin, out=out)

    def _ssh(
        self,
        command: Sequence[str],
        within_s: float,
        *,
        stdin: IO[bytes] | None = None,
        out: IO[bytes] | None = None,
        err: int | None = None,
    ) -> Answer:
        arguments = ["ssh", *self._arguments, *self._sharing(), "--", self._host, shlex.join(command)]
        answer = run_program(arguments, within_s, stdin=stdin, out=out, err=err)
        if answer.status == _SSH_FAILED:
            raise BackendError(f"cannot reach {self._host} by ssh: {answer.said}")
        return answer

    def _sharing(self) -> list[str]:
        """One connection for all, kept for a minute: a look at the queue then costs no new login."""
        runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        folder = Path(runtime, f"motherlode-ssh-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise BackendError(f"{folder} must be a folder of yours that nobody else can enter (mode 0700)")
        key = hashlib.sha256("\0".join([*self._arguments, self._host]).encode(errors="surrogatepass")).hexdigest()[:16]
        socket = str(folder / key)
        # ssh adds 17 characters while it makes the socket, whose path has 108 at most; then each command logs in.
        if len(socket.encode(errors="surrogatepass")) + 17 > _LONGEST_SOCKET:
            return ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        path = socket.replace("%", "%%")
        return ["-o", "ControlMaster=auto", "-o", f"ControlPath={path}", "-o", f"ControlPersist={_SHARED_FOR_S}"]
