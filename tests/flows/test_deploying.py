"""Campaigns that nobody runs: a real Prefect server, a real worker, a schedule, and both of them killed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect_team import PATIENCE_S, Team

from active_learning.api.status import read_status
from active_learning.errors import StoreError, UserError
from active_learning.testing.fakes import START
from active_learning.testing.waiting import wait_for


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
    assert "prefect worker start --pool motherlode --limit 4" in said.out
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

    wait_for("the killed runs to be called so", lambda: not _running_for(team, 60), PATIENCE_S)
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
    # Prefect's scheduler looks once a minute; then an outage: six ticks are missed.
    wait_for("missed ticks", lambda: len(_due(team, "SCHEDULED", 0)) >= 6, PATIENCE_S)
    missed = {run["id"] for run in _due(team, "SCHEDULED", 0)}
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

    (tick,) = (d["id"] for d in team.ask("deployments") if d["entrypoint"] == "flows.campaign.tick")
    wait_for("a second tick", lambda: len(_worked(team, tick)) >= 2, PATIENCE_S)
    runs = team.ask("flow_runs")
    states = Counter(r["state_name"] for r in runs if r["id"] in missed)
    assert states["Cancelled"] >= len(missed) - 4, "at most those that the worker had taken before the first began"
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

    file = root / "deployments" / "prefect.yaml"
    done = team.prefect("--no-prompt", "deploy", "--prefect-file", file, "--all", CAMPAIGN=str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    declared = {d["entrypoint"]: d for d in team.ask("deployments")}
    assert declared.keys() == by_command.keys() - {"flows.campaign.campaign"}
    for entrypoint, deployment in declared.items():
        assert deployment["parameters"] == {"path": str(path)}
        assert deployment["parameter_openapi_schema"] == by_command[entrypoint]["parameter_openapi_schema"]
        assert deployment["work_pool_name"] == "motherlode"

    (webhook,) = (one for one in team.ask("block_types") if one["slug"] == "webhook")
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


def _worked(team: Team, deployment: str) -> list[dict[str, Any]]:
    """The runs of a deployment that held the lease, and have ended."""
    runs = team.ask("flow_runs", flow_runs={"state": {"name": {"any_": ["Completed"]}}})
    return [run for run in runs if run["deployment_id"] == deployment]


def _due(team: Team, state: str, seconds: float) -> list[dict[str, Any]]:
    """The runs in a state that should have begun so long ago."""
    before = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    wanted = {"state": {"type": {"any_": [state]}}, "expected_start_time": {"before_": before}}
    return team.ask("flow_runs", flow_runs=wanted)


def _running_for(team: Team, seconds: float) -> list[dict[str, Any]]:
    """The runs that have begun so long ago and are said to run still."""
    before = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    wanted = {"state": {"type": {"any_": ["RUNNING"]}}, "start_time": {"before_": before}}
    return team.ask("flow_runs", flow_runs=wanted)


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
