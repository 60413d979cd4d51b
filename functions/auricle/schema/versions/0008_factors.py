"""Expand: second factors, and at each account whether there is one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision: str | None = "0007"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

TABLES = ("authenticators", "backup_codes", "passkey_handles", "passkeys")
GRANTS = f"""
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on {", ".join(TABLES)} to auricle_app;
  end if;
end $$
"""


def _of_people() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["principal_id"], ["people.principal_id"], ondelete="CASCADE")


def upgrade() -> None:
    """Tables and a column that older functions do not know."""
    op.add_column("people", sa.Column("second_factor", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "authenticators",
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        sa.Column("offered", sa.LargeBinary(), nullable=True),
        sa.Column("offered_at", sa.DateTime(timezone=True), nullable=True),
        _of_people(),
        sa.PrimaryKeyConstraint("principal_id"),
    )
    op.create_table(
        "backup_codes",
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("sign", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        _of_people(),
        sa.PrimaryKeyConstraint("principal_id", "sign"),
    )
    op.create_table(
        "passkey_handles",
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        _of_people(),
        sa.PrimaryKeyConstraint("principal_id"),
        sa.UniqueConstraint("handle"),
    )
    op.create_table(
        "passkeys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("passwordless", sa.Boolean(), nullable=False),
        sa.Column("synced", sa.Boolean(), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("aaguid", sa.Text(), nullable=False),
        sa.Column("transports", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        _of_people(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("credential"),
    )
    op.create_index("ix_passkeys_principal_id", "passkeys", ["principal_id"], unique=False)
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget them."""
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_column("people", "second_factor")
