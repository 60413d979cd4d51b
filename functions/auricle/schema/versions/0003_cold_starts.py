"""Expand: what runs waited for because functions were asleep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision: str | None = "0002"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

GRANTS = """
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on cold_starts to auricle_app;
  end if;
end $$
"""


def upgrade() -> None:
    """A table that older functions do not know."""
    op.create_table(
        "cold_starts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("cold_starts_by_run", "cold_starts", ["run_id", "step"], unique=False)
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget it."""
    op.drop_table("cold_starts")
