"""A Dask cluster on the loopback, each part a process of its own that a test may kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from active_learning.testing.waiting import wait_for

_DASK = [sys.executable, "-m", "dask"]


@dataclass
class Cluster:
    """A scheduler and its workers, which have one thread each unless said otherwise."""

    folder: Path
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(json.loads((self.folder / "scheduler.json").read_text())["address"])

    def add_worker(self, threads: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker; it comes to the scheduler when it is ready."""
        own = self.folder / f"worker-{len(self.workers)}"
        command = [*_DASK, "worker", *_common(self.folder), "--nthreads", str(threads), "--no-nanny"]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([*command, "--local-directory", str(own)], stdout=log, stderr=log)
        self.workers.append(process)
        return process

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()


def _common(folder: Path) -> list[str]:
    return ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(folder / "scheduler.json")]


@contextmanager
def dask_cluster(folder: Path, *threads: int) -> Iterator[Cluster]:
    """A scheduler and a worker for each number of threads."""
    with (folder / "log").open("ab") as log:
        scheduler = subprocess.Popen([*_DASK, "scheduler", *_common(folder), "--port", "0"], stdout=log, stderr=log)
    cluster = Cluster(folder, scheduler)
    try:
        wait_for("the scheduler", (folder / "scheduler.json").exists, 120)
        for number in threads:
            cluster.add_worker(number)
        yield cluster
    finally:
        cluster.close()
