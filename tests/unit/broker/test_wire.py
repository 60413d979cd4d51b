"""Events keep what they are, whatever way they come."""

from __future__ import annotations

import base64
import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.runtime.local.broker import wire
from auricle.runtime.local.broker.wire import Event, NotAnEvent, UnknownMode

BASE = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(
    lambda name: name not in {"data", "specversion", "id", "source", "type", "time", "datacontenttype"}
)
TEXTS = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=40)


def structured(**members: object) -> Event:
    """The event of a structured message."""
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **members}
    return wire.read({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())


@given(st.dictionaries(NAMES, TEXTS, max_size=5), st.binary(max_size=200))
def test_what_is_read_binary_is_written_the_same(attributes: dict[str, str], data: bytes) -> None:
    headers = {**BASE, **{f"ce-{name}": wire._travelling(value) for name, value in attributes.items()}, "content-type": "a/b"}
    assert dict(wire.headers_of(wire.read(headers, data))) == headers
    assert wire.read(headers, data).data == data


@given(st.dictionaries(NAMES, TEXTS, max_size=5), st.binary(max_size=200))
def test_structured_text_is_understood_as_it_was_meant(attributes: dict[str, str], data: bytes) -> None:
    event = structured(**attributes, data_base64=base64.b64encode(data).decode())
    assert {name: event.value(name) for name in attributes} == attributes
    assert event.data == data
    again = wire.read(dict(wire.headers_of(event)), event.data)
    assert again == event
    assert all(value.isascii() and value.isprintable() and " " not in value for name, value in again.attributes.items())


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
)
def test_structured_json_data_stays_the_same_json(value: object) -> None:
    data = structured(data=value).data
    assert (json.loads(data) if data else None) == value


def test_an_extension_may_be_called_like_anything_in_lower_case() -> None:
    assert structured(knativebrokerttl=3).hops == 3
    assert structured(knativebrokerttl="many").hops == wire.FIRST_TTL


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"id": None}, "no id"),
        ({"id": 1.5}, "neither text"),
        ({"type": ""}, "no type"),
        ({"specversion": "0.3"}, "only 1.0"),
        ({"time": "2026-01-01"}, "RFC 3339"),
        ({"myOwn": "1"}, "lower-case"),
        ({"subject": "a\x00b"}, "control characters"),
        ({"data": 1, "data_base64": "AA=="}, "both data and data_base64"),
        ({"data_base64": 7}, "not base64"),
        ({"list": [1]}, "neither text"),
        ({"datacontenttype": " text/plain"}, "no media type"),
        ({"datacontenttype": "text/größe"}, "no media type"),
        ({"datacontenttype": ""}, "no media type"),
        ({"subject": "\ud800"}, "not a JSON object"),
    ],
)
def test_what_is_wrong_with_a_structured_event_is_said(members: dict[str, object], why: str) -> None:
    with pytest.raises(NotAnEvent, match=why):
        structured(**members)


@pytest.mark.parametrize("mode", ["application/cloudevents-batch+json", "application/cloudevents+avro"])
def test_other_modes_are_refused_as_such(mode: str) -> None:
    with pytest.raises(UnknownMode, match="one by one"):
        wire.read({"content-type": mode}, b"[]")


def test_a_dead_letter_is_the_event_and_why() -> None:
    event = Event(attributes={"id": "1", "source": "/s", "type": "t", "tenant": "a"}, data=b"x", trace={"traceparent": "p"})
    letter = wire.dead(event, "http://127.0.0.1:1/a", 500, b"\xff" * 5000)
    assert (letter.data, letter.trace) == (event.data, event.trace)
    assert event.attributes.items() <= letter.attributes.items()
    assert letter.attributes["knativeerrorcode"] == "500"
    assert len(letter.attributes["knativeerrordata"]) == 1024
    assert base64.b64decode(letter.attributes["knativeerrordata"]) == b"\xff" * 768


@given(st.dictionaries(NAMES | st.sampled_from(["datacontenttype", "subject", "time", "dataschema"]), st.text(max_size=20)))
def test_whatever_is_taken_can_be_sent_on(attributes: dict[str, str]) -> None:
    try:
        event = structured(**attributes)
    except NotAnEvent:
        return
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in wire.headers_of(event)]
    h11.Request(method="POST", target="/", headers=[(b"host", b"x"), *headers])
