"""The words of HTTP that a route's signature can say. Everything else about HTTP is the door's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")
MAX_PAGE = 200


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of request bodies (JSON). A misspelled field is refused, never ignored."""


class Form(Body, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Base of bodies that come as a form (`application/x-www-form-urlencoded`), as other houses' programs send them.

    What they say beside the fields is theirs to add, and ignored.
    """


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of query strings. Lists repeat the name."""


class PageQuery(Query, frozen=True, kw_only=True):
    """What every list takes: `limit` items (1 … 200) after `cursor`, which is the `next` of the page before."""

    limit: int = 50
    cursor: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `next` is None on the last one."""

    items: list[T]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """An answer with more than a value. `etag` unquoted; `location` for what was made.

    `cookies` are `Set-Cookie` lines.
    `secret`: it tells something that is kept nowhere; the same request once more (`Idempotency-Key`) is not told again.
    """

    value: T
    status: int = 200
    etag: str | None = None
    location: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """The bytes are elsewhere, for the time being (302)."""

    url: str


@dataclass(frozen=True, slots=True)
class Download:
    """A finished document, saved under `filename` by browsers (shown inline without one)."""

    content: bytes
    content_type: str
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """Bytes as they come, saved under `filename` by browsers; the door closes `chunks` when the listener leaves."""

    chunks: Iterator[bytes]
    content_type: str
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """`Annotated[str | None, Header("Last-Event-ID")]`: a parameter that is a request header."""

    name: str
