"""A room's queries, bound to the current unit of work."""

from __future__ import annotations

from typing import Any


class Store:
    """Base of the rooms' stores: the door makes one per request or event with its connection, and commits afterwards."""

    __slots__ = ("db",)

    def __init__(self, db: Any) -> None:
        """`db` is a SQLAlchemy Core `Connection` inside a transaction (Any here: the contract imports no library)."""
        self.db = db
