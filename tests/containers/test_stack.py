"""The services of docker/compose.yaml at work together, on a real PostgreSQL."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compose_stack
import postgresql_server
import psutil
import pytest
from compose_stack import Stack
from container_image import ROOT, Image
from hpc_need import need

from active_learning.testing.waiting import wait_for

SECRETS = ("postgres", "prefect_database", "motherlode_database", "prefect_login")
CAMPAIGN = """
name = "tiny"
seed = 3
store = "postgresql+psycopg://motherlode@127.0.0.1:{port}/motherlode"
target = {{ property = "energy_per_atom", goal = "minimize" }}
pool = {{ kind = "prototypes", elements = ["Cu", "Au"], max_atoms = 4 }}
features = {{ kind = "matminer", sets = ["density"] }}
surrogate = {{ kind = "random_forest", n_trees = 20 }}
rounds = {{ initial = 4, batch_size = 2, max_in_flight = 2 }}
labeler = {{ kind = "ase", calculator = "emt" }}
submitter = {{ kind = "local" }}
requests = {{ poll = 0.2, retries = 0 }}
stopping = {{ any = [{{ kind = "labels", max = 6 }}] }}
"""


@pytest.fixture(scope="module")
def stack(image: Image) -> Iterator[Stack]:
    """Server and worker, healthy, and the worker's pool."""
    need(postgresql_server.what_is_missing())
    # A short path, for PostgreSQL's socket.
    with tempfile.TemporaryDirectory(prefix="stack-") as folder, compose_stack.running_stack(Path(folder), image) as up:
        # A worker is healthy from its start; then it makes its pool.
        wait_for("the pool", lambda: _pools(up) != [], 120)
        yield up


