"""A real sshd on the loopback interface with keys of its own, and the configuration of a client that knows it."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SshServer", "running_sshd", "what_is_missing"]

_PATIENCE_S = 60.0
_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey "{folder}/host_key"
AuthorizedKeysFile "{folder}/authorized_keys"
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
MaxStartups 100
MaxSessions 100
"""
_CLIENT = """\
Host cluster
    HostName 127.0.0.1
    Port {port}
    User {user}
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile /dev/null
    IdentityFile "{folder}/user_key"
    IdentitiesOnly yes
"""


def what_is_missing() -> str | None:
    """What keeps sshd from being started here; None if nothing does."""
    if os.geteuid() != 0:
        return "sshd is started as root here, and this is another user"
    absent = [
        name for name in ("sshd", "ssh", "ssh-keygen", "flock", "tar") if shutil.which(name, path=_path()) is None
    ]
    return f"not installed: {', '.join(absent)} (Debian: openssh-server, openssh-client)" if absent else None


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass
class SshServer:
    """An sshd in a folder, and the files of a client: `config`, `user_key`, `known_hosts`.

    Parameters
    ----------
    folder : empty
    variables : the environment of those who log in
    """

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    _daemon: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        """Configuration of a client, to whom the server is the host "cluster"."""
        return self.folder / "config"

    @property
    def user_key(self) -> Path:
        """A private key that may log in."""
        return self.folder / "user_key"

    @property
    def known_hosts(self) -> Path:
        """What the client knows of the server's key."""
        return self.folder / "known_hosts"

    def prepare(self) -> None:
        """Make keys and configurations."""
        for name in ("host_key", "user_key", "other_key"):
            arguments = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name)]
            subprocess.run(arguments, check=True, timeout=_PATIENCE_S)
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = int(sock.getsockname()[1])
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        lines = [f"SetEnv {' '.join(f'{key}={value}' for key, value in self.variables.items())}\n"]
        server = _SERVER.format(folder=self.folder, port=self.port) + "".join(lines if self.variables else [])
        (self.folder / "sshd_config").write_text(server, encoding="utf-8")
        client = _CLIENT.format(folder=self.folder, port=self.port, user=getpass.getuser())
        self.config.write_text(client, encoding="utf-8")
        self.know("host_key")

    def know(self, key: str) -> None:
        """Let the client hold this key for the server's."""
        public = (self.folder / f"{key}.pub").read_text(encoding="utf-8")
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}", encoding="utf-8")

    def start(self) -> None:
        """Start sshd and wait until it listens."""
        # Where sshd of a distribution locks itself in before a login; its service makes it, and there is none here.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        program = shutil.which("sshd", path=_path())
        assert program is not None
        with (self.folder / "sshd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [program, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _PATIENCE_S
        while not self._listens():
            if self._daemon.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"sshd did not start\n{(self.folder / 'sshd.log').read_text(errors='replace')}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End sshd and all connections to it."""
        if self._daemon is not None:
            for pid in [*_descendants(self._daemon.pid), self._daemon.pid]:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue
            self._daemon.wait()
            self._daemon = None


def _descendants(pid: int) -> list[int]:
    """Processes of sshd below this one, and of those who logged in."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, generation = [], {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        found += sorted(generation)
    return found


@contextmanager
def running_sshd(folder: Path, variables: Mapping[str, str]) -> Iterator[SshServer]:
    """An sshd that runs until the block is left."""
    server = SshServer(folder, variables)
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.stop()
