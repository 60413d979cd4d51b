"""Expand: what a deployment's limits are counted with, and invitations by whoever runs the house."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision: str | None = "0012"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

GRANTS = """
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on transcriptions to auricle_app;
  end if;
end $$
"""


def upgrade() -> None:
    """A table and columns that older functions do not know: to them every run has its turn, and nobody's minutes end."""
    op.create_table(
        "transcriptions",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run_id"),
    )
    op.create_index("transcriptions_by_time", "transcriptions", ["began_at"], unique=False)
    op.add_column("runs", sa.Column("in_line", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("runs", sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False))
    op.add_column("invitations", sa.Column("by_house", sa.Boolean(), server_default="false", nullable=False))
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget what was counted; whoever runs the house invites anew."""
    op.drop_column("invitations", "by_house")
    op.drop_column("runs", "queued_at")
    op.drop_column("runs", "in_line")
    op.drop_table("transcriptions")
