"""Expand: whether a released piece was begun, since when a step's pieces wait, and which speech was announced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

GRANTS = """
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on speech_expected to auricle_app;
  end if;
end $$
"""


def upgrade() -> None:
    """Add what older functions do not mention: everything has a default."""
    op.add_column("pieces", sa.Column("begun", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("steps", sa.Column("unattended_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("steps", sa.Column("awaited", sa.Text(), nullable=True))
    op.add_column("steps", sa.Column("wait_told", sa.Boolean(), server_default="false", nullable=False))
    op.create_index(
        "steps_unattended",
        "steps",
        ["unattended_since"],
        unique=False,
        postgresql_where=sa.text("unattended_since is not null and not wait_told"),
    )
    op.create_table(
        "speech_expected",
        sa.Column("work", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("work", "model"),
    )
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget them."""
    op.drop_table("speech_expected")
    op.drop_index("steps_unattended", "steps")
    op.drop_column("steps", "wait_told")
    op.drop_column("steps", "awaited")
    op.drop_column("steps", "unattended_since")
    op.drop_column("pieces", "begun")
