"""Pages by cursor: the `next` of a page says where the following one begins. Opaque to callers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from auricle.contract.http import MAX_PAGE, Page, PageQuery
from auricle.errors import Invalid


class HasId(Protocol):
    """Anything listed by a UUIDv7, newest first."""

    @property
    def id(self) -> UUID:
        """Its id."""
        ...


Item = TypeVar("Item", bound=HasId)
BAD = "That cursor is not one of ours. Leave it out to start with the first page."


def size(query: PageQuery) -> int:
    """The asked-for page size, if it can be had."""
    if not 1 <= query.limit <= MAX_PAGE:
        raise Invalid(f"limit is between 1 and {MAX_PAGE}.", field="limit")
    return query.limit


def uuid_cursor(query: PageQuery, fetch: Callable[[int, UUID | None], list[Item]]) -> Page[Item]:
    """A page of things whose id is also their order: `fetch(limit, before)`, newest first."""
    limit = size(query)
    before: UUID | None = None
    if query.cursor:
        try:
            before = UUID(query.cursor)
        except ValueError:
            raise Invalid(BAD, field="cursor") from None
    items = fetch(limit + 1, before)
    return Page(items[:limit], str(items[limit - 1].id) if len(items) > limit else None)


def encode(*values: object) -> str:
    """A cursor out of the sort key of a page's last item."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def decode(cursor: str, length: int) -> list[object]:
    """The sort key inside a cursor made by `encode`."""
    try:
        values = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list)
    except (binascii.Error, ValueError):
        raise Invalid(BAD, field="cursor") from None
    if len(values) != length:
        raise Invalid(BAD, field="cursor")
    return values
