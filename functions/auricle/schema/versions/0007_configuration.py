"""Expand: what administrators set, before what the environment says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision: str | None = "0006"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

GRANTS = """
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on configuration to auricle_app;
  end if;
end $$
"""


def upgrade() -> None:
    """A table that older functions do not know."""
    op.create_table(
        "configuration",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_by", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget it."""
    op.drop_table("configuration")
