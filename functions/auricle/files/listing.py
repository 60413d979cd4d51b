"""Lists of files: filters, orders and keyset cursors, each order on an index of its own."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import BigInteger, DateTime, Float, Text, Uuid, literal, or_, select, tuple_, union_all

from auricle.access.relations import shared_files
from auricle.contract.cursors import BAD, decode, encode, size
from auricle.contract.http import Page, PageQuery
from auricle.contract.store import Store
from auricle.errors import Invalid
from auricle.files.model import File, FileState, MediaKind, folded
from auricle.files.store import LENGTH, file_of, files

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with a time zone: `2025-01-31T00:00:00Z`."""


class SortBy(StrEnum):
    """What a list of files is ordered by."""

    CREATED = "created"
    NAME = "name"
    DURATION = "duration"
    SIZE = "size"


class Order(StrEnum):
    """Which way."""

    ASC = "asc"
    DESC = "desc"


class FileQuery(PageQuery, frozen=True, kw_only=True):
    """Which files, and how: `q` is a part of the name, `state` may be repeated, the trash is listed with `state=trashed` only.

    Without `order`: names from A, everything else from the newest, longest or largest. `shared`: true for what others shared
    with the caller alone, false for the caller's own alone.
    """

    q: str | None = None
    state: tuple[FileState, ...] = ()
    type: MediaKind | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    sort: SortBy = SortBy.CREATED
    order: Order | None = None
    shared: bool | None = None


class _Column(NamedTuple):
    """How one order looks in SQL and in a cursor."""

    expression: Any
    sql: Any
    value: Any
    of: str


_BIGGEST = 2**63 - 1
_COLUMNS: dict[SortBy, _Column] = {
    SortBy.CREATED: _Column(files.c.created_at, DateTime(timezone=True), Instant, "created_at"),
    SortBy.NAME: _Column(files.c.name_key, Text(), str, "name_key"),
    SortBy.DURATION: _Column(LENGTH, Float(), float, "length"),
    SortBy.SIZE: _Column(files.c.size, BigInteger(), Annotated[int, msgspec.Meta(ge=0, le=_BIGGEST)], "size"),
}


class FileList(Store):
    """What somebody sees, page by page."""

    def page(self, who: UUID, query: FileQuery) -> Page[File]:
        """One page; `Invalid` when the cursor or the limit is none."""
        limit, column = size(query), _COLUMNS[query.sort]
        descending = _direction(query) is Order.DESC
        keys = [column.expression, files.c.id]
        statement = select(files, LENGTH.label("length")).where(*_filters(query))
        if query.cursor:
            last = _position(query, column)
            statement = statement.where(tuple_(*keys) < last if descending else tuple_(*keys) > last)
        statement = statement.order_by(*_ordered(keys, descending)).limit(limit + 1)
        own = statement.where(files.c.owner == who)
        shared = statement.where(files.c.owner != who, files.c.id.in_(shared_files(who)))
        if query.shared is None:  # two short lists, each from its own index, made one
            both = union_all(own, shared).subquery()
            statement = select(both).order_by(*_ordered([both.c[column.of], both.c.id], descending)).limit(limit + 1)
        rows = self.db.execute(statement if query.shared is None else shared if query.shared else own).all()
        return Page([file_of(row) for row in rows[:limit]], _cursor(query, rows[limit - 1]) if len(rows) > limit else None)


def _ordered(keys: list[Any], descending: bool) -> list[Any]:
    return [key.desc() if descending else key.asc() for key in keys]


def _direction(query: FileQuery) -> Order:
    return query.order or (Order.ASC if query.sort is SortBy.NAME else Order.DESC)


def _filters(query: FileQuery) -> list[Any]:
    found = [files.c.state != FileState.PURGED, _in_state(query.state)]
    if query.q:
        if "\0" in query.q:
            raise Invalid("q holds a character that no name has.", field="q")
        found.append(files.c.name_key.contains(folded(query.q), autoescape=True))
    if query.type:
        found.append(files.c.kind == query.type)
    if query.created_after:
        found.append(files.c.created_at >= query.created_after)
    if query.created_before:
        found.append(files.c.created_at < query.created_before)
    return found


def _in_state(states: tuple[FileState, ...]) -> Any:
    """The trash is its own list: only who asks for it sees it."""
    if FileState.PURGED in states:
        raise Invalid("Purged files are gone; they are in no list.", field="state")
    living = [state for state in states if state is not FileState.TRASHED]
    shown: Any = files.c.trashed_at.is_(None)
    if living:
        shown &= files.c.state.in_(living)
    if FileState.TRASHED not in states:
        return shown
    trash = files.c.trashed_at.is_not(None)
    return or_(trash, shown) if living else trash


def _cursor(query: FileQuery, row: Any) -> str:
    return encode(query.sort, _direction(query), getattr(row, _COLUMNS[query.sort].of), row.id)


def _position(query: FileQuery, column: _Column) -> Any:
    """Where the page before ended, as SQL; a cursor fits only the order it was made for."""
    sort, order, value, id = decode(query.cursor or "", 4)
    if (sort, order) != (query.sort, _direction(query)):
        raise Invalid("That cursor belongs to a list in another order. Start again with the first page.", field="cursor")
    try:
        place = msgspec.convert(value, column.value)
        last = msgspec.convert(id, UUID)
    except msgspec.ValidationError:
        raise Invalid(BAD, field="cursor") from None
    if isinstance(place, str) and "\0" in place:
        raise Invalid(BAD, field="cursor")
    return tuple_(literal(place, column.sql), literal(last, Uuid()))