def _pools(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(stack, "api/work_pools/filter", {}, login=stack.secret("prefect_login"))
    return found


def asked(stack: Stack, path: str, body: dict[str, Any] | None = None, *, login: str | None = None) -> Any:
    """The answer of Prefect's API."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{stack.ports['server']}/{path}", headers={"Content-Type": "application/json"}
    )
    if body is not None:
        request.data = json.dumps(body).encode()
    if login is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_only_loopback_is_listened_on(stack: Stack) -> None:
    for name in ("server", "worker"):
        sockets = [one for p in stack.services[name].programs() for one in p.net_connections(kind="inet")]
        listening = {tuple(one.laddr) for one in sockets if one.status == psutil.CONN_LISTEN}
        assert ("127.0.0.1", stack.ports[name]) in listening
        # A worker listens to its own flow runs as well, on a port of the system's choice.
        assert {host for host, _port in listening} == {"127.0.0.1"}


def test_the_api_speaks_to_those_who_have_the_login_only(stack: Stack) -> None:
    assert asked(stack, "api/health") is True
    login = stack.secret("prefect_login")
    for wrong in (None, "team:wrong", login[:-1]):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            asked(stack, "api/work_pools/filter", {}, login=wrong)
    (pool,) = _pools(stack)
    assert (pool["name"], pool["type"]) == ("motherlode", "process")


def test_the_pages_ask_the_address_that_is_published(stack: Stack) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['server']}/", timeout=30) as response:
        assert b"<html" in response.read()
    assert asked(stack, "ui-settings")["api_url"] == f"http://127.0.0.1:{stack.ports['server']}/api"


def test_prefect_keeps_its_history_in_postgresql(stack: Stack) -> None:
    found = stack.psql("prefect", "prefect_database", "prefect", "--command=SELECT name FROM work_pool")
    assert succeeded(found).split() == ["motherlode"]
    assert not list((stack.folder / "server-home").rglob("*.db"))


def test_a_user_of_one_database_has_no_way_into_the_others(stack: Stack) -> None:
    for user, others in {"prefect": ("motherlode", "postgres"), "motherlode": ("prefect", "postgres")}.items():
        for database in others:
            found = stack.psql(user, f"{user}_database", database, "--command=SELECT 1")
            assert f'permission denied for database "{database}"' in found.stderr
        own = stack.psql(user, f"{user}_database", user, "--command=SELECT rolsuper FROM pg_roles WHERE rolname = user")
        assert succeeded(own).split() == ["f"]
    stranger = stack.psql("prefect", "motherlode_database", "prefect", "--command=SELECT 1")
    assert "password authentication failed" in stranger.stderr


@pytest.mark.slow
def test_the_worker_runs_a_campaign_whose_store_is_postgresql_and_no_password_is_seen(stack: Stack) -> None:
    worker = stack.services["worker"]
    _bring(stack)
    succeeded(worker.execute("motherlode", "deploy", "tiny/campaign.toml"))
    succeeded(worker.execute("prefect", "deployment", "run", "campaign/tiny"))
    seen: set[str] = set()
    peak = 0
    end = time.monotonic() + 400
    while (state := _state(stack)) in ("SCHEDULED", "PENDING", "RUNNING"):
        assert time.monotonic() < end, worker.log.read_text()
        seen |= _command_lines()
        peak = max([peak, *(_resident(process) for process in worker.programs() if "prefect.engine" in _line(process))])
        time.sleep(0.2)
    assert state == "COMPLETED", worker.log.read_text()
    status = json.loads(succeeded(worker.execute("motherlode", "status", "tiny/campaign.toml", "--json")))
    assert (status["phase"], status["n_labels"]) == ("stopped", 6)
    assert any("postgres: motherlode motherlode" in line for line in seen)
    print(f"a flow run took up to {peak / 1e6:.0f} MB")
    _check_secrecy(stack, seen)


@pytest.mark.slow
def test_what_was_backed_up_as_documented_is_restored(stack: Stack) -> None:
    count = "--command=SELECT count(*) FROM events"
    before = succeeded(stack.psql("motherlode", "motherlode_database", "motherlode", count))
    assert int(before) > 0
    page = (ROOT / "docs" / "containers.md").read_text()
    dump, restore = ("--format custom", "--clean --if-exists --exit-on-error --dbname motherlode")
    assert f"pg_dump --username postgres {dump} motherlode >" in page
    assert f"pg_restore --username postgres {restore} <" in page
    saved = stack.superuser("pg_dump", *dump.split(), "motherlode")
    lost = "--command=DROP TABLE events CASCADE"
    succeeded(stack.psql("motherlode", "motherlode_database", "motherlode", lost))
    stack.superuser("pg_restore", *restore.split(), given=saved)
    assert succeeded(stack.psql("motherlode", "motherlode_database", "motherlode", count)) == before
    worker = stack.services["worker"]
    assert "stopped" in succeeded(worker.execute("motherlode", "status", "tiny/campaign.toml"))


def _bring(stack: Stack) -> None:
    """Put a campaign into the volume, as the docs do it."""
    worker = stack.services["worker"]
    folder = stack.folder / "brought" / "tiny"
    folder.mkdir(parents=True)
    (folder / "campaign.toml").write_text(CAMPAIGN.format(port=stack.postgresql.port))
    archive = subprocess.run(["tar", "-c", "tiny"], cwd=folder.parent, capture_output=True, check=True, timeout=60)
    unpack = worker.container.command("tar", "-x", "-C", "/campaigns", env=worker.env, volumes=worker.volumes)
    subprocess.run(unpack, input=archive.stdout, check=True, timeout=60)
    assert (stack.campaigns / "tiny" / "campaign.toml").stat().st_uid == 10001


def _state(stack: Stack) -> str:
    (run,) = asked(stack, "api/flow_runs/filter", {}, login=stack.secret("prefect_login"))
    return str(run["state_type"])


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _command_lines() -> set[str]:
    """All of this machine, as `ps` shows them."""
    return {_line(process) for process in psutil.process_iter()}


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _check_secrecy(stack: Stack, seen: set[str]) -> None:
    """Every password is looked for wherever something was written."""
    services = stack.services.values()
    files = [path for path in stack.campaigns.rglob("*") if path.is_file()]
    environments = [process.environ() for service in services for process in service.programs()]
    places = {
        "a command line": "\n".join(seen).encode(),
        "a database": stack.superuser("pg_dump", "prefect") + stack.superuser("pg_dump", "motherlode"),
        "the log of PostgreSQL": (stack.folder / "pg" / "log").read_bytes(),
        "the log of a service": b"".join(service.log.read_bytes() for service in services),
        "a file of the campaign": b"".join(path.read_bytes() for path in files),
        "an environment": "\n".join(value for env in environments for value in env.values()).encode(),
    }
    assert all(len(text) > 100 for text in places.values())
    found = {(where, name) for name in SECRETS for where, text in places.items() if stack.password(name) in text}
    # Prefect gives its own settings to the processes that it starts.
    assert found <= {("an environment", "prefect_login")}
