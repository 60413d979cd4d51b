"""Expand: what identity remembers for a while.

Two tables are unlogged (fast, not in the write-ahead log, empty after a crash, absent on a standby), because their loss is
harmless: `ephemeral_rates`, whose limits merely begin anew, and `ephemeral_secrets`, whose sign-ins are started again. The
others are logged: a crash must neither bring back a used code or an ended token, nor forgive failed guesses.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

TABLES = ("ephemeral_rates", "ephemeral_marks", "ephemeral_secrets", "ephemeral_states", "ephemeral_epochs")
GRANTS = f"""
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on {", ".join(TABLES)} to auricle_app;
  end if;
end $$
"""
ROOMY = {"fillfactor": 60}
"""Rows that are updated often stay on their page, and touch no index."""


def upgrade() -> None:
    """Tables that older functions do not know. `key` is a keyed hash everywhere."""
    op.create_table(
        "ephemeral_rates",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("full_at", sa.DateTime(timezone=True), nullable=False),  # GCRA's theoretical arrival time
        sa.PrimaryKeyConstraint("key"),
        prefixes=["UNLOGGED"],
        postgresql_with=ROOMY,
    )
    op.create_table(
        "ephemeral_marks",  # codes that were used, tokens that were ended
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ephemeral_marks_until", "ephemeral_marks", ["until"], unique=False)
    op.create_table(
        "ephemeral_secrets",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "ephemeral_states",  # failed guesses
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        postgresql_with=ROOMY,
    )
    op.create_table(
        "ephemeral_epochs",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget them."""
    for table in reversed(TABLES):
        op.drop_table(table)
