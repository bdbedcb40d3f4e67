"""`CampaignStore`: one campaign's memory.

Guarantees
----------
- What `write` committed is on disk; what it did not commit never was.
- Every write raises the campaign's version by one and appends at least one event in the same transaction; one that
  changes nothing does neither.
- A write that names the version it was decided on is refused (`StaleVersion`) if the campaign moved since.
- A write under a lease is refused (`LeaseLost`) once another process took the lease.
- Any number of processes may read while one writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from active_learning.domain.approval import Approval, Ending
from active_learning.domain.campaign import Event, Phase, RoundRecord, Verdict
from active_learning.domain.label import Label, Retraction
from active_learning.domain.request import Request
from active_learning.errors import LeaseHeld, LeaseLost, StaleVersion, StoreError
from active_learning.store import schema as t
from active_learning.store.database import connect, reading, upgrade, writing
from active_learning.store.lease import Holder, Lease
from active_learning.store.rows import (
    approval_of,
    ending_of,
    event_of,
    label_of,
    request_of,
    retraction_of,
    round_of,
    verdict_of,
)
from active_learning.store.writer import Writer

__all__ = ["CampaignStore", "Facts"]


@dataclass(frozen=True)
class Facts:
    """A campaign as one consistent look at its tables found it."""

    name: str
    version: int
    phase: Phase
    created_at: datetime
    spec: Mapping[str, Any]
    pool: Mapping[str, Any] | None
    features: Mapping[str, Any] | None
    verdict: Verdict | None
    versions: Mapping[str, str]
    requests: tuple[Request, ...]
    labels: tuple[Label, ...]
    rounds: tuple[RoundRecord, ...]
    retractions: tuple[Retraction, ...] = ()
    approvals: tuple[Approval, ...] = ()
    ending: Ending | None = None


class CampaignStore:
    """The memory of the campaign `name` in the database at `url`."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name
        self._engine = connect(url)
        self._there: dict[str, set[str]] = {}
        self._rounds: tuple[RoundRecord, ...] = ()

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def create(self, spec: Mapping[str, Any], now: datetime) -> bool:
        """Make the tables if they are missing, and the campaign if it is new. False if it was there."""
        upgrade(self._engine)
        self._there.clear()
        with writing(self._engine, alone=True) as connection:
            mine = t.campaigns.c.name == self.name
            if connection.execute(sa.select(t.campaigns.c.name).where(mine)).one_or_none() is not None:
                return False
            row = {"name": self.name, "version": 1, "phase": Phase.ACTIVE.value, "created_at": now}
            connection.execute(sa.insert(t.campaigns).values(row | {"spec": dict(spec), "versions": {}}))
            Writer(connection, self.name, now).event("created", spec=dict(spec))
        return True

    def read(self) -> Facts:
        """Everything, in one consistent look.

        Raises
        ------
        StoreError
            If the database does not answer or knows no such campaign.
        """
        with reading(self._engine) as connection:
            row = self._campaign_row(connection)

            def rows(table: sa.Table, order: str) -> Any:
                columns = self._columns(connection, table)
                query = sa.select(*columns).where(table.c.campaign == self.name).order_by(table.c[order])
                return connection.execute(query)

            return Facts(
                name=row.name,
                version=row.version,
                phase=Phase(row.phase),
                created_at=row.created_at,
                spec=row.spec,
                pool=row.pool,
                features=row.features,
                verdict=verdict_of(row.verdict),
                versions=row.versions,
                requests=tuple(request_of(r) for r in rows(t.requests, "ordinal")),
                labels=tuple(label_of(r) for r in rows(t.labels, "ordinal")),
                rounds=self._rounds_of(connection),
                retractions=self._retractions_of(connection),
                approvals=self._approvals_of(connection),
                ending=ending_of(row.ending),
            )

    def _rounds_of(self, connection: sa.Connection) -> tuple[RoundRecord, ...]:
        """All rounds. A stored round never changes, and holds a line for each label: each is read once, so that a look
        does not cost rounds times labels."""
        mine = t.rounds.c.campaign == self.name
        newest = connection.execute(sa.select(sa.func.max(t.rounds.c.number)).where(mine)).scalar()
        known = tuple(record for record in self._rounds if newest is not None and record.number <= newest)
        query = sa.select(*self._columns(connection, t.rounds)).where(mine).order_by(t.rounds.c.number)
        if known:
            query = query.where(t.rounds.c.number > known[-1].number)
        found = (*known, *(round_of(row) for row in connection.execute(query)))
        self._rounds = found
        return found

    def _retractions_of(self, connection: sa.Connection) -> tuple[Retraction, ...]:
        if not self._has(connection, t.retractions):
            return ()
        mine = t.retractions.c.campaign == self.name
        query = sa.select(t.retractions).where(mine).order_by(t.retractions.c.number)
        return tuple(retraction_of(row) for row in connection.execute(query))

    def _approvals_of(self, connection: sa.Connection) -> tuple[Approval, ...]:
        if not self._has(connection, t.approvals):
            return ()
        mine = t.approvals.c.campaign == self.name
        query = sa.select(t.approvals).where(mine).order_by(t.approvals.c.round)
        return tuple(approval_of(row) for row in connection.execute(query))

    def _has(self, connection: sa.Connection, table: sa.Table) -> bool:
        """Whether the database has a table; an older version's, which is only looked at, may lack it."""
        if table.name not in self._there:
            inspected = sa.inspect(connection)
            there = inspected.has_table(table.name)
            if not there:
                return False
            self._there[table.name] = {str(c["name"]) for c in inspected.get_columns(table.name)}
        return True

    def _columns(self, connection: sa.Connection, table: sa.Table) -> list[sa.ColumnElement[Any]]:
        """All columns of a table. Who only looks changes nothing, so that of an older version's database, which is
        upgraded when it is opened for work, a column may be missing: it is as if new, null or its default."""
        there = self._there[table.name] if self._has(connection, table) else set()
        return [c if c.name in there else _default(c).label(c.name) for c in table.c]

    def _campaign_row(self, connection: sa.Connection) -> Any:
        row = None
        if self._has(connection, t.campaigns):
            columns = self._columns(connection, t.campaigns)
            row = connection.execute(sa.select(*columns).where(t.campaigns.c.name == self.name)).one_or_none()
        if row is None:
            place = self._engine.url.render_as_string(hide_password=True)
            raise StoreError(f"There is no campaign '{self.name}' in {place}; 'motherlode run FILE' starts it.")
        return row

    def request(self, request_id: str) -> Request:
        """One request.

        Raises
        ------
        StoreError
            If there is none of this id.
        """
        query = sa.select(t.requests).where((t.requests.c.campaign == self.name) & (t.requests.c.id == request_id))
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise StoreError(f"campaign '{self.name}' has no request {request_id}")
        return request_of(row)

    def labels_of(self, request_id: str) -> tuple[Label, ...]:
        """The labels that a request gave."""
        mine = (t.labels.c.campaign == self.name) & (t.labels.c.request_id == request_id)
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(t.labels).where(mine).order_by(t.labels.c.ordinal))
            return tuple(label_of(row) for row in rows)

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The history, from the line after `after`."""
        query = (
            sa.select(t.events)
            .where((t.events.c.campaign == self.name) & (t.events.c.number > after))
            .order_by(t.events.c.number)
        )
        with reading(self._engine) as connection:
            return tuple(event_of(row) for row in connection.execute(query))

    @contextmanager
    def write(self, now: datetime, *, lease: Lease | None = None, expect: int | None = None) -> Iterator[Writer]:
        """One transaction: committed when the block ends, undone if it raises.

        Parameters
        ----------
        lease : the right under which this is written; None for a person's word (tell, pause)
        expect : the version that the decision was made on; None if each change guards itself

        Raises
        ------
        StaleVersion, LeaseLost
            See the guarantees above; nothing is written.
        """
        with writing(self._engine) as connection:
            version = self._campaign_row(connection).version
            if expect is not None and version != expect:
                raise StaleVersion(f"campaign '{self.name}' is at version {version}, not {expect}")
            if lease is not None:
                self._check(connection, lease)
            writer = Writer(connection, self.name, now)
            yield writer
            if not writer.has_written:
                return
            swap = sa.update(t.campaigns).where((t.campaigns.c.name == self.name) & (t.campaigns.c.version == version))
            if connection.execute(swap.values(version=version + 1)).rowcount != 1:
                raise StaleVersion(f"campaign '{self.name}' moved on from version {version}")

    def _lease_row(self, connection: sa.Connection) -> Any:
        query = sa.select(t.leases).where(t.leases.c.campaign == self.name)
        if connection.dialect.name != "sqlite":
            query = query.with_for_update()
        return connection.execute(query).one_or_none()

    def _check(self, connection: sa.Connection, lease: Lease) -> None:
        row = self._lease_row(connection)
        if row is None or row.token != lease.token:
            raise LeaseLost(
                f"{lease.holder} lost its lease on campaign '{self.name}': another process works on it now."
                " Nothing was written."
            )

    def acquire(self, holder: Holder, now: datetime, ttl_s: float) -> Lease:
        """Take the right to work on the campaign.

        Raises
        ------
        LeaseHeld
            If another living process has it; the message names it.
        """
        with writing(self._engine) as connection:
            self._campaign_row(connection)
            row = self._lease_row(connection)
            if row is not None and row.holder is not None and row.expires_at > now:
                current = Holder(**row.holder)
                if not current.is_dead():
                    raise LeaseHeld(
                        f"Campaign '{self.name}' is being worked on by {current}"
                        f" (its lease runs until {row.expires_at:%H:%M:%S} UTC and is renewed while it lives)."
                        " Wait for it, or stop it; 'motherlode status FILE' shows what it does."
                    )
            lease = Lease(holder, (row.token if row else 0) + 1, now + timedelta(seconds=ttl_s))
            values = {"token": lease.token, "holder": holder.to_json(), "expires_at": lease.expires_at}
            if row is None:
                connection.execute(sa.insert(t.leases).values(values | {"campaign": self.name}))
            else:
                connection.execute(sa.update(t.leases).where(t.leases.c.campaign == self.name).values(values))
            return lease

    def renew(self, lease: Lease, now: datetime, ttl_s: float) -> None:
        """Keep a lease for longer.

        Raises
        ------
        LeaseLost
            If another process took it.
        """
        self._change_lease(lease, expires_at=now + timedelta(seconds=ttl_s))

    def release(self, lease: Lease) -> None:
        """Give a lease back. Its token stays used.

        Raises
        ------
        LeaseLost
            If another process took it.
        """
        self._change_lease(lease, holder=None)

    def _change_lease(self, lease: Lease, **values: Any) -> None:
        mine = (t.leases.c.campaign == self.name) & (t.leases.c.token == lease.token)
        with writing(self._engine) as connection:
            self._check(connection, lease)
            connection.execute(sa.update(t.leases).where(mine).values(**values))

    def holder(self, now: datetime) -> Holder | None:
        """The living process that works on the campaign now, if any."""
        with reading(self._engine) as connection:
            if not self._has(connection, t.leases):  # somebody is making the tables
                return None
            row = connection.execute(sa.select(t.leases).where(t.leases.c.campaign == self.name)).one_or_none()
        if row is None or row.holder is None or row.expires_at <= now:
            return None
        found = Holder(**row.holder)
        return None if found.is_dead() else found


def _default(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    default: Any = column.server_default
    return sa.null() if default is None else sa.literal_column(f"'{default.arg}'", column.type)
