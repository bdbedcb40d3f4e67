"""What a request's job may use and used, what its backend says, labels taken back, and one more kind of failure.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KINDS = ("crashed", "unconverged", "timeout", "out_of_memory", "rejected", "unparsable", "node")
_BACKEND = ("queued", "running", "ended", "gone", "unknown")


def upgrade() -> None:
    """Add the columns, the table and the kind; who had one core before still has."""
    with op.batch_alter_table("requests") as requests:
        requests.add_column(sa.Column("cores", sa.Integer, nullable=False, server_default="1"))
        requests.add_column(sa.Column("asked_s", sa.Float))
        requests.add_column(sa.Column("queued_s", sa.Float))
        requests.add_column(sa.Column("ran_s", sa.Float))
        requests.add_column(sa.Column("backend", sa.String(16)))
        requests.add_column(sa.Column("backend_since", sa.String(32)))
        requests.add_column(sa.Column("backend_detail", sa.Text, nullable=False, server_default=""))
        requests.drop_constraint(op.f("ck_requests_failure_kind"), type_="check")
        requests.create_check_constraint(
            op.f("ck_requests_failure_kind"), _one_of("failure_kind", *_KINDS, "cancelled")
        )
        requests.create_check_constraint(op.f("ck_requests_backend"), _one_of("backend", *_BACKEND))
        requests.create_check_constraint(op.f("ck_requests_cores"), "cores >= 1")
    op.create_table(
        "retractions",
        sa.Column("campaign", sa.String(64), sa.ForeignKey("campaigns.name"), primary_key=True),
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
        sa.Column("time", sa.String(32), nullable=False),
    )


def downgrade() -> None:
    """Remove them; a job that somebody cancelled counts as crashed again."""
    op.drop_table("retractions")
    op.execute("UPDATE requests SET failure_kind = 'crashed' WHERE failure_kind = 'cancelled'")
    with op.batch_alter_table("requests") as requests:
        for name in ("cores", "backend", "failure_kind"):
            requests.drop_constraint(op.f(f"ck_requests_{name}"), type_="check")
        requests.create_check_constraint(op.f("ck_requests_failure_kind"), _one_of("failure_kind", *_KINDS))
        for column in ("cores", "asked_s", "queued_s", "ran_s", "backend", "backend_since", "backend_detail"):
            requests.drop_column(column)


def _one_of(column: str, *values: str) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"
