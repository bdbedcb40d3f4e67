"""A person's word: rounds that wait for approval, campaigns that are to end, and jobs that are to end with them.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table; no round of before waits for anybody."""
    with op.batch_alter_table("campaigns") as campaigns:
        campaigns.add_column(sa.Column("ending", sa.JSON(none_as_null=True)))
    with op.batch_alter_table("requests") as requests:
        requests.add_column(sa.Column("cancel_asked_at", sa.String(32)))
    op.create_table(
        "approvals",
        sa.Column("campaign", sa.String(64), sa.ForeignKey("campaigns.name"), primary_key=True),
        sa.Column("round", sa.Integer, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("asked_at", sa.String(32), nullable=False),
        sa.Column("decided_at", sa.String(32)),
        sa.Column("by", sa.Text, nullable=False, server_default=""),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column("dropped", sa.JSON, nullable=False, server_default="[]"),
        sa.CheckConstraint("state IN ('asked', 'approved', 'rejected')", name=op.f("ck_approvals_state")),
        sa.CheckConstraint("(state = 'asked') = (decided_at IS NULL)", name=op.f("ck_approvals_decided")),
    )


def downgrade() -> None:
    """Remove them: what waits for approval is submitted, and who wanted the campaign to end must say so again."""
    op.drop_table("approvals")
    with op.batch_alter_table("requests") as requests:
        requests.drop_column("cancel_asked_at")
    with op.batch_alter_table("campaigns") as campaigns:
        campaigns.drop_column("ending")
