"""Where runs, their steps and their pieces of work are kept."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from auricle.schema import metadata

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("file_id", Uuid, nullable=False),
    Column("owner", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    Column("options", JSONB, nullable=False),
    Column("notes", JSONB, nullable=False, server_default="[]"),
    Column("warnings", JSONB, nullable=False, server_default="[]"),
    Column("error", Text),
    Column("speech", Boolean),
    Column("in_line", Boolean, nullable=False, server_default="false"),  # it waits for its turn
    Column("queued_at", DateTime(timezone=True), nullable=False, server_default=func.now()),  # when it was asked for (again)
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Index("runs_by_owner", "owner", "created_at"),
    Index("runs_by_file", "file_id", "created_at"),
    Index("runs_one_active", "file_id", unique=True, postgresql_where=text("state in ('queued', 'running')")),
)
steps = Table(
    "steps",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("progress", Float, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    Column("unattended_since", DateTime(timezone=True)),
    Column("awaited", Text),
    Column("wait_told", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("run_id", "name"),
    Index("steps_unattended", "unattended_since", postgresql_where=text("unattended_since is not null and not wait_told")),
)
pieces = Table(
    "pieces",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("step", Text, nullable=False),
    Column("index", Integer, nullable=False),
    Column("start", Float, nullable=False),
    Column("end", Float, nullable=False),
    Column("weight", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("releases", Integer, nullable=False),
    Column("fraction", Float, nullable=False),
    Column("error", Text),
    Column("sha256", Text),
    Column("size", Integer),
    Column("deadline", DateTime(timezone=True)),
    Column("begun", Boolean, nullable=False, server_default="false"),
    PrimaryKeyConstraint("run_id", "step", "index"),
    Index("pieces_due", "deadline", postgresql_where=text("state = 'released'")),
)
