"""What was shared with whom: groups, grants, service accounts, and what follows from a file's changing hands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels: tuple[str, ...] | None = None
depends_on: str | None = None

TABLES = ("groups", "group_members", "grants")
GRANTS = f"""
do $$ begin
  if exists (select from pg_roles where rolname = 'auricle_app') then
    grant select, insert, update, delete on {", ".join(TABLES)} to auricle_app;
  end if;
end $$
"""
SCOPES = "audit:read comments:write files:read files:write operate runs:write shares:write tokens:write transcripts:write"
"""What a token without scopes meant until now. From now on what a token may is written down, and nothing means nothing."""


def upgrade() -> None:
    """Tables and columns that older functions do not know; they read tokens that say all their scopes as before."""
    op.create_table(
        "groups",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("external", sa.Boolean(), server_default="false", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("group_id", "principal_id"),
    )
    op.create_index("group_members_by_person", "group_members", ["principal_id"], unique=False)
    op.create_table(
        "grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("thing", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=True),
        sa.Column("group_id", sa.Uuid(), nullable=True),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("given_by", sa.Uuid(), nullable=True),
        sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(principal_id is null) <> (group_id is null)", name="grants_one_subject"),
        sa.CheckConstraint("level between 1 and 4", name="grants_level"),
        sa.ForeignKeyConstraint(["principal_id"], ["principals.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["given_by"], ["principals.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "thing", "principal_id", name="grants_to_a_person"),
        sa.UniqueConstraint("kind", "thing", "group_id", name="grants_to_a_group"),
    )
    op.create_index("grants_of_person", "grants", ["principal_id", "kind"], unique=False)
    op.create_index("grants_of_group", "grants", ["group_id", "kind"], unique=False)
    op.add_column("principals", sa.Column("role", sa.Text(), nullable=True))
    op.add_column("principals", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("files", sa.Column("brought_by", sa.Uuid(), nullable=True))
    op.add_column("event_log", sa.Column("file_id", sa.Uuid(), nullable=True))
    op.execute(f"update tokens set scopes = string_to_array('{SCOPES}', ' ') where scopes = '{{}}'")  # noqa: S608 - our words
    op.execute(GRANTS)


def downgrade() -> None:
    """Forget them; tokens keep what they were given."""
    op.drop_column("event_log", "file_id")
    op.drop_column("files", "brought_by")
    op.drop_column("principals", "ended_at")
    op.drop_column("principals", "role")
    for table in reversed(TABLES):
        op.drop_table(table)
