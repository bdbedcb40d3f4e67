"""The user's local Prefect server: found, started, waited for, stopped.

If the environment or the user's Prefect profile names a server, that one is used and never stopped. Otherwise one
server a user is run on the loopback interface, with a home of its own that is kept, so that the UI's history stays.
The last campaign to leave stops it, unless somebody asked for it to be kept. Knows nothing of campaigns.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from active_learning.errors import BackendError

__all__ = ["Server", "ServerAway", "find_or_start", "prefect_server", "server_answers", "stop_kept"]

_PORT = 4200
_START_S = 180.0
_STOP_S = 15.0

# Nothing is sent anywhere; the console is for the campaign's own lines (Prefect's go to the UI).
_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    # A server that is gone is noticed in a minute, not in five: nothing is lost by giving up.
    "PREFECT_CLIENT_MAX_RETRIES": "3",
}


@dataclass(frozen=True)
class Server:
    """Where a Prefect server answers; `is_ours` if Motherlode started it."""

    api: str
    is_ours: bool

    @property
    def ui(self) -> str:
        """The address for a browser."""
        return self.api.removesuffix("/api")


class ServerAway(BackendError):
    """A Prefect server that should answer does not."""


def _home() -> Path:
    root = os.environ.get("MOTHERLODE_HOME") or os.environ.get("XDG_DATA_HOME")
    folder = Path(root).expanduser() if root else Path.home() / ".local" / "share"
    return folder / ("prefect" if os.environ.get("MOTHERLODE_HOME") else "motherlode/prefect")


def _configured() -> str | None:
    """The server that the environment or the active Prefect profile names. Read without importing Prefect."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    profiles = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect")) / "profiles.toml"
    if not profiles.is_file():
        return None
    try:
        loaded = tomllib.loads(profiles.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BackendError(f"Prefect's profiles in {profiles} cannot be read: {error}.") from error
    active = os.environ.get("PREFECT_PROFILE") or loaded.get("active")
    url = loaded.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return str(url) if url else None


def _answers(api: str, timeout_s: float = 2.0) -> bool:
    try:
        with urllib.request.urlopen(f"{api.rstrip('/')}/health", timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        # No answer; no address ("localhost"); something else than a web server answers.
        return False


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One process at a time starts or stops the server."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _process(home: Path) -> tuple[psutil.Process, Server] | None:
    """The server's process that was started from this home, if it lives."""
    try:
        noted = json.loads((home / "server.json").read_text())
        process = psutil.Process(noted["pid"])
        # Process ids are used again.
        is_it = abs(process.create_time() - noted["started"]) <= 2.0 and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, KeyError, psutil.NoSuchProcess):
        return None
    return (process, Server(noted["api"], is_ours=True)) if is_it else None


def _running(home: Path) -> Server | None:
    """The server that was started from this home, once it answers; one that is silent for long is ended.

    Never a second one beside a living one: both would write to the same database, and only one would be stopped.
    """
    deadline = time.monotonic() + _START_S
    while (found := _process(home)) is not None:
        process, server = found
        if _serves(process.pid, server):
            return server
        if time.monotonic() > deadline:
            _stop(home)
        time.sleep(0.2)
    return None


def _is_free(port: int) -> int | None:
    """The port, or the one that the system chooses for 0; None if somebody has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _start(home: Path) -> Server:
    """A new server. Somebody else may be quicker to take the port that was free; then there is another one."""
    while True:
        port = _is_free(_PORT) or _is_free(0)
        if port is None:
            raise BackendError("No port is free on 127.0.0.1 for the Prefect server.")
        server = Server(f"http://127.0.0.1:{port}/api", is_ours=True)
        process = _launch(home, server, port)
        try:
            if _comes_up(home, server, process, port):
                return server
        except BaseException:
            _stop(home)
            raise


def _launch(home: Path, server: Server, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    # The pages ask this address; left to itself the server tells them port 4200, wherever it listens.
    ui = {"PREFECT_UI_API_URL": server.api, "PREFECT_SERVER_UI_API_URL": server.api}
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    with (home / "server.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment | _ENVIRONMENT | {"PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "WARNING"} | ui,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    noted = {"pid": process.pid, "started": psutil.Process(process.pid).create_time(), "api": server.api}
    (home / "server.json").write_text(json.dumps(noted))
    return process


def _comes_up(home: Path, server: Server, process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; False if it ended because its port is another's."""
    deadline = time.monotonic() + _START_S
    while not _serves(process.pid, server):
        is_over = process.poll() is not None
        if is_over and _is_free(port) is None:
            return False
        if is_over or time.monotonic() > deadline:
            log = home / "server.log"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise BackendError(
                f"The local Prefect server did not start; the end of {log}:\n{tail}\n"
                "Without Prefect the same campaign runs with: motherlode run FILE --no-prefect"
            )
        time.sleep(0.2)
    return True


def _serves(pid: int, server: Server) -> bool:
    """Whether the server answers, and is this process: on its port a stranger may answer."""
    if not _answers(server.api):
        return False
    try:
        process = psutil.Process(pid)
        sockets = [one for p in (process, *process.children(recursive=True)) for one in p.net_connections(kind="tcp")]
    except psutil.NoSuchProcess:
        return False
    port = urllib.parse.urlsplit(server.api).port
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)


