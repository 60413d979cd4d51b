"""What the supervisor tells the first steps, and hears from them. Apart, so that the supervisor loads no database library."""

from __future__ import annotations

import msgspec

DATABASE = "auricle"
OWNER = "auricle_migrate"
GROUP = "auricle_app"
LOGINS = ("auricle_app_a", "auricle_app_b")
"""They alternate: a password is changed for the one that nobody uses."""


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """Our own server: its superuser's address, the database to make, passwords of the roles that log in."""

    superuser_url: str
    database: str
    passwords: dict[str, str]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to bring about. Without `embedded` the database and its roles are somebody else's and used as they are."""

    owner_url: str  # may alter the schema
    app_url: str  # reads and writes rows
    token_file: str
    embedded: Embedded | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What is true now: the schema's revision, whether a token was made just now, and how to become the owner."""

    revision: str
    token_made: bool
    setup_code: str = ""
    """What makes the first owner; empty once there is one."""
