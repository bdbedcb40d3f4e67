"""How a candidate came to be asked for, and what a round knows of its model.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what a first design asked for is known by its lack of a prediction."""
    op.add_column("requests", sa.Column("arm", sa.String(16), nullable=False, server_default="chosen"))
    op.add_column("requests", sa.Column("rule", sa.String(64), nullable=False, server_default=""))
    op.add_column("requests", sa.Column("novelty", sa.Float))
    op.execute("UPDATE requests SET arm = 'design' WHERE purpose = 'candidate' AND mean IS NULL")
    op.add_column("rounds", sa.Column("calibration", sa.JSON))
    op.add_column("rounds", sa.Column("test_metrics", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("rounds", sa.Column("forecast", sa.JSON, nullable=False, server_default="{}"))
    op.add_column("rounds", sa.Column("settings", sa.JSON))
    op.add_column("rounds", sa.Column("classes", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Remove them."""
    for column in ("calibration", "test_metrics", "forecast", "settings", "classes"):
        op.drop_column("rounds", column)
    for column in ("arm", "rule", "novelty"):
        op.drop_column("requests", column)
