"""Expand: how people come in and go: links in letters, invitations, new addresses; people without a proved address."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

TABLES = ("one_time_tokens", "invitations", "address_changes")
GRANTS = f"""
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on {", ".join(TABLES)} to auricle_app;
  end if;
end $$
"""


def upgrade() -> None:
    """Tables that older functions do not know; an address is no longer asked of everybody."""
    op.create_table(
        "one_time_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("one_time_tokens_by_subject", "one_time_tokens", ["subject", "purpose"], unique=False)
    op.create_index("one_time_tokens_ends", "one_time_tokens", ["ends_at"], unique=False)
    op.create_table(
        "invitations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["invited_by"], ["principals.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("invitations_by_address", "invitations", ["email_key"], unique=False)
    op.create_table(
        "address_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("former", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["principal_id"], ["people.principal_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("address_changes_by_person", "address_changes", ["principal_id"], unique=False)
    op.alter_column("people", "email", nullable=True)
    op.alter_column("people", "email_key", nullable=True)
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget them; who has no address keeps an empty place for one."""
    op.execute("update people set email = '', email_key = principal_id::text where email is null")
    op.alter_column("people", "email_key", nullable=False)
    op.alter_column("people", "email", nullable=False)
    for table in reversed(TABLES):
        op.drop_table(table)
