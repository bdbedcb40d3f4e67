"""What was done to the descriptors before a model saw them.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("rounds", sa.Column("preparation", sa.JSON))


def downgrade() -> None:
    """Remove it."""
    op.drop_column("rounds", "preparation")
