"""Expand: who people are in other houses, and which of their sessions began there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision: str | None = "0009"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

TABLES = ("linked_identities", "visits")
GRANTS = f"""
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on {", ".join(TABLES)} to auricle_app;
  end if;
end $$
"""


def upgrade() -> None:
    """Tables that older functions do not know."""
    op.create_table(
        "linked_identities",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["principal_id"], ["people.principal_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("issuer", "subject", name="linked_identities_subject"),
    )
    op.create_index("linked_identities_by_person", "linked_identities", ["principal_id"], unique=False)
    op.create_table(
        "visits",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sid", sa.Text(), nullable=True),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index("visits_by_subject", "visits", ["issuer", "subject"], unique=False)
    op.create_index("visits_by_sid", "visits", ["issuer", "sid"], unique=False)
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget them."""
    for table in reversed(TABLES):
        op.drop_table(table)
