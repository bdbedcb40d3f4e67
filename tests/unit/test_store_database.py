"""The database file: its migrations, old files, and what is said when the disk fails."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from active_learning.domain.campaign import Phase
from active_learning.domain.request import RequestState
from active_learning.errors import StoreError
from active_learning.store import CampaignStore
from active_learning.store.database import connect, upgrade
from active_learning.store.schema import HEAD, metadata
from active_learning.testing.fakes import START

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = Path(__file__).parents[2] / "active_learning" / "store" / "migrations" / "versions"


def _store(path: Path, **more: Any) -> CampaignStore:
    store = CampaignStore(f"sqlite:///{path}", "tiny")
    store.create({}, START)
    return store


def _constraints(engine: sa.Engine) -> dict[str, Any]:
    found = sa.inspect(engine)
    return {
        table: (
            sorted((check["name"], check["sqltext"]) for check in found.get_check_constraints(table)),
            sorted((unique["name"], unique["column_names"]) for unique in found.get_unique_constraints(table)),
            sorted((key["constrained_columns"], key["referred_table"]) for key in found.get_foreign_keys(table)),
            sorted(
                (index["name"], index["unique"], str(index.get("dialect_options", {}).get("sqlite_where")))
                for index in found.get_indexes(table)
            ),
            found.get_pk_constraint(table)["constrained_columns"],
            [(column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(table)],
        )
        for table in metadata.tables
    }


def test_the_migrations_make_the_tables_of_today(tmp_path: Path) -> None:
    migrated, direct = connect(f"sqlite:///{tmp_path / 'a.db'}"), connect(f"sqlite:///{tmp_path / 'b.db'}")
    upgrade(migrated)
    metadata.create_all(direct)
    with migrated.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    # Checks are not compared by Alembic.
    assert _constraints(migrated) == _constraints(direct)
    assert _constraints(direct)["requests"][0]


def test_the_newest_migration_is_the_head_and_has_a_golden_file() -> None:
    numbers = sorted(file.name.partition("_")[0] for file in VERSIONS.glob("0*.py"))
    assert numbers[-1] == HEAD
    assert [f"campaign-{number}.db" for number in numbers] == sorted(file.name for file in GOLDEN.glob("*.db"))


def test_upgrading_twice_does_nothing(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.db'}")
    upgrade(engine)
    before = (tmp_path / "a.db").read_bytes()
    upgrade(engine)
    assert (tmp_path / "a.db").read_bytes() == before


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    _store(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match=rf"newer Motherlode \(schema 9999; this one knows {HEAD}\).*pip install"):
        _store(path)


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.db")), ids=lambda path: path.stem)
def test_a_database_of_every_released_version_opens_and_reads(golden: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(golden, tmp_path / "campaign.db"))
    store = CampaignStore(f"sqlite:///{path}", "tiny")
    assert store.create({}, START) is False
    facts, events = store.read(), store.events()
    assert facts.phase is Phase.STOPPED
    assert facts.verdict is not None
    assert facts.verdict.reason == "The budget of 10 labels is used up: 10 are there."
    states = {state: sum(r.state is state for r in facts.requests) for state in RequestState}
    assert states[RequestState.SUCCEEDED] >= 8
    assert states[RequestState.FAILED] >= 2
    assert states[RequestState.LOST] >= 1
    assert {r.failure.kind.value for r in facts.requests if r.failure} >= {"crashed", "rejected"}
    assert len(facts.labels) == 10
    assert {x.fidelity for x in facts.labels} == {"fake", "measured", "told"}
    assert [record.number for record in facts.rounds] == list(range(len(facts.rounds)))
    assert facts.rounds[-1].predictions
    assert {"created", "planned", "moved", "labeled", "told", "conflict", "stopped"} <= {e.kind for e in events}
    with store.write(START) as writer:
        writer.set_phase(Phase.ACTIVE)
    assert store.read().version == facts.version + 1
    store.close()


def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    store = _store(path)
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    full = CampaignStore(f"sqlite:///{path}", "tiny")
    limit = f"PRAGMA max_page_count={pages}"
    sa.event.listen(full._engine, "connect", lambda connection, _: connection.execute(limit))
    before = store.read(), store.events()
    said = r"campaign\.db failed: database or disk is full\. Free some disk space"
    with pytest.raises(StoreError, match=said), full.write(START) as writer:
        writer.event("long", text="x" * 100_000)
    assert (store.read(), store.events()) == before
    store.close()


def test_a_database_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    store = _store(path)
    readonly = CampaignStore(f"sqlite:///file:{path}?mode=ro&uri=true", "tiny")
    said = r"attempt to write a readonly database\. Check that the folder is there"
    with pytest.raises(StoreError, match=said), readonly.write(START) as writer:
        writer.set_phase(Phase.PAUSED)
    assert readonly.read() == store.read()
    store.close()


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"unable to open database file\. Check that the folder is there"):
        _store(tmp_path / "gone" / "campaign.db")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    path.write_bytes(b"this was a database once " * 100)
    with pytest.raises(StoreError, match=r"file is not a database\. The file is damaged: restore it from a backup"):
        _store(path)


def test_a_campaign_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    with pytest.raises(
        StoreError, match=r"There is no campaign 'tiny' in sqlite:///.*; 'motherlode run FILE' starts it"
    ):
        CampaignStore(f"sqlite:///{path}", "tiny").read()
    store = _store(path)
    with pytest.raises(StoreError, match="campaign 'tiny' has no request z-1"):
        store.request("z-1")
    store.close()


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(StoreError, match=r"The store 'no such thing' cannot be opened"):
        CampaignStore("no such thing", "tiny")
