"""What other rooms may join with: read-only views of files."""

from __future__ import annotations

from sqlalchemy import func, select

from auricle.files.model import FileState
from auricle.files.store import files

originals = select(files.c.id.label("file_id"), files.c.key, (files.c.state == FileState.PURGED).label("purged")).subquery(
    "originals"
)
"""Where each file's bytes are now, and whether it is purged."""

bytes_kept = select(
    func.coalesce(func.sum(files.c.size).filter(files.c.key.is_not(None)), 0).label("stored"),
    func.coalesce(func.sum(files.c.size).filter(files.c.key.is_(None)), 0).label("unfinished"),
).where(files.c.state != FileState.PURGED)
"""Bytes of all originals that are here, the trash included, and of those that uploads announced and have not brought yet."""

files_by_id = (
    select(files.c.id, files.c.owner, files.c.id.label("file_id"), files.c.name)
    .where(files.c.state != FileState.PURGED)
    .subquery("files_by_id")
)
"""Each file that is not purged, and whose it is."""