def _stop(home: Path) -> None:
    if (found := _process(home)) is not None:
        process, _server = found
        family = [process, *process.children(recursive=True)]
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
            except ProcessLookupError:
                break
            _gone, family = psutil.wait_procs(family, timeout=_STOP_S)
            if not family:
                break
    (home / "server.json").unlink(missing_ok=True)
    (home / "kept").unlink(missing_ok=True)


def _users(home: Path) -> list[Path]:
    """Marks of living processes that use the server; those of dead ones are removed."""
    living = []
    for mark in (home / "users").glob("*"):
        try:
            is_it = abs(psutil.Process(int(mark.name)).create_time() - float(mark.read_text())) <= 2.0
        except (psutil.NoSuchProcess, ValueError):
            is_it = False
        if is_it:
            living.append(mark)
        else:
            mark.unlink(missing_ok=True)
    return living


def find_or_start(*, keep: bool) -> Server:
    """The configured server, or the local one, started if need be and (with `keep`) left for later.

    Raises
    ------
    BackendError
        If a configured server does not answer, or the local one does not start.
    """
    if (configured := _configured()) is not None:
        if not _answers(configured, timeout_s=10.0):
            raise ServerAway(
                f"The Prefect server at {configured} (from PREFECT_API_URL or your Prefect profile) does not answer."
                " Start it, unset PREFECT_API_URL to have a local one, or run with --no-prefect."
            )
        return Server(configured, is_ours=False)
    home = _home()
    with _locked(home):
        server = _running(home)
        if server is None:
            # One that was kept and died (the machine was switched off) is not wanted for ever.
            (home / "kept").unlink(missing_ok=True)
            server = _start(home)
        if keep:
            (home / "kept").touch()
        (home / "users").mkdir(exist_ok=True)
        (home / "users" / str(os.getpid())).write_text(str(psutil.Process().create_time()))
    return server


def server_answers() -> bool:
    """Whether the configured server answers; the local one can always be started."""
    configured = _configured()
    return configured is None or _answers(configured, timeout_s=10.0)


def _leave(*, keep: bool) -> None:
    home = _home()
    with _locked(home):
        (home / "users" / str(os.getpid())).unlink(missing_ok=True)
        if not (keep or (home / "kept").exists() or _users(home)):
            _stop(home)


def stop_kept() -> bool:
    """Stop the local server that was kept; False if there is none."""
    home = _home()
    with _locked(home):
        running = _process(home)
        _stop(home)
        return running is not None


@contextmanager
def prefect_server(*, keep: bool) -> Iterator[Server]:
    """A Prefect server for the length of the block; this process's Prefect talks to it.

    Enter it before Prefect is imported: Prefect reads its environment then.
    """
    server = find_or_start(keep=keep)
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    before = os.environ.get("PREFECT_API_URL")
    os.environ["PREFECT_API_URL"] = server.api
    try:
        yield server
    finally:
        if before is None:
            del os.environ["PREFECT_API_URL"]
        else:
            os.environ["PREFECT_API_URL"] = before
        if server.is_ours:
            _leave(keep=keep)
