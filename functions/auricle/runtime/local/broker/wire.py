"""CloudEvents as they travel: nothing is interpreted that need not be, so nothing is lost on the way.

Attributes are kept the way HTTP headers carry them (CloudEvents HTTP binding 1.0.2, §3.1.3: percent-encoded UTF-8).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

STRUCTURED = "application/cloudevents+json"
PASSED_ON = ("traceparent", "tracestate")
"""HTTP headers that go with an event from its publisher to its subscribers."""
TTL = "knativebrokerttl"
FIRST_TTL = 255
ERROR_DATA = 768
"""Bytes of an answer that a dead letter quotes: 1024 characters of base64."""
NO_ANSWER = -1
"""`knativeerrorcode` when there was no answer at all, as RabbitMQ's dispatcher says it."""

_NAME = re.compile(r"^[a-z0-9]+$")
_TIME = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")
_PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$")
_NEEDED = ("id", "source", "type")


class NotAnEvent(ValueError):
    """What came is not a CloudEvent 1.0; says why."""


class UnknownMode(NotAnEvent):
    """A CloudEvents content mode that this broker does not take."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One CloudEvent. `attributes` has neither `ce-` nor `specversion`; `trace` are headers that travel with it."""

    attributes: dict[str, str]
    data: bytes = b""
    trace: dict[str, str] = {}

    def value(self, name: str) -> str | None:
        """The attribute `name` as its publisher meant it, or None."""
        if name == "specversion":
            return "1.0"
        found = self.attributes.get(name)
        return None if found is None else _plain(found)

    @property
    def hops(self) -> int:
        """How many more times this event may pass the broker."""
        try:
            return int(self.attributes[TTL])
        except (KeyError, ValueError):
            return FIRST_TTL

    def with_attributes(self, changes: Mapping[str, str]) -> Event:
        """This event with some attributes set."""
        return Event(attributes={**self.attributes, **changes}, data=self.data, trace=self.trace)


def read(headers: Mapping[str, str], body: bytes) -> Event:
    """The event in a message, binary or structured; raises `NotAnEvent`. Header names are lower-case."""
    mode = _bare(headers.get("content-type", ""))
    if mode == STRUCTURED:
        attributes, data = _structured(body)
    elif mode.startswith("application/cloudevents"):
        raise UnknownMode(f"Events come one by one, binary or as {STRUCTURED}; {mode} is not taken.")
    elif "ce-specversion" in headers:
        attributes, data = _binary(headers), body
    else:
        raise NotAnEvent(f"This is no CloudEvent: it has no ce-specversion header and is not {STRUCTURED}.")
    _check(attributes)
    return Event(attributes=attributes, data=data, trace={name: headers[name] for name in PASSED_ON if name in headers})


def holds_event(headers: Mapping[str, str]) -> bool:
    """Whether a message claims to be a CloudEvent."""
    return "ce-specversion" in headers or _bare(headers.get("content-type", "")).startswith("application/cloudevents")


def headers_of(event: Event) -> list[tuple[str, str]]:
    """The headers of `event` in binary mode; its data is the body."""
    found = [("ce-specversion", "1.0")]
    found += [(f"ce-{name}", value) for name, value in event.attributes.items() if name != "datacontenttype"]
    if kind := event.attributes.get("datacontenttype"):
        found.append(("content-type", kind))
    return [*found, *event.trace.items()]


def dead(event: Event, destination: str, code: int, detail: bytes) -> Event:
    """`event` as a dead letter: whole, and with Knative's three words on what went wrong."""
    return event.with_attributes(
        {
            "knativeerrordest": _travelling(destination),
            "knativeerrorcode": str(code),
            "knativeerrordata": base64.b64encode(detail[:ERROR_DATA]).decode(),
        }
    )


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _plain(value: str) -> str:
    """From header form to text."""
    return unquote_to_bytes(value.encode("latin-1")).decode("utf-8", "replace")


def _travelling(text: str) -> str:
    """From text to header form."""
    return quote_from_bytes(text.encode(), safe=_PRINTABLE)


def _binary(headers: Mapping[str, str]) -> dict[str, str]:
    attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    attributes.pop("datacontenttype", None)  # in binary mode Content-Type says it
    if kind := headers.get("content-type"):
        attributes["datacontenttype"] = kind
    _check_version(attributes.pop("specversion", None))
    return attributes


def _structured(body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        values: dict[str, Any] = {k: msgspec.json.decode(v) for k, v in members.items() if k not in ("data", "data_base64")}
    except msgspec.DecodeError as error:
        raise NotAnEvent(f"The structured event is not a JSON object: {error}.") from error
    _check_version(values.pop("specversion", None))
    kind = values.setdefault("datacontenttype", "application/json")
    if "data" in members and "data_base64" in members:
        raise NotAnEvent("The structured event has both data and data_base64.")
    attributes = {name: _text(name, value) for name, value in values.items() if value is not None}
    return attributes, _data(members, _bare(str(kind)))


def _data(members: Mapping[str, msgspec.Raw], kind: str) -> bytes:
    if "data_base64" in members:
        try:
            return msgspec.json.decode(members["data_base64"], type=bytes)
        except msgspec.DecodeError as error:
            raise NotAnEvent("data_base64 is not base64.") from error
    raw = bytes(members.get("data", b""))
    if raw == b"null":
        return b""
    json_like = kind.endswith(("/json", "+json"))
    return msgspec.json.decode(raw, type=str).encode() if raw.startswith(b'"') and not json_like else raw


def _text(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            if _CONTROL.search(value):
                raise NotAnEvent(f"The attribute {name} holds control characters.")
            return _media_type(value) if name == "datacontenttype" else _travelling(value)
    raise NotAnEvent(f"The attribute {name} is neither text, number nor truth value.")


def _media_type(value: str) -> str:
    if not _HEADER.match(value):
        raise NotAnEvent("The attribute datacontenttype is no media type.")
    return value


def _check_version(version: object) -> None:
    if version != "1.0":
        raise NotAnEvent(f"The event's specversion is {version!r}; only 1.0 is understood.")


def _check(attributes: Mapping[str, str]) -> None:
    for name in _NEEDED:
        if not attributes.get(name):
            raise NotAnEvent(f"The event has no {name}.")
    for name in attributes:
        if not _NAME.match(name):
            raise NotAnEvent(f"{name!r} cannot be an attribute: names are lower-case letters and digits.")
    if (time := attributes.get("time")) is not None and not _TIME.match(time):
        raise NotAnEvent(f"The event's time {time!r} is not RFC 3339.")
