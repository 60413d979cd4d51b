"""The one module that knows the CloudEvents SDK: requests to envelopes, envelopes to requests and replies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import msgspec
from cloudevents.conversion import to_binary
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http

from auricle.contract.event import JSON, Envelope
from auricle.errors import Invalid

HEADER_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
"""What header values hold as it is: printable ASCII but blank, quote and percent."""
_KNOWN = {"id", "source", "type", "time", "subject", "datacontenttype", "specversion"}


def envelope_of(headers: Mapping[str, str], body: bytes) -> Envelope:
    """The event in a request, binary or structured; `Invalid` says what is not right."""
    structured = headers.get("content-type", "").startswith("application/cloudevents+json")
    try:
        # The SDK leaves header values percent-encoded (CloudEvents HTTP binding, 3.1.3.2).
        plain = {name: unquote(value) if name.startswith("ce-") else value for name, value in headers.items()}
        event = from_http(plain, body, data_unmarshaller=None if structured else _bytes)
    except (GenericException, ValueError, TypeError) as error:
        raise Invalid(f"This is not a CloudEvent 1.0: {error}") from error
    attributes = event.get_attributes()
    if not attributes.get("id") or not attributes.get("source") or not attributes.get("type"):
        raise Invalid("A CloudEvent needs id, source and type.")
    data = event.get_data()
    if data is None:
        data = b""
    elif not isinstance(data, bytes):
        data = data.encode() if isinstance(data, str) and not structured else msgspec.json.encode(data)
    return Envelope(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        time=_time(attributes.get("time")),
        subject=attributes.get("subject"),
        datacontenttype=attributes.get("datacontenttype") or JSON,
        data=data,
        extensions={k: str(v) for k, v in attributes.items() if k not in _KNOWN},
    )


def binary(event: Envelope) -> tuple[dict[str, str], bytes]:
    """Headers and body of `event` in binary mode."""
    attributes = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": event.datacontenttype,
        **event.extensions,
    }
    if event.subject is not None:
        attributes["subject"] = event.subject
    headers, body = to_binary(CloudEvent(attributes, event.data), data_marshaller=_bytes)
    return {name: quote(value, safe=HEADER_SAFE) for name, value in headers.items()}, bytes(body)


def _bytes(data: bytes) -> bytes:
    return data


def _time(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError as error:
        raise Invalid(f"The event's time {text!r} is not RFC 3339.") from error
