"""What the door asks of uploads: whose they are. Nobody shares one: there is no file yet."""

from __future__ import annotations

from sqlalchemy import Uuid, cast, func, null, select

from auricle.files.store import files
from auricle.intake.store import uploads

uploads_by_id = (
    select(uploads.c.id, func.coalesce(files.c.owner, uploads.c.owner).label("owner"), cast(null(), Uuid).label("file_id"))
    .outerjoin(files, files.c.id == uploads.c.file_id)
    .subquery("uploads_by_id")
)
"""Each upload; its owner's alone, and nobody's any more once its file was given away."""
