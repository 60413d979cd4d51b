"""Groups as administrators see them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from auricle.access.sharing.model import GroupId
from auricle.errors import Invalid

LONGEST_NAME = 100


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Some people. `external`: another house says who they are."""

    id: GroupId
    name: str
    external: bool
    members: int
    created_at: datetime


class Member(msgspec.Struct, frozen=True):
    """Somebody in a group."""

    id: UUID
    name: str


def group_name(name: str) -> str:
    """A name that can be told from others."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(f"A group's name has 1 to {LONGEST_NAME} characters, all on one line.", field="name")
    return name
