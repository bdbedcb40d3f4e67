"""Connections: SQLite in WAL mode or PostgreSQL, transactions that lock at their start, and migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from active_learning.errors import ContractError, StoreError
from active_learning.store.schema import HEAD

__all__ = ["connect", "reading", "upgrade", "writing"]

_BUSY_MS = 30_000
_ALONE = 0x6D6F7468  # "moth": the key of PostgreSQL's advisory lock, of which others of the same server keep clear


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Durable to the last commit (a lost label is core-hours), patient with other writers, strict about keys."""
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.isolation_level = None  # SQLAlchemy's BEGIN, below, is the only one
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()  # SQLAlchemy does not know it yet, so nobody else would
        raise


def _begin(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        options = connection.get_execution_options()
        is_write = options.get("write", False)
        if options.get("migrates", False):
            # SQLite changes a table's law by writing the table anew, while others refer to it.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
    elif connection.get_execution_options().get("alone", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ALONE})")


def connect(url: str) -> sa.Engine:
    """An engine for a SQLAlchemy URL; SQLite connections are opened as needed and closed after use."""
    try:
        if url.startswith("sqlite"):
            engine = sa.create_engine(url, poolclass=sa.NullPool, json_serializer=_json)
        else:
            engine = sa.create_engine(url, pool_pre_ping=True, json_serializer=_json)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        raise StoreError(f"The store '{url}' cannot be opened: {error}.") from error
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _json(value: Any) -> str:
    import json

    return json.dumps(value, allow_nan=False, sort_keys=True)


@contextmanager
def _translated(engine: sa.Engine) -> Iterator[None]:
    place = engine.url.render_as_string(hide_password=True)
    try:
        yield
    except sa.exc.IntegrityError as error:
        raise ContractError(f"{place} refused what breaks its law: {error.orig}. Nothing was written.") from error
    except sa.exc.ProgrammingError:
        raise  # a wrong statement is a defect here, not in the store
    except sa.exc.DatabaseError as error:
        raise StoreError(f"The campaign's store {place} failed: {error.orig}. {_remedy(str(error.orig))}") from error


def _remedy(message: str) -> str:
    if "malformed" in message or "not a database" in message:
        return "The file is damaged: restore it from a backup."
    if "full" in message:
        return "Free some disk space and run the same command again: nothing is lost."
    if "readonly" in message or "unable to open" in message:
        return "Check that the folder is there and may be written by you, and run the same command again."
    return "Nothing of this step was written; run the same command again when the cause is gone."


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One consistent look: PostgreSQL would else show each query what was committed before that one."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with _translated(engine), engine.connect() as connection, connection.execution_options(**options).begin():
        yield connection


@contextmanager
def writing(engine: sa.Engine, *, alone: bool = False, migrates: bool = False) -> Iterator[sa.Connection]:
    """One transaction that holds the write lock from its start, so what it reads stays true until it commits.

    PostgreSQL has locks of rows only; one that makes tables or a campaign is `alone` there, too.
    """
    options = {"write": True, "alone": alone, "migrates": migrates}
    with _translated(engine), engine.connect() as connection, connection.execution_options(**options).begin():
        yield connection


def _revision(engine: sa.Engine) -> str | None:
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def upgrade(engine: sa.Engine) -> None:
    """Bring the database to the newest schema; does nothing, and imports nothing, if it is there."""
    revision = _revision(engine)
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        raise StoreError(
            f"This campaign was written by a newer Motherlode (schema {revision}; this one knows {HEAD})."
            " Upgrade with: pip install --upgrade motherlode"
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with writing(engine, alone=True, migrates=True) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")  # does nothing if another process has done it meanwhile
        if engine.dialect.name == "sqlite":
            _check_references(connection)


def _check_references(connection: sa.Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise StoreError(f"The campaign's store is damaged: {len(broken)} rows refer to rows that are not there.")
