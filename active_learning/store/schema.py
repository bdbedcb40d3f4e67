"""The tables. The database enforces the law too: keys, checks, and one open request a candidate at most.

Every change here needs a migration (`migrations/versions`); a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from active_learning.domain.approval import ApprovalState
from active_learning.domain.job import JobPhase
from active_learning.domain.label import FailureKind
from active_learning.domain.request import OPEN_STATES, Purpose, RequestState

__all__ = [
    "HEAD",
    "approvals",
    "campaigns",
    "events",
    "labels",
    "leases",
    "metadata",
    "requests",
    "retractions",
    "rounds",
]

HEAD = "0005"
"""The newest migration: a database that says otherwise is upgraded when it is opened for work."""


class UtcTime(sa.types.TypeDecorator[datetime]):
    """UTC as ISO text: the same in SQLite and PostgreSQL, and sortable."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:  # noqa: ARG002
        return None if value is None else datetime.fromisoformat(value)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: Any) -> str:
    return f"{column} IN ({', '.join(repr(str(v)) for v in values)})"


def _campaign(**kwargs: Any) -> sa.Column[str]:
    return sa.Column("campaign", sa.String(64), sa.ForeignKey("campaigns.name"), nullable=False, **kwargs)


campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("spec", sa.JSON, nullable=False),
    sa.Column("pool", sa.JSON(none_as_null=True)),
    sa.Column("features", sa.JSON(none_as_null=True)),
    sa.Column("verdict", sa.JSON(none_as_null=True)),
    sa.Column("versions", sa.JSON, nullable=False),
    sa.Column("ending", sa.JSON(none_as_null=True)),
    sa.CheckConstraint(_one_of("phase", ("active", "paused", "stopped", "failed")), name="phase"),
    sa.CheckConstraint("version >= 1", name="version"),
)

leases = sa.Table(
    "leases",
    metadata,
    _campaign(primary_key=True),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("holder", sa.JSON(none_as_null=True)),
    sa.Column("expires_at", UtcTime, nullable=False),
)

requests = sa.Table(
    "requests",
    metadata,
    _campaign(primary_key=True),
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("candidate_id", sa.String(64), nullable=False),
    sa.Column("formula", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("purpose", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("job_name", sa.String(160), nullable=False),
    sa.Column("handle", sa.Text),
    sa.Column("failure_kind", sa.String(16)),
    sa.Column("failure_detail", sa.Text),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("mean", sa.Float),
    sa.Column("std", sa.Float),
    sa.Column("planned_at", UtcTime, nullable=False),
    sa.Column("submitted_at", UtcTime),
    sa.Column("settled_at", UtcTime),
    sa.Column("arm", sa.String(16), nullable=False, server_default="chosen"),
    sa.Column("rule", sa.String(64), nullable=False, server_default=""),
    sa.Column("novelty", sa.Float),
    sa.Column("cores", sa.Integer, nullable=False, server_default="1"),
    sa.Column("asked_s", sa.Float),
    sa.Column("queued_s", sa.Float),
    sa.Column("ran_s", sa.Float),
    sa.Column("backend", sa.String(16)),
    sa.Column("backend_since", UtcTime),
    sa.Column("backend_detail", sa.Text, nullable=False, server_default=""),
    sa.Column("cancel_asked_at", UtcTime),
    sa.UniqueConstraint("campaign", "candidate_id", "attempt"),
    sa.UniqueConstraint("campaign", "job_name"),
    sa.UniqueConstraint("campaign", "ordinal"),
    sa.CheckConstraint("attempt >= 1", name="attempt"),
    sa.CheckConstraint(_one_of("state", RequestState), name="state"),
    sa.CheckConstraint(_one_of("purpose", Purpose), name="purpose"),
    sa.CheckConstraint(_one_of("failure_kind", FailureKind), name="failure_kind"),
    sa.CheckConstraint(_one_of("backend", JobPhase), name="backend"),
    sa.CheckConstraint("cores >= 1", name="cores"),
    sa.CheckConstraint("state <> 'FAILED' OR failure_kind IS NOT NULL", name="failed_has_a_kind"),
    sa.CheckConstraint("state NOT IN ('RUNNING', 'SUCCEEDED') OR handle IS NOT NULL", name="running_has_a_handle"),
)
sa.Index(
    "ix_requests_one_open",
    requests.c.campaign,
    requests.c.candidate_id,
    unique=True,
    sqlite_where=sa.text(_one_of("state", sorted(OPEN_STATES))),
    postgresql_where=sa.text(_one_of("state", sorted(OPEN_STATES))),
)

labels = sa.Table(
    "labels",
    metadata,
    _campaign(primary_key=True),
    sa.Column("candidate_id", sa.String(64), primary_key=True),
    sa.Column("property", sa.String(128), primary_key=True),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("unit", sa.String(64), nullable=False),
    sa.Column("std", sa.Float),
    sa.Column("time", UtcTime, nullable=False),
    sa.Column("fidelity", sa.String(64), nullable=False),
    sa.Column("request_id", sa.String(80)),
    sa.Column("provenance", sa.JSON, nullable=False),
    sa.UniqueConstraint("campaign", "ordinal"),
    sa.ForeignKeyConstraint(["campaign", "request_id"], ["requests.campaign", "requests.id"]),
    sa.CheckConstraint("std IS NULL OR std >= 0", name="std"),
)

retractions = sa.Table(
    "retractions",
    metadata,
    _campaign(primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("candidate_id", sa.String(64), nullable=False),
    sa.Column("property", sa.String(128), nullable=False),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("unit", sa.String(64), nullable=False),
    sa.Column("fidelity", sa.String(64), nullable=False),
    sa.Column("request_id", sa.String(80)),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("may_ask_again", sa.Boolean, nullable=False),
    sa.Column("n_rounds", sa.Integer, nullable=False),
    sa.Column("time", UtcTime, nullable=False),
)

approvals = sa.Table(
    "approvals",
    metadata,
    _campaign(primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("asked_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime),
    sa.Column("by", sa.Text, nullable=False, server_default=""),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("dropped", sa.JSON, nullable=False, server_default="[]"),
    sa.CheckConstraint(_one_of("state", ApprovalState), name="state"),
    sa.CheckConstraint("(state = 'asked') = (decided_at IS NULL)", name="decided"),
)

rounds = sa.Table(
    "rounds",
    metadata,
    _campaign(primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Column("n_labels", sa.Integer, nullable=False),
    sa.Column("n_picks", sa.Integer, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("out_of_fold", sa.JSON, nullable=False),
    sa.Column("max_std", sa.Float),
    sa.Column("predictions", sa.String(96)),
    sa.Column("importances", sa.JSON, nullable=False),
    sa.Column("preparation", sa.JSON(none_as_null=True)),
    sa.Column("calibration", sa.JSON(none_as_null=True)),
    sa.Column("test_metrics", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("forecast", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("settings", sa.JSON(none_as_null=True)),
    sa.Column("classes", sa.JSON, nullable=False, server_default="[]"),
)

events = sa.Table(
    "events",
    metadata,
    _campaign(primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("time", UtcTime, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)
