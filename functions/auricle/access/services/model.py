"""Service accounts as administrators see them."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

import msgspec

from auricle.access.permissions import Role
from auricle.errors import Invalid

ServiceAccountId = NewType("ServiceAccountId", UUID)
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")
MAX_NAME = 60


class ServiceRole(StrEnum):
    """What a program can be in the house; nothing that administers."""

    MEMBER = "member"
    GUEST = "guest"

    @property
    def role(self) -> Role:
        """Among all roles."""
        return Role(self.value)


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A program's account: no password, no sessions, only tokens that administrators make for it."""

    id: ServiceAccountId
    name: str
    role: ServiceRole
    created_at: datetime


def checked_name(name: str) -> str:
    """A name that fits into file names and logs."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        sentence = f"A service account's name is like nightly-import: a-z, 0-9, dots and dashes, at most {MAX_NAME} of them."
        raise Invalid(sentence, field="name")
    return name
