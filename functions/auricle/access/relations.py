"""What other rooms may ask of grants in their own queries: which files others shared with somebody."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select

from auricle.access.model import ThingKind
from auricle.access.store import grants, held_by, living


def shared_files(who: UUID) -> Any:
    """The ids of files that were shared with them, directly or with one of their groups, and still are. For lists of many."""
    return select(grants.c.thing).where(grants.c.kind == ThingKind.FILE, held_by(who), living())
