"""A campaign whose store is a real PostgreSQL: the same end as on SQLite, and one process at a time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgresql_server
import pytest
import sqlalchemy as sa
from hpc_need import need
from postgresql_server import PostgresqlServer, running_postgresql

from active_learning.errors import StoreError
from active_learning.store import CampaignStore


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    need(postgresql_server.what_is_missing())
    # A short path, for its socket.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, running_postgresql(Path(folder)) as server:
        yield server


def labels(url: str, name: str) -> dict[str, float]:
    store = CampaignStore(url, name)
    try:
        return {label.candidate_id: label.value for label in store.read().labels}
    finally:
        store.close()


@pytest.fixture
def campaign(tmp_path: Path, write_campaign: Any, postgresql: PostgresqlServer, request: Any) -> Path:
    """A campaign file whose name is the test's, so that each has rows of its own."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)[:60]
    path: Path = write_campaign(tmp_path / "pg", name=name, store=postgresql.url)
    return path


def test_it_ends_as_on_sqlite(
    tmp_path: Path,
    campaign: Path,
    motherlode: Any,
    write_campaign: Any,
    postgresql: PostgresqlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", postgresql.password)
    other = write_campaign(tmp_path / "sqlite")
    assert motherlode("run", other, "--no-prefect", cwd=tmp_path).status == 0
    end = motherlode.start("run", campaign, "--no-prefect", cwd=tmp_path, env=postgresql.environment).wait()
    assert end.status == 0, end.err
    here = labels(postgresql.url, campaign.read_text().partition('name = "')[2].partition('"')[0])
    there = labels(f"sqlite:///{other.parent / 'tiny.campaign' / 'campaign.db'}", "tiny")
    assert here == there
    assert len(here) == 14
    assert postgresql.password not in (campaign.read_text() + end.out + end.err)


def test_of_two_ticks_at_once_one_works_and_one_says_who_does(
    tmp_path: Path, campaign: Path, motherlode: Any, postgresql: PostgresqlServer
) -> None:
    for n in range(4):
        both = [
            motherlode.start("tick", campaign, "--no-prefect", cwd=tmp_path, env=postgresql.environment)
            for _ in range(2)
        ]
        pids = [one.pid for one in both]
        ends = [one.wait() for one in both]
        worked = [end.status == 0 for end in ends]
        assert any(worked), [end.err for end in ends]
        for end, other in zip(ends, reversed(pids), strict=True):
            if end.status != 0:
                assert f"is being worked on by process {other} on " in end.err, n
        if not all(worked):
            return
    pytest.fail("in four tries no two ticks met")


def test_a_server_that_dies_ends_the_command_with_its_words_and_loses_nothing(
    tmp_path: Path, campaign: Path, motherlode: Any, postgresql: PostgresqlServer
) -> None:
    first = motherlode.start("tick", campaign, "--no-prefect", cwd=tmp_path, env=postgresql.environment).wait()
    assert first.status == 0, first.err
    postgresql.stop()
    try:
        end = motherlode.start("run", campaign, "--no-prefect", cwd=tmp_path, env=postgresql.environment).wait()
        assert end.status == 1
        assert "Traceback" not in end.err
        assert "store" in end.err
    finally:
        postgresql.start()
    end = motherlode.start("run", campaign, "--no-prefect", cwd=tmp_path, env=postgresql.environment).wait()
    assert end.status == 0, end.err


@pytest.fixture
def unused(postgresql: PostgresqlServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database in which nothing is."""
    monkeypatch.setenv("PGPASSWORD", postgresql.password)
    engine = sa.create_engine(postgresql.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = f"unused_{abs(hash(request.node.name))}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return sa.make_url(postgresql.url).set(database=name).render_as_string(hide_password=False)


_BEGIN = """
import sys
from datetime import UTC, datetime
from active_learning.store import CampaignStore
import alembic.command, psycopg  # the race is about the database

store = CampaignStore(*sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
print(store.create({"mine": sys.argv[2]}, datetime.now(UTC)))
"""


def test_campaigns_that_begin_at_once_in_a_new_database_all_begin(unused: str) -> None:
    names = ["ours", "ours", "a", "b", "c", "d"]
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", _BEGIN, unused, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]
    for one in begun:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in begun:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    said = [one.communicate(timeout=120)[0].strip() for one in begun]
    assert [one.returncode for one in begun] == [0] * len(names)
    assert sorted(said[:2]) == ["False", "True"], "a campaign begins once"
    assert said[2:] == ["True"] * 4
    for name in names:
        store = CampaignStore(unused, name)
        assert store.read().spec == {"mine": name}
        store.close()


def test_a_database_that_no_campaign_has_used_has_none(unused: str) -> None:
    store = CampaignStore(unused, "nobody")
    with pytest.raises(StoreError, match="There is no campaign 'nobody' in postgresql"):
        store.read()
    store.close()
