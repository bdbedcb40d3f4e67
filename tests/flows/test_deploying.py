"""Campaigns that nobody runs: a real Prefect server, a real worker, a schedule, and both of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from active_learning.api.status import read_status
from active_learning.errors import StoreError, UserError
from active_learning.testing.fakes import START
from active_learning.testing.waiting import wait_for

PATIENCE_S = 300.0


class Team:
    """A Prefect server with a home of its own, and a worker, each of which can be killed and started again."""

    def __init__(self, folder: Path, motherlode: Any) -> None:
        self.environment = {
            "MOTHERLODE_HOME": str(folder / "home"),
            "PREFECT_HOME": str(folder / "none"),
            "PREFECT_API_URL": "",
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

    def ask(self, what: str, **wanted: Any) -> list[dict[str, Any]]:
        """What Prefect's API knows."""
        request = urllib.request.Request(
            f"{self._noted['api']}/{what}/filter",
            data=json.dumps(wanted | {"limit": 200}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found

    def post(self, path: str, **body: Any) -> Any:
        """What the UI does when somebody presses a button."""
        request = urllib.request.Request(
            f"{self._noted['api']}/{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def prefect(self, *argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Prefect's own command."""
        return subprocess.run(
            [sys.executable, "-m", "prefect", *map(str, argv)],
            env=os.environ | self.environment | {"PREFECT_API_URL": self._noted["api"]} | environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def start_worker(self) -> None:
        """As README says."""
        prefect = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "motherlode"]
        with (self._folder / "worker.log").open("ab") as log:
            self._worker = subprocess.Popen(
                prefect,
                env=os.environ | self.environment | {"PREFECT_API_URL": self._noted["api"]},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill_worker(self) -> None:
        """With every flow run that it has started, as when its machine goes down."""
        assert self._worker is not None
        family = [psutil.Process(self._worker.pid), *psutil.Process(self._worker.pid).children(recursive=True)]
        for process in family:
            process.send_signal(signal.SIGKILL)
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


@pytest.fixture
def team(tmp_path: Path, motherlode: Any) -> Iterator[Team]:
    made = Team(tmp_path, motherlode)
    yield made
    made.close()


def seen(path: Path) -> dict[str, Any]:
    """The status; nothing while the campaign is being made."""
    try:
        return read_status(path, START)
    except (UserError, StoreError):
        return {}


def labels(path: Path) -> int:
    return int(seen(path).get("n_labels", 0))


@pytest.mark.slow
def test_a_scheduled_campaign_comes_to_its_end_though_its_worker_dies_twice_and_its_server_once(
    tmp_path: Path, team: Team, motherlode: Any, write_campaign: Callable[..., Path]
) -> None:
    labeler = {"kind": "ase", "calculator": "adversary:LoggingEMT", "calculator_options": {"seconds": 0.2}}
    tables: dict[str, Any] = {
        "labeler": labeler,
        "submitter": {"kind": "local", "workers": 2},
        "rounds": {"initial": 4, "batch_size": 2, "max_in_flight": 2},
        "stopping": {"any": [{"kind": "labels", "max": 10}]},
    }
    path = write_campaign(tmp_path, **tables)
    said = team.command("deploy", path, "--every", "10s")
    assert said.status == 0, said.err
    assert "tick/tiny runs every 10s" in said.out
    assert "prefect worker start --pool motherlode" in said.out
    team.start_worker()
    wait_for("the first labels", lambda: labels(path) >= 1, PATIENCE_S)
    team.kill_worker()
    team.start_worker()
    wait_for("more labels", lambda: labels(path) >= 5, PATIENCE_S)
    team.kill_server()
    time.sleep(5)
    assert team.command("ui").status == 0
    team.kill_worker()  # the server may have another port now
    team.start_worker()
    wait_for("the end", lambda: read_status(path, START)["phase"] == "stopped", PATIENCE_S)

    undisturbed = write_campaign(tmp_path / "calm", **tables)
    assert motherlode("run", undisturbed, "--no-prefect", cwd=tmp_path).status == 0
    both = [read_status(p, START) for p in (path, undisturbed)]
    assert both[0]["best"] == both[1]["best"]
    assert both[0]["n_labels"] == both[1]["n_labels"]
    launches = Counter((tmp_path / "tiny.campaign" / "launched.log").read_text().splitlines())
    assert max(launches.values()) == 1

    assert "gone: tick/tiny" in team.command("undeploy", path).out
    assert team.ask("deployments") == []
    assert "was not deployed" in team.command("undeploy", path).out


@pytest.mark.slow
def test_ticks_that_nobody_ran_are_not_caught_up_on_and_the_forms_steer(
    tmp_path: Path, team: Team, write_campaign: Callable[..., Path]
) -> None:
    path = write_campaign(tmp_path, approval={"required": True})
    assert team.command("deploy", path, "--every", "10s").status == 0
    first = len(team.ask("flow_runs", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}}))
    assert first > 0
    time.sleep(35)  # an outage: three ticks are missed
    team.start_worker()
    wait_for("the round to wait", lambda: _awaiting(path) == [0], PATIENCE_S)
    (approve,) = (d for d in team.ask("deployments") if d["entrypoint"] == "flows.steering.approve")
    schema = approve["parameter_openapi_schema"]["properties"]
    assert "reject all of it" in schema["answer"]["description"]
    assert "not be calculated" in schema["drop"]["description"]
    run = team.post(f"deployments/{approve['id']}/create_flow_run", parameters={"note": "looks good", "by": "ada"})
    wait_for("the answer", lambda: _awaiting(path) != [0], PATIENCE_S)
    wait_for("the labels", lambda: labels(path) >= 4, PATIENCE_S)
    ended = [r for r in team.ask("flow_runs") if r["id"] == run["id"]]
    assert ended[0]["state_type"] == "COMPLETED"

    runs = team.ask("flow_runs")
    (tick,) = (d["id"] for d in team.ask("deployments") if d["entrypoint"] == "flows.campaign.tick")
    ticks = [r for r in runs if r["deployment_id"] == tick and r["state_name"] == "Completed"]
    assert len(ticks) >= 2
    spans = sorted((r["start_time"], r["end_time"]) for r in ticks)
    for (_, before), (after, _) in pairwise(spans):
        assert before <= after, "two ticks at once"
    (cancel,) = (d for d in team.ask("deployments") if d["entrypoint"] == "flows.steering.cancel")
    team.post(f"deployments/{cancel['id']}/create_flow_run", parameters={"reason": "enough"})
    wait_for("the end", lambda: read_status(path, START)["phase"] == "stopped", PATIENCE_S)
    assert read_status(path, START)["stop_reason"] == "enough"


@pytest.mark.slow
def test_what_is_declared_is_taken_by_prefect_as_it_stands(
    tmp_path: Path, team: Team, write_campaign: Callable[..., Path]
) -> None:
    root, path = Path(__file__).parents[2], write_campaign(tmp_path)
    assert team.command("deploy", path).status == 0
    by_command = {d["entrypoint"]: d for d in team.ask("deployments")}
    assert team.command("undeploy", path).status == 0

    assert (
        team.prefect(
            "--no-prompt",
            "deploy",
            "--prefect-file",
            root / "deployments" / "prefect.yaml",
            "--all",
            CAMPAIGN=str(path),
        ).returncode
        == 0
    )
    declared = {d["entrypoint"]: d for d in team.ask("deployments")}
    assert declared.keys() == by_command.keys() - {"flows.campaign.campaign"}
    for entrypoint, deployment in declared.items():
        assert deployment["parameters"] == {"path": str(path)}
        assert deployment["parameter_openapi_schema"] == by_command[entrypoint]["parameter_openapi_schema"]
        assert deployment["work_pool_name"] == "motherlode"

    block = team.post("block_types/filter") or []
    (webhook,) = (one for one in block if one["slug"] == "webhook")
    (schema,) = team.ask("block_schemas", block_schemas={"block_type_id": {"any_": [webhook["id"]]}})
    made = team.post(
        "block_documents/",
        name="team",
        data={"method": "POST", "url": "http://127.0.0.1:9/"},
        block_type_id=webhook["id"],
        block_schema_id=schema["id"],
    )
    text = (root / "deployments" / "automations.yaml").read_text()
    (tmp_path / "automations.yaml").write_text(text.replace("00000000-0000-0000-0000-000000000000", made["id"]))
    done = team.prefect("automation", "create", "--from-file", tmp_path / "automations.yaml")
    assert done.returncode == 0, done.stdout
    assert len(team.ask("automations")) == 3


def _awaiting(path: Path) -> list[int]:
    return [one["round"] for one in seen(path).get("awaiting_approval", [])]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--every", "soon"), "--every 'soon': "),
        (("--every", "2s"), "say 10 s or more"),
        (("--cron", "every day"), "--cron 'every day': "),
        (("--every", "1h", "--cron", "* * * * *"), "one of them, please"),
    ],
)
def test_a_schedule_that_is_none_is_refused(
    option: tuple[str, ...],
    said: str,
    tmp_path: Path,
    motherlode: Any,
    write_campaign: Callable[..., Path],
    prefect_home: dict[str, str],
) -> None:
    end = motherlode("deploy", write_campaign(tmp_path), *option, cwd=tmp_path, env=prefect_home)
    assert end.status == 2, end.out
    assert said in end.err
