"""Expand: who has acknowledged which banner."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Columns that older functions do not know; null: nothing was acknowledged."""
    op.add_column("sessions", sa.Column("banner", sa.Text(), nullable=True))
    op.add_column("principals", sa.Column("banner", sa.Text(), nullable=True))


def downgrade() -> None:
    """Forget it: everybody is asked anew."""
    op.drop_column("principals", "banner")
    op.drop_column("sessions", "banner")
