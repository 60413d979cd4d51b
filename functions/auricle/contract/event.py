"""Events: past-tense facts that carry references and only ever grow optional fields.

A fact is a frozen struct; the envelope is its CloudEvents 1.0 form. Extension names are `[a-z][a-z0-9]*`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import msgspec

EXTENSION_NAME = re.compile(r"^[a-z][a-z0-9]*$")
TYPE_NAME = re.compile(r"^auricle\.[a-z]+\.[a-z]+(-[a-z]+)*\.v[1-9][0-9]*$")
JSON = "application/json"

F = TypeVar("F", bound="Fact")


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of one event type. Unknown fields are ignored, so that newer publishers do not break older readers."""

    TYPE: ClassVar[str] = ""
    """`auricle.<room>.<past-participle>.v1`"""
    ATTRIBUTES: ClassVar[tuple[str, ...]] = ()
    """Fields that are also sent as extension attributes (as strings), because Triggers filter on them."""
    CONCERNS: ClassVar[str] = ""
    """Shared attribute by which one function hears several types through one Trigger (`run`)."""
    SECRETLESS: ClassVar[bool] = False
    """Published by a function without keys: carries a `receipt` instead of a `sig`."""
    FAILURE: ClassVar[bool] = False
    """A `….failed` fact: the event door builds it from the event that failed (fields of the same name) and `error`."""

    def attributes(self) -> dict[str, str]:
        """Extension attributes that belong to this fact."""
        found = {name: str(getattr(self, name)) for name in self.ATTRIBUTES if getattr(self, name) is not None}
        if self.CONCERNS:
            found["concerns"] = self.CONCERNS
        return found

    def encoded(self) -> bytes:
        """JSON, field order as declared: the same fact has the same bytes."""
        return msgspec.json.encode(self)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent 1.0 without any SDK: what travels, what the inbox and outbox keep."""

    id: str
    source: str
    type: str
    time: datetime
    subject: str | None = None
    datacontenttype: str = JSON
    data: bytes = b""
    extensions: dict[str, str] = {}

    def attribute(self, name: str) -> str | None:
        """The value a filter on `name` compares with, or None when the event lacks it."""
        if name in ("id", "source", "type", "subject", "datacontenttype"):
            value: str | None = getattr(self, name)
            return value
        if name == "time":
            return self.time.isoformat()
        return self.extensions.get(name)


def decode(kind: type[F], data: bytes) -> F:
    """The fact in `data`; raises `msgspec.ValidationError` with the path of what is wrong."""
    return msgspec.json.decode(data, type=kind)


def failure_of(kind: type[Fact], event: Fact, error: str) -> Fact:
    """The `….failed` fact that answers `event`: every field that both share, and why."""
    shared: dict[str, Any] = {name: getattr(event, name) for name in kind.__struct_fields__ if hasattr(event, name)}
    return kind(**{**shared, "error": error})
