"""Grants as people see them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

from auricle.access.permissions import Grant

GrantId = NewType("GrantId", UUID)
GroupId = NewType("GroupId", UUID)


class Level(StrEnum):
    """What can be given. A thing's owner is never made so by a grant, and nothing is given by not giving."""

    VIEWER = "viewer"
    COMMENTER = "commenter"
    EDITOR = "editor"
    MANAGER = "manager"

    @property
    def grant(self) -> Grant:
        """As decisions compare it."""
        return Grant[self.name]


def level_of(grant: int) -> Level:
    """The word for a stored level."""
    return Level[Grant(grant).name]


class Named(msgspec.Struct, frozen=True):
    """A person, a service account or a group, by its name."""

    id: UUID
    name: str


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A grant on a file: to a `person` (or a service account) or to a `group`. After `expires_at` it is worth nothing.

    `given_by` is None when they are gone.
    """

    id: GrantId
    level: Level
    person: Named | None
    group: Named | None
    given_by: Named | None
    given_at: datetime
    expires_at: datetime | None


class SharedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that somebody else owns and the caller was given something on. `id` is the grant's."""

    id: GrantId
    file_id: UUID
    name: str
    owner: Named
    level: Level
    through: Named | None
    given_at: datetime
    expires_at: datetime | None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller may on a file: as its `owner`, or at a given level."""

    level: str
    owner: Named


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who is given something: exactly one of the two."""

    person: UUID | None = None
    group: GroupId | None = None
