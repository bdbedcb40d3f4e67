"""One campaign's rows in a SQLite file of their own: of any database, in one consistent look, without its lease."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from active_learning.errors import StoreError
from active_learning.store import Facts
from active_learning.store import schema as t
from active_learning.store.database import connect, reading, upgrade, writing

__all__ = ["copy_store", "stored_files"]

Row = Mapping[str, Any]
_AT_ONCE = 500
_NOT_COPIED = frozenset({"alembic_version", "leases"})


def _as_it_is(row: Row) -> Row:
    return row


def copy_store(url: str, name: str, path: Path, *, shown: Callable[[Row], Row] = _as_it_is) -> None:
    """Copy a campaign into a new SQLite file of the newest schema; the same rows give the same bytes.

    Rows are copied, not pages: other campaigns of the database, who works on it, and what was deleted stay behind. What
    an older version has written is copied into tables of that version, and upgraded there.

    Parameters
    ----------
    url : SQLAlchemy address of the campaign's store, which is only read
    path : must not be there
    shown : a row of any table as the copy shows it; JSON columns are values

    Raises
    ------
    StoreError
        If the database does not answer, was written by a newer version, or knows no such campaign.
    """
    revision = _revision(url)
    if revision is not None and revision > t.HEAD:
        raise StoreError(
            f"This campaign was written by a newer Motherlode (schema {revision}; this one knows {t.HEAD})."
            " Upgrade with: pip install --upgrade motherlode"
        )
    if revision is not None and revision < t.HEAD:
        old = path.with_name(f"{path.name}.{revision}")
        _copy_between(url, old, name, lambda connection: _migrate(connection, revision), shown)
        with _disposed(f"sqlite:///{old}") as engine:
            upgrade(engine)
        url, shown = f"sqlite:///{old}", _as_it_is
    n_campaigns = 0 if revision is None else _copy_between(url, path, name, _create, shown)
    if not n_campaigns:
        place = sa.make_url(url).render_as_string(hide_password=True)
        raise StoreError(f"There is no campaign '{name}' in {place}; 'motherlode run FILE' starts it.")


@contextmanager
def _disposed(url: str) -> Iterator[sa.Engine]:
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _revision(url: str) -> str | None:
    with _disposed(url) as engine, reading(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def _copy_between(
    url: str, path: Path, name: str, lay_out: Callable[[sa.Connection], None], shown: Callable[[Row], Row]
) -> int:
    """Copy into a new file whose tables are laid out as those at `url` are; returns how many campaigns came along."""
    with _disposed(url) as source, _disposed(f"sqlite:///{path}") as target:
        with reading(_consistent(source)) as old, writing(target) as new:
            lay_out(new)
            _copy_all(old, new, name, shown)
            count: int = new.exec_driver_sql("SELECT count(*) FROM campaigns").scalar() or 0
        with target.connect() as last:  # what a journal beside the file still holds goes into the file
            last.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return count


def _consistent(engine: sa.Engine) -> sa.Engine:
    """SQLite's transactions see one moment; PostgreSQL's do if asked to."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def _create(connection: sa.Connection) -> None:
    """Make the newest tables: what migrations make of old ones is not the same each time, to the byte."""
    t.metadata.create_all(connection)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version"
        " (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (t.HEAD,))


def _migrate(connection: sa.Connection, revision: str) -> None:
    """Make the tables of an older version."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(t.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _copy_all(old: sa.Connection, new: sa.Connection, name: str, shown: Callable[[Row], Row]) -> None:
    tables = sa.MetaData()
    tables.reflect(bind=new)
    for table in tables.sorted_tables:
        if table.name in _NOT_COPIED:
            continue
        mine = table.c.name if table.name == "campaigns" else table.c.campaign
        rows = old.execute(sa.select(table).where(mine == name).order_by(*table.primary_key.columns))
        for part in rows.partitions(_AT_ONCE):
            new.execute(sa.insert(table), [dict(shown(dict(row._mapping))) for row in part])


def stored_files(facts: Facts) -> tuple[str, ...]:
    """Names of the immutable files that a campaign refers to."""
    pool, features = facts.pool or {}, facts.features or {}
    names = [str(pool[key]) for key in ("file", "dropped_file") if key in pool]
    names += [str(features[key]) for key in ("file", "ids", "index") if key in features]
    names += [record.predictions for record in facts.rounds if record.predictions]
    return tuple(dict.fromkeys(names))
