"""Events in and out: binary and structured, whatever their attributes hold."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.contract.event import Envelope
from auricle.errors import Invalid
from auricle.runtime.cloudevent import binary, envelope_of

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=30).filter(str.strip)


@given(texts, texts, texts, st.binary(min_size=1, max_size=50))
def test_what_leaves_in_binary_mode_arrives_as_it_was(id: str, subject: str, tenant: str, data: bytes) -> None:
    event = Envelope(
        id=id,
        source="/auricle",
        type="auricle.tests.rung.v1",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        subject=subject,
        data=data,
        extensions={"tenant": tenant},
    )
    headers, body = binary(event)
    assert all(value.isascii() and " " not in value for name, value in headers.items() if name.startswith("ce-"))
    assert envelope_of({name.lower(): value for name, value in headers.items()}, body) == event


def test_structured_mode_is_read_too() -> None:
    body = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": {"x": 1}, "tenant": "ü"}
    event = envelope_of({"content-type": "application/cloudevents+json"}, msgspec.json.encode(body))
    assert (event.id, event.data, event.extensions) == ("1", b'{"x":1}', {"tenant": "ü"})


@pytest.mark.parametrize("headers", [{}, {"ce-id": "1"}, {"ce-id": "1", "ce-specversion": "1.0", "ce-source": "/a"}])
def test_what_is_no_event_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="CloudEvent"):
        envelope_of(headers, b"x")
