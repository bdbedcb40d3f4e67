"""A real PostgreSQL on the loopback interface, in a folder of its own, with a password."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PostgresqlServer", "running_postgresql", "what_is_missing"]

_USER = "postgres"


def _programs() -> Path | None:
    """Where `initdb` and `pg_ctl` are: Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def what_is_missing() -> str | None:
    """What keeps PostgreSQL from being started here; None if nothing does."""
    if _programs() is None:
        return "not installed: initdb (Debian: postgresql)"
    if os.geteuid() == 0 and _USER not in {one.pw_name for one in pwd.getpwall()}:
        return f"PostgreSQL does not run as root, and there is no user {_USER}"
    return None


@dataclass
class PostgresqlServer:
    """A server; `url` has no password, `environment` has."""

    folder: Path
    port: int = 0
    password: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def url(self) -> str:
        """Of its database, as a campaign file has it."""
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self.port}/postgres"

    @property
    def environment(self) -> dict[str, str]:
        """The password, where the client looks for it."""
        return {"PGPASSWORD": self.password}

    def run(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's own programs, as the user it runs as."""
        folder = _programs()
        assert folder is not None
        user = _USER if os.geteuid() == 0 else None
        command = [str(folder / program), *arguments]
        done = subprocess.run(command, user=user, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        """Start it; return when it answers."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.folder}"
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, as a power failure would."""
        self.run("pg_ctl", "-D", "data", "-m", "immediate", "stop")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_postgresql(folder: Path) -> Iterator[PostgresqlServer]:
    """A server in `folder`, stopped at the end."""
    server = PostgresqlServer(folder, _free_port())
    password = folder / "password"
    password.write_text(server.password)
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, _USER)
        shutil.chown(password, _USER)
    server.run("initdb", "-D", "data", "-A", "scram-sha-256", "--pwfile", "password", "-U", _USER, "--no-sync")
    server.start()
    try:
        yield server
    finally:
        server.stop()
