"""Campaigns under a real Prefect server, asked over its own API for what a user would see in the UI."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from forwarding import forwarding, free_port

from active_learning.api.status import read_status
from active_learning.store import CampaignStore

MOODS = {"calculator": "adversary:MoodyEMT", "calculator_options": {"moods": {"AuCu3": "raise"}}}


class Api:
    """Prefect's REST API."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        noted = json.loads((Path(environment["MOTHERLODE_HOME"]) / "prefect" / "server.json").read_text())
        self.url, self.pid = noted["api"], noted["pid"]

    def find(self, what: str, **wanted: Any) -> list[dict[str, Any]]:
        """Flow runs, task runs or artifacts."""
        body = json.dumps(wanted | {"limit": 200}).encode()
        request = urllib.request.Request(
            f"{self.url}/{what}/filter", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found


@dataclass(frozen=True)
class Run:
    """A campaign that ended under Prefect, as its store and Prefect's API show it."""

    path: Path
    out: str
    store: CampaignStore
    flow_run: dict[str, Any]
    task_runs: list[dict[str, Any]]
    artifacts: list[dict[str, Any]]


@pytest.fixture(scope="module")
def api(prefect_home: dict[str, str]) -> Api:
    return Api(prefect_home)


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory, motherlode: Any, write_campaign: Any, prefect_home: Any, api: Api
) -> Any:
    folder = tmp_path_factory.mktemp("ended")
    path = write_campaign(folder, name="seen", labeler={"kind": "ase"} | MOODS)
    end = motherlode.cold("run", path, cwd=folder, env=prefect_home).wait()
    assert end.status == 0, end.err
    (flow_run,) = api.find("flow_runs", flow_runs={"tags": {"all_": ["seen"]}})
    mine = {"flow_runs": {"id": {"any_": [flow_run["id"]]}}}
    store = CampaignStore(f"sqlite:///{folder / 'seen.campaign' / 'campaign.db'}", "seen")
    newest = api.find("artifacts/latest", **mine)
    yield Run(path, end.out, store, flow_run, api.find("task_runs", **mine), newest)
    store.close()


def test_the_run_completes_and_its_name_and_tags_say_what_it_is(ended: Run) -> None:
    assert ended.flow_run["state_type"] == "COMPLETED"
    newest = f"round {len(ended.store.read().rounds) - 1}"
    assert ended.flow_run["name"] == f"seen · {newest} · 0 in flight"
    assert set(ended.flow_run["tags"]) == {"seen", newest}
    published = [run for run in ended.task_runs if run["name"].startswith("publish round ")]
    assert published
    assert all({"seen", run["name"].removeprefix("publish ")} <= set(run["tags"]) for run in published)
    assert "Prefect UI: http://127.0.0.1:" in ended.out


def test_each_request_is_one_task_run_named_after_its_candidate_that_ends_as_its_label_ended(ended: Run) -> None:
    requests = ended.store.read().requests
    ends = {"SUCCEEDED": "COMPLETED", "FAILED": "FAILED", "CANCELLED": "CANCELLED"}
    expected = {f"{request.formula} · {request.id}": ends[request.state.value] for request in requests}
    labels = [run for run in ended.task_runs if " · " in run["name"]]
    assert len(labels) == len(requests)
    assert {run["name"]: run["state_type"] for run in labels} == expected
    assert set(expected.values()) == {"COMPLETED", "FAILED"}
    failed = next(run for run in labels if run["state_type"] == "FAILED")
    assert "the charge density sloshes" in failed["state"]["message"]


def test_each_action_is_a_task_run(ended: Run) -> None:
    names = Counter(re.sub(r"(-\w+| \d+)$", "", run["name"]) for run in ended.task_runs if " · " not in run["name"])
    n_rounds = len(ended.store.read().rounds)
    assert names["build pool"] == names["featurize"] == names["conclude"] == 1
    assert names["open round"] == n_rounds - 1  # the last one is what `conclude` trains
    assert names["submit"] >= names["open round"]
    assert names["collect"] >= names["open round"]


def test_each_round_has_a_page_with_its_pictures_inside_and_its_picks(ended: Run) -> None:
    pages = {page["key"]: page["data"] for page in ended.artifacts if page["type"] == "markdown"}
    facts = ended.store.read()
    assert set(pages) == {f"seen-round-{record.number}" for record in facts.rounds}
    for record in facts.rounds:
        page = pages[f"seen-round-{record.number}"]
        assert "](data:image/png;base64," in page
        for request in (one for one in facts.requests if one.round == record.number):
            assert f"| {request.candidate_id} |" in page
    assert "the charge density sloshes" in "".join(pages.values())


