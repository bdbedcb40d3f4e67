"""Featurizing and scoring on a real Dask cluster of two workers, of which one is killed in the middle."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from active_learning.testing.waiting import is_alive, wait_for

N_CANDIDATES = 51_200
"""So many that predictions are dealt out, too."""
CHUNK = 128

_OWN = """
import os
import time

import numpy as np

from active_learning.domain import options
from active_learning.domain.candidate import Candidate
from active_learning.domain.protocols import FeatureBlock


class Grid:
    class Options(options.Options):
        n: int

    def __init__(self, options):
        self.options = options

    def read(self):
        for i in range(self.options.n):
            a, b = 1 + i % 256, 1 + i // 256
            yield Candidate({"Al": a / 1000, "Cu": b / 1000, "Ni": (1000 - a - b) / 1000}, origin=f"row {i}")


class _Part:
    label, of_composition, is_batched, names = "slow", False, True, ("a", "b")

    def __init__(self, options):
        self.options = options

    def featurize(self, candidates):
        if len(candidates) > 1:  # not the one it warms up with
            handle = os.open(self.options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(handle, f"{candidates[0].id} {os.environ.get('WHO')}\\n".encode())
            os.close(handle)
            time.sleep(self.options.seconds)
        return FeatureBlock(np.array([[c.amounts.get("Al", 0.0), c.amounts.get("Cu", 0.0)] for c in candidates]))


class Slow:
    class Options(options.Options):
        log: str
        seconds: float

    def __init__(self, options):
        self.parts, self.names = (_Part(options),), ("a", "b")

    def featurize(self, candidates):
        return self.parts[0].featurize(candidates)
"""


@dataclass(frozen=True)
class Cluster:
    """A scheduler and its workers, as processes of their own."""

    address: str
    workers: dict[str, subprocess.Popen[bytes]]


@pytest.fixture
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray cluster of this machine, as a user starts it; its address."""
    pytest.importorskip("prefect_ray", reason="the extra 'ray' is not installed")
    # A token would be kept in the home of whoever runs the tests.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    port = _free_port()
    options = ["--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2", "--include-dashboard", "false"]
    subprocess.run([*ray, "start", "--head", *options, "--disable-usage-stats"], check=True, capture_output=True)
    yield f"127.0.0.1:{port}"
    subprocess.run([*ray, "stop", "--force"], check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """What a user starts: one `dask scheduler`, two `dask worker`, all on the loopback."""
    file, log = tmp_path / "scheduler.json", (tmp_path / "dask.log").open("wb")
    dask = [sys.executable, "-m", "dask"]
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    started = [subprocess.Popen([*dask, "scheduler", *common, "--port", "0"], stdout=log, stderr=log)]
    wait_for("the scheduler", file.exists, 60)
    workers = {}
    for who in ("first", "second"):
        command = ["env", f"WHO={who}", *dask, "worker", *common, "--nthreads", "1", "--no-nanny"]
        command += ["--local-directory", str(tmp_path / who)]
        workers[who] = subprocess.Popen(command, stdout=log, stderr=log)
    started += workers.values()
    yield Cluster(json.loads(file.read_text())["address"], workers)
    for process in reversed(started):
        process.kill()
        process.wait()
    log.close()


def _begun(log: Path) -> list[tuple[str, str]]:
    return [(chunk, who) for chunk, who in map(str.split, log.read_text().splitlines())] if log.exists() else []


@pytest.mark.slow
def test_a_campaign_on_a_dask_cluster_goes_on_when_a_worker_is_killed(
    motherlode: Any, prefect_home: dict[str, str], write_campaign: Any, cluster: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "begun"
    path = write_campaign(
        tmp_path / "here",
        target={"property": "energy", "goal": "minimize"},
        pool={"kind": "cluster_plugins:Grid", "n": N_CANDIDATES},
        features={"kind": "cluster_plugins:Slow", "log": str(log), "seconds": 0.02},
        rounds={"initial": 4, "batch_size": 2, "max_in_flight": 2},
        labeler={"kind": "active_learning.testing.fakes:FakeLabeler"},
        stopping={"any": [{"kind": "labels", "max": 6}]},
        execution={"runner": "dask", "address": cluster.address},
    )
    (path.parent / "cluster_plugins.py").write_text(_OWN, encoding="utf-8")
    # A command of its own: what Prefect and Dask import must not stay in the process that starts the others.
    run = motherlode.cold("run", path, cwd=path.parent, env=prefect_home)
    run.until(lambda: {who for _, who in _begun(log)} == {"first", "second"}, "both workers at work", 120)
    run.until(lambda: len(_begun(log)) > 100, "a quarter of the chunks", 120)
    victim = cluster.workers["first"]
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    n_at_the_kill = len(_begun(log))
    end = run.wait(300)
    assert end.status == 0, end.err
    status = json.loads(motherlode("status", path, "--json", cwd=path.parent).out)
    assert (status["n_candidates"], status["n_labels"], status["stop_rule"]) == (N_CANDIDATES, 6, "labels")
    begun = _begun(log)
    times = Counter(chunk for chunk, _ in begun)
    assert len(times) == N_CANDIDATES // CHUNK
    twice = [chunk for chunk, n in times.items() if n > 1]
    # Only what the victim had in hand is computed again.
    assert len(twice) <= 1, twice
    assert max(times.values()) <= 2
    assert {who for _, who in begun[n_at_the_kill + 1 :]} == {"second"}
    assert is_alive(cluster.workers["second"].pid)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["dask", "ray"])
def test_a_small_campaign_runs_where_execution_says(
    runner: str, motherlode: Any, prefect_home: dict[str, str], write_campaign: Any, request: Any, tmp_path: Path
) -> None:
    execution = {"runner": runner, "workers": 2}
    if runner == "ray":
        execution["address"] = request.getfixturevalue("ray_cluster")
    log = tmp_path / "begun"
    path = write_campaign(
        tmp_path / "here",
        features={"kind": "cluster_plugins:Slow", "log": str(log), "seconds": 0.1},
        stopping={"any": [{"kind": "labels", "max": 6}]},
        execution=execution,
    )
    (path.parent / "cluster_plugins.py").write_text(_OWN, encoding="utf-8")
    end = motherlode.cold("run", path, cwd=path.parent, env=prefect_home).wait(300)
    assert end.status == 0, end.err
    assert "features: 87 × 2" in end.out
    assert len(_begun(log)) == 1


def test_without_prefect_a_cluster_is_refused_with_the_remedy(
    motherlode: Any, write_campaign: Any, tmp_path: Path
) -> None:
    path = write_campaign(tmp_path, execution={"runner": "dask"})
    end = motherlode("run", path, "--no-prefect", cwd=tmp_path)
    assert end.status == 2
    assert "runner = 'dask' in [execution] is one of Prefect's task runners: use 'motherlode run'" in end.err
