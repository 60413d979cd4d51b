"""A room's queries, bound to the current unit of work."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol


class Store:
    """Base of the rooms' stores: the door makes one per request or event with its connection, and commits afterwards."""

    __slots__ = ("db",)

    def __init__(self, db: Any) -> None:
        """`db` is a SQLAlchemy Core `Connection` inside a transaction (Any here: the contract imports no library)."""
        self.db = db


class Units(Protocol):
    """Short units of work of their own, for slow stages that otherwise hold no transaction."""

    def unit(self) -> AbstractContextManager[Any]:
        """`with units.unit() as db: FileStore(db).get(…)`: one transaction, committed at the end of the block."""
        ...