def test_the_budget_is_a_progress_bar_that_ends_full(ended: Run) -> None:
    bars = [bar for bar in ended.artifacts if bar["type"] == "progress"]
    assert [(bar["key"], float(bar["data"])) for bar in bars] == [("seen-labels", 100.0)]
    assert bars[0]["description"] == "seen: 14 of at most 14 labels"


def test_the_best_so_far_is_a_table_whose_versions_are_a_timeline(ended: Run, api: Api) -> None:
    (newest,) = [table for table in ended.artifacts if table["type"] == "table"]
    assert newest["key"] == "seen-best"
    best = read_status(ended.path, datetime.now(UTC))["best"]
    assert json.loads(newest["data"])[0]["candidate"] == best["candidate"]
    versions = api.find("artifacts", artifacts={"key": {"any_": ["seen-best"]}})
    values = [json.loads(one["data"])[0]["value"] for one in sorted(versions, key=lambda one: str(one["created"]))]
    assert len(values) > 1
    assert values == sorted(values, reverse=True), "the goal is to minimize"


def test_an_event_says_that_the_campaign_has_its_answer(ended: Run, api: Api) -> None:
    wanted = {"resource": {"id": ["motherlode.campaign.seen"]}}
    request = urllib.request.Request(
        f"{api.url}/events/filter",
        data=json.dumps({"filter": wanted, "limit": 50}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        (event,) = json.load(response)["events"]
    assert event["event"] == "motherlode.campaign.finished"
    assert event["payload"]["said"] == f"stopped: {read_status(ended.path, datetime.now(UTC))['stop_reason']}"


@pytest.mark.slow
def test_ticks_come_to_the_same_end_as_a_run(
    ended: Run, tmp_path: Path, motherlode: Any, write_campaign: Any, prefect_home: Any, api: Api
) -> None:
    path = write_campaign(tmp_path, name="ticked", labeler={"kind": "ase"} | MOODS)
    n_ticks = 0
    while n_ticks < 8 and not (n_ticks and read_status(path, datetime.now(UTC))["phase"] == "stopped"):
        n_ticks += 1
        end = motherlode.cold("tick", path, cwd=tmp_path, env=prefect_home).wait()
        assert end.status == 0, end.err
    store = CampaignStore(f"sqlite:///{tmp_path / 'ticked.campaign' / 'campaign.db'}", "ticked")
    facts, other = store.read(), ended.store.read()
    values, others = ({(x.candidate_id, x.property): x.value for x in found.labels} for found in (facts, other))
    assert values == others
    assert facts.verdict == other.verdict
    runs = api.find("flow_runs", flow_runs={"tags": {"all_": ["ticked"]}})
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * n_ticks
    assert 2 <= n_ticks <= len(facts.rounds)
    store.close()


def test_the_server_listens_to_this_machine_only(api: Api) -> None:
    listening = {
        connection.laddr.ip
        for process in [psutil.Process(api.pid), *psutil.Process(api.pid).children(recursive=True)]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.slow
def test_a_server_is_shared_by_two_campaigns_and_stopped_by_the_last_to_leave(
    tmp_path: Path, motherlode: Any, write_campaign: Any
) -> None:
    environment = {"MOTHERLODE_HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / "none"), "PREFECT_API_URL": ""}
    noted = tmp_path / "prefect" / "server.json"
    slow = {"kind": "ase", "calculator": "adversary:LoggingEMT", "calculator_options": {"seconds": 0.6}}
    first = write_campaign(tmp_path / "first", name="first", stopping={"any": [{"kind": "labels", "max": 6}]})
    second = write_campaign(tmp_path / "second", name="second", labeler=slow)
    runs = [motherlode.cold("run", path, cwd=tmp_path, env=environment) for path in (first, second)]
    runs[0].until(noted.is_file, "a server is started")
    server = Api(environment)
    assert runs[0].wait().status == 0
    assert runs[1].poll() is None, "the second campaign must outlast the first"
    assert psutil.pid_exists(server.pid)
    end = runs[1].wait()
    assert end.status == 0, end.err
    assert f"Prefect UI: {server.url.removesuffix('/api')}" in end.out
    assert not noted.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(server.url.split(":")[2].removesuffix("/api")))) != 0
    assert not [one for one in psutil.process_iter() if one.pid == server.pid and one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_two_users_who_start_a_server_at_once_get_one_each(tmp_path: Path, motherlode: Any) -> None:
    homes = [
        {"MOTHERLODE_HOME": str(tmp_path / name), "PREFECT_HOME": str(tmp_path / "none"), "PREFECT_API_URL": ""}
        for name in ("one", "two")
    ]
    said = [run.wait(240) for run in [motherlode.start("ui", cwd=tmp_path, env=home) for home in homes]]
    assert [end.status for end in said] == [0, 0]
    servers = [Api(home) for home in homes]
    assert [f"{end.out.strip()}/api" for end in said] == [server.url for server in servers]
    assert servers[0].url != servers[1].url
    assert all(psutil.Process(server.pid).is_running() for server in servers)
    assert [motherlode("ui", "--stop", cwd=tmp_path, env=home).out for home in homes] == ["stopped\n"] * 2


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/api", "localhost"])
def test_a_configured_server_that_does_not_answer_is_an_error_that_says_so(
    address: str, tmp_path: Path, motherlode: Any, write_campaign: Any
) -> None:
    begin = time.monotonic()
    path = write_campaign(tmp_path, execution={"without_server": "stop"})
    end = motherlode("run", path, cwd=tmp_path, env={"PREFECT_API_URL": address})
    assert end.status == 1
    assert f"The Prefect server at {address}" in end.err
    assert "--no-prefect" in end.err
    assert "Traceback" not in end.err
    assert time.monotonic() - begin < 30


def test_without_a_server_a_campaign_goes_on_and_says_so(tmp_path: Path, motherlode: Any, write_campaign: Any) -> None:
    path, away = write_campaign(tmp_path), {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    ticked = motherlode("tick", path, cwd=tmp_path, env=away)
    assert ticked.status == 0, ticked.err
    assert "does not answer" in ticked.err
    assert "Going on without Prefect" in ticked.err
    ran = motherlode("run", path, cwd=tmp_path, env=away)
    assert ran.status == 0, ran.err
    assert "Prefect UI" not in ran.out
    assert read_status(path, datetime.now(UTC))["phase"] == "stopped"


def test_a_campaign_waits_for_the_server_if_its_file_says_so(
    tmp_path: Path, motherlode: Any, write_campaign: Any, prefect_home: dict[str, str]
) -> None:
    path = write_campaign(tmp_path, execution={"without_server": "wait"})
    port = free_port()
    away = prefect_home | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    run = motherlode.cold("run", path, cwd=tmp_path, env=away)
    run.until(lambda: "Waiting until it answers" in run.said, "Waiting until it answers")
    server = Api(prefect_home)
    with forwarding(port, server.url):
        end = run.wait(300)
    assert end.status == 0, end.err
    assert "Going on" not in end.err


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["go on", "stop"])
def test_a_campaign_outlives_the_server_that_dies_under_it(
    policy: str, tmp_path: Path, motherlode: Any, write_campaign: Any
) -> None:
    environment = {"MOTHERLODE_HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / "none"), "PREFECT_API_URL": ""}
    slow = {"kind": "ase", "calculator": "adversary:LoggingEMT", "calculator_options": {"seconds": 0.4}}
    path = write_campaign(tmp_path, labeler=slow, execution={"without_server": policy})
    run = motherlode.cold("run", path, cwd=tmp_path, env=environment)
    log = tmp_path / "tiny.campaign" / "launched.log"
    run.until(lambda: log.is_file() and len(log.read_text().splitlines()) >= 4, "four jobs")
    server = Api(environment)
    psutil.Process(server.pid).kill()
    end = run.wait(300)
    assert end.status == (1 if policy == "stop" else 0), end.out
    assert f"The Prefect server at {server.url.removesuffix('/api')} stopped answering" in end.err
    assert "Nothing is lost" in end.err
    assert ("Going on without Prefect" in end.err) is (policy == "go on")
    assert "Traceback" not in end.err
    if policy == "stop":
        assert motherlode("run", path, "--no-prefect", cwd=tmp_path).status == 0
    assert read_status(path, datetime.now(UTC))["phase"] == "stopped"
    launches = Counter(log.read_text().splitlines())
    assert max(launches.values()) == 1
