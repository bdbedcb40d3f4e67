"""The services of docker/compose.yaml without a Docker engine: the same image, commands, environment and secrets.

PostgreSQL is this machine's. There is one network, this machine's, so hosts and ports of the file become addresses on
loopback. Nothing else of the file is changed.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml  # type: ignore[import-untyped]
from container_image import ROOT, Container, Image, programs_of
from postgresql_server import PostgresqlServer, running_postgresql

from active_learning.testing.waiting import wait_for

__all__ = ["COMPOSE", "Service", "Stack", "composed", "running_stack", "secrets_as_documented"]

COMPOSE = ROOT / "docker" / "compose.yaml"
_USER = 10001
_PATIENCE_S = 300.0


def composed() -> dict[str, Any]:
    """The compose file, with the defaults of its variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def secrets_as_documented(folder: Path) -> Path:
    """Make the secrets with the commands of docs/containers.md; where they are."""
    page = (ROOT / "docs" / "containers.md").read_text()
    (script,) = re.findall(r"^```bash\n(mkdir -m 700 docker/secrets\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (folder / "docker").mkdir()
    subprocess.run(["bash", "-euc", script], cwd=folder, check=True, timeout=60)
    return folder / "docker" / "secrets"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """A service of compose.yaml, at work in a container of its own."""

    container: Container
    env: dict[str, str]
    volumes: dict[Path, str]
    log: Path
    process: subprocess.Popen[bytes]

    def programs(self) -> list[psutil.Process]:
        """Its processes."""
        return programs_of(self.process)

    def execute(self, *command: str, limit_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """`docker compose exec`."""
        return self.container.run(*command, env=self.env, volumes=self.volumes, limit_s=limit_s)

    def is_healthy(self) -> bool:
        """What the health check of the image says."""
        kind, *test = self.container.image.configuration["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(*test).returncode == 0


@dataclass
class Stack:
    """All of it."""

    folder: Path
    secrets: Path
    postgresql: PostgresqlServer
    ports: dict[str, int]
    services: dict[str, Service] = field(default_factory=dict)

    @property
    def campaigns(self) -> Path:
        """The volume of campaigns."""
        return self.folder / "campaigns"

    def secret(self, name: str) -> str:
        """A secret's content."""
        return (self.secrets / name).read_text().strip()

    def password(self, name: str) -> bytes:
        """The part of a secret that nobody may see."""
        return self.secret(name).rpartition(":")[2].encode()

    def superuser(self, program: str, *arguments: str, given: bytes | None = None) -> bytes:
        """What a program of PostgreSQL prints for the superuser."""
        where = ("--host=127.0.0.1", f"--port={self.postgresql.port}", "--username=postgres")
        password = {"PGPASSWORD": self.secret("postgres")}
        done = subprocess.run(
            [program, *where, *arguments], input=given, env=os.environ | password, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def psql(self, user: str, secret: str, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """PostgreSQL's client, as a user with a secret for a password."""
        where = ("--host=127.0.0.1", f"--port={self.postgresql.port}", f"--username={user}", f"--dbname={database}")
        return subprocess.run(
            ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", *where, *arguments],
            env=os.environ | {"PGPASSWORD": self.secret(secret)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def here(self, value: str) -> str:
        """A value of the environment, with addresses of this machine for those of the file's network."""
        database = f"127.0.0.1:{self.postgresql.port}"
        for there, instead in {
            "postgres:5432:": f"{database}:",
            "http://server:4200": f"http://127.0.0.1:{self.ports['server']}",
            "http://127.0.0.1:4200": f"http://127.0.0.1:{self.ports['server']}",
        }.items():
            value = value.replace(there, instead)
        whole = {"postgres": "127.0.0.1", "5432": str(self.postgresql.port), "4200": str(self.ports["server"])}
        return (whole | {"0.0.0.0": "127.0.0.1"}).get(value, value)

    def start(self, name: str, container: Container) -> Service:
        """Start a service, and wait for its health."""
        told = composed()["services"][name]
        home = self.folder / f"{name}-home"
        home.mkdir(mode=0o700)
        os.chown(home, _USER, _USER)
        env = {key: self.here(value) for key, value in told["environment"].items()}
        health = env.get("MOTHERLODE_HEALTH_URL", container.image.variables["MOTHERLODE_HEALTH_URL"])
        env["PREFECT_WORKER_WEBSERVER_PORT"] = str(self.ports["worker"])
        env["MOTHERLODE_HEALTH_URL"] = health.replace(":8080/", f":{self.ports['worker']}/")
        volumes = {self.secrets / secret: f"/run/secrets/{secret}:ro" for secret in told["secrets"]}
        volumes |= {home: "/home/motherlode"}
        if name == "worker":
            volumes |= {self.campaigns: "/campaigns"}
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = container.start(told["command"], env, volumes, file)
        service = self.services[name] = Service(container, env, volumes, log, process)
        wait_for(f"{name} to be healthy", lambda: service.is_healthy() or self._is_over(service), _PATIENCE_S)
        return service

    def _is_over(self, service: Service) -> bool:
        assert service.process.poll() is None, service.log.read_text()
        return False


@contextmanager
def running_stack(folder: Path, image: Image) -> Iterator[Stack]:
    """PostgreSQL with its two databases, the server and the worker, in the order of the file."""
    with ExitStack() as exits:
        folder.chmod(0o755)
        (folder / "pg").mkdir()
        postgresql = exits.enter_context(running_postgresql(folder / "pg"))
        stack = Stack(
            folder, secrets_as_documented(folder), postgresql, {"server": _free_port(), "worker": _free_port()}
        )
        (stack.secrets / "postgres").unlink()
        (stack.secrets / "postgres").write_text(postgresql.password)
        stack.campaigns.mkdir(mode=0o700)
        os.chown(stack.campaigns, _USER, _USER)
        script = (ROOT / "docker" / "databases.sql").read_text().replace("/run/secrets/", f"{stack.secrets}/")
        (folder / "databases.sql").write_text(script)
        done = stack.psql("postgres", "postgres", "postgres", f"--file={folder / 'databases.sql'}")
        assert done.returncode == 0, done.stderr
        for name in ("server", "worker"):
            stack.start(name, exits.enter_context(image.container()))
        yield stack
