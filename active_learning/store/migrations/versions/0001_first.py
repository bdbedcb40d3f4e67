"""The first schema.

A migration stands still for ever, so it does not import the tables of today: they are written out here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPEN = "state IN ('PLANNED', 'RUNNING', 'SUBMITTING')"
_STATES = "state IN ('PLANNED', 'SUBMITTING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED', 'LOST')"
_KINDS = "failure_kind IN ('crashed', 'unconverged', 'timeout', 'out_of_memory', 'rejected', 'unparsable', 'node')"


def _campaign(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("campaign", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.name"], name=f"fk_{table}_campaign"),
    ]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "campaigns",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("pool", sa.JSON),
        sa.Column("features", sa.JSON),
        sa.Column("verdict", sa.JSON),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_campaigns"),
        sa.CheckConstraint("phase IN ('active', 'paused', 'stopped', 'failed')", name=op.f("ck_campaigns_phase")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_campaigns_version")),
    )
    op.create_table(
        "leases",
        *_campaign("leases"),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("holder", sa.JSON),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("campaign", name="pk_leases"),
    )
    op.create_table(
        "requests",
        *_campaign("requests"),
        sa.Column("id", sa.String(80), nullable=False),
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
        sa.Column("planned_at", sa.String(32), nullable=False),
        sa.Column("submitted_at", sa.String(32)),
        sa.Column("settled_at", sa.String(32)),
        sa.PrimaryKeyConstraint("campaign", "id", name="pk_requests"),
        sa.UniqueConstraint("campaign", "candidate_id", "attempt", name="uq_requests_campaign_candidate_id_attempt"),
        sa.UniqueConstraint("campaign", "job_name", name="uq_requests_campaign_job_name"),
        sa.UniqueConstraint("campaign", "ordinal", name="uq_requests_campaign_ordinal"),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_requests_attempt")),
        sa.CheckConstraint(_STATES, name=op.f("ck_requests_state")),
        sa.CheckConstraint("purpose IN ('candidate', 'reference')", name=op.f("ck_requests_purpose")),
        sa.CheckConstraint(_KINDS, name=op.f("ck_requests_failure_kind")),
        sa.CheckConstraint("state <> 'FAILED' OR failure_kind IS NOT NULL", name=op.f("ck_requests_failed_has_a_kind")),
        sa.CheckConstraint(
            "state NOT IN ('RUNNING', 'SUCCEEDED') OR handle IS NOT NULL", name=op.f("ck_requests_running_has_a_handle")
        ),
    )
    op.create_index(
        "ix_requests_one_open",
        "requests",
        ["campaign", "candidate_id"],
        unique=True,
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
    op.create_table(
        "labels",
        *_campaign("labels"),
        sa.Column("candidate_id", sa.String(64), nullable=False),
        sa.Column("property", sa.String(128), nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("value", sa.Float, nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("std", sa.Float),
        sa.Column("time", sa.String(32), nullable=False),
        sa.Column("fidelity", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(80)),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("campaign", "candidate_id", "property", name="pk_labels"),
        sa.UniqueConstraint("campaign", "ordinal", name="uq_labels_campaign_ordinal"),
        sa.ForeignKeyConstraint(
            ["campaign", "request_id"], ["requests.campaign", "requests.id"], name="fk_labels_campaign_request_id"
        ),
        sa.CheckConstraint("std IS NULL OR std >= 0", name=op.f("ck_labels_std")),
    )
    op.create_table(
        "rounds",
        *_campaign("rounds"),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("opened_at", sa.String(32), nullable=False),
        sa.Column("n_labels", sa.Integer, nullable=False),
        sa.Column("n_picks", sa.Integer, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("out_of_fold", sa.JSON, nullable=False),
        sa.Column("max_std", sa.Float),
        sa.Column("predictions", sa.String(96)),
        sa.Column("importances", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("campaign", "number", name="pk_rounds"),
    )
    op.create_table(
        "events",
        *_campaign("events"),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("time", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("campaign", "number", name="pk_events"),
    )
