"""A Prefect server and a worker of a test's own, each of which can be killed and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

PATIENCE_S = 300.0
_OVERLOADED = 503

_HASTE = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",  # a minute otherwise
    "PREFECT_WORKER_QUERY_SECONDS": "2",  # ten seconds otherwise
}
"""For tests only: server and worker look more often than they do by themselves."""


class Team:
    """A Prefect server with a home of its own, as `motherlode` starts it, and a worker of the pool."""

    def __init__(self, folder: Path, motherlode: Any) -> None:
        self.environment = {
            "MOTHERLODE_HOME": str(folder / "home"),
            "PREFECT_HOME": str(folder / "none"),
            "PREFECT_API_URL": "",
            **_HASTE,
        }
        self._folder = folder
        self._motherlode = motherlode
        self._worker: subprocess.Popen[bytes] | None = None

    def command(self, *argv: object) -> Any:
        """A command of Motherlode's, with this server as the user's own."""
        return self._motherlode.cold(*argv, cwd=self._folder, env=self.environment).wait(PATIENCE_S)

    @property
    def _noted(self) -> dict[str, Any]:
        noted: dict[str, Any] = json.loads((self._folder / "home" / "prefect" / "server.json").read_text())
        return noted

    @property
    def api(self) -> str:
        """The address of the server's API; what stands before its ``/api`` is the UI."""
        return str(self._noted["api"])

    @property
    def worker_log(self) -> Path:
        """All that the worker and its runs print."""
        return self._folder / "worker.log"

    def post(self, path: str, **body: Any) -> Any:
        """What the UI does when somebody presses a button. An overloaded server says 503: asked again, for a while."""
        request = urllib.request.Request(
            f"{self.api}/{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                if error.code != _OVERLOADED or time.monotonic() > deadline:
                    raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error
            time.sleep(1)

    def ask(self, what: str, **wanted: Any) -> list[dict[str, Any]]:
        """What Prefect's API knows: the first 200 of a kind."""
        found: list[dict[str, Any]] = self.post(f"{what}/filter", **wanted, limit=200)
        return found

    def prefect(self, *argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Prefect's own command."""
        return subprocess.run(
            [sys.executable, "-m", "prefect", *map(str, argv)],
            env=self._clients | environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def _clients(self) -> dict[str, str]:
        return os.environ | self.environment | {"PREFECT_API_URL": self.api}

    def start_worker(self) -> None:
        """As README says."""
        with self.worker_log.open("ab") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", "motherlode", "--limit", "4"],
                env=self._clients,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill_worker(self) -> None:
        """With every flow run that it has started, as when its machine goes down."""
        assert self._worker is not None
        worker = psutil.Process(self._worker.pid)
        for process in (worker, *worker.children(recursive=True)):
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue  # it ended by itself meanwhile
        self._worker.wait()
        self._worker = None

    def kill_server(self) -> None:
        """It forgets nothing that it had written."""
        server = psutil.Process(self._noted["pid"])
        for process in (server, *server.children(recursive=True)):
            process.kill()

    def close(self) -> None:
        """End both."""
        if self._worker is not None:
            self.kill_worker()
        self.command("ui", "--stop")
