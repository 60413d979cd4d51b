"""What other rooms may join with: read-only views of files."""

from __future__ import annotations

from sqlalchemy import select

from auricle.files.model import FileState
from auricle.files.store import files

originals = select(files.c.id.label("file_id"), files.c.key, (files.c.state == FileState.PURGED).label("purged")).subquery(
    "originals"
)
"""Where each file's bytes are now, and whether it is purged."""
