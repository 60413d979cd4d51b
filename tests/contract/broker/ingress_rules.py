"""What the ingress takes and refuses, and what of an event arrives."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from builders.broker_process import event_headers
from contract.broker.under_test import Case, Feature, Scene, Trigger

MEBIBYTE = 2**20
STRUCTURED = {"content-type": "application/cloudevents+json"}
EVERY_BYTE = bytes(range(256)) * 4


def without(name: str) -> dict[str, str]:
    return {k: v for k, v in event_headers("x").items() if k != f"ce-{name}"}


def structured(**members: object) -> bytes:
    event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "x", **members}
    return json.dumps({k: v for k, v in event.items() if v is not ...}).encode()


REQUESTS: list[tuple[str, Mapping[str, str], bytes, tuple[int, ...]]] = [
    ("takes a binary event", event_headers("x"), b"{}", (202,)),
    ("takes a structured event", STRUCTURED, structured(data={"a": 1}), (202,)),
    (
        "takes a structured event with a charset",
        {"content-type": "application/cloudevents+json; charset=utf-8"},
        structured(),
        (202,),
    ),
    ("takes an event without data", without("nothing"), b"", (202,)),
    ("refuses an event without id", without("id"), b"{}", (400,)),
    ("refuses an event without source", without("source"), b"{}", (400,)),
    ("refuses an event without type", without("type"), b"{}", (400,)),
    ("refuses an event without specversion", without("specversion"), b"{}", (400,)),
    ("refuses an empty id", {**event_headers("x"), "ce-id": ""}, b"{}", (400,)),
    ("refuses a specversion nobody knows", {**event_headers("x"), "ce-specversion": "2.0"}, b"{}", (400,)),
    ("refuses a time that is none", event_headers("x", time="yesterday"), b"{}", (400,)),
    ("refuses an attribute name with a dash", {**event_headers("x"), "ce-my-own": "1"}, b"{}", (400,)),
    ("refuses what is no event", {"content-type": "application/json"}, b"{}", (400,)),
    ("refuses broken JSON", STRUCTURED, b'{"specversion":', (400,)),
    ("refuses JSON that is no object", STRUCTURED, b"[]", (400,)),
    ("refuses a structured event without id", STRUCTURED, structured(id=...), (400,)),
    ("refuses a structured event with a nested attribute", STRUCTURED, structured(deep={"a": 1}), (400,)),
    ("refuses data that is not base64", STRUCTURED, structured(data_base64="***"), (400,)),
    ("refuses a batch aloud", {"content-type": "application/cloudevents-batch+json"}, b"[]", (400, 415)),
    ("refuses a TTL of 0", event_headers("x", knativebrokerttl="0"), b"{}", (400,)),
    ("refuses a TTL below 0", event_headers("x", knativebrokerttl="-3"), b"{}", (400,)),
]


def requests() -> Iterator[Case]:
    for rule, headers, body, statuses in REQUESTS:
        yield Case(rule=f"the ingress {rule}", check=answers(headers, body, statuses))


def answers(headers: Mapping[str, str], body: bytes, statuses: tuple[int, ...]) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        status, said = scene.post(headers, body)
        assert status in statuses
        assert status != 202 or said == b""

    return check


def refusal_says_why(scene: Scene) -> None:
    status, said = scene.post(without("id"), b"{}")
    assert (status, b"id" in said) == (400, True)


def other_methods(scene: Scene) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert scene.post(event_headers("x"), method=method)[0] == 405


def other_paths(scene: Scene) -> None:
    assert scene.post(event_headers("x"), b"{}", path="/auricle/no-such-broker")[0] == 404
    assert scene.post(event_headers("x"), b"{}", path="/no-such-namespace/default")[0] == 404


def size_limit(scene: Scene) -> None:
    assert scene.post(event_headers("x"), b"x" * (MEBIBYTE + 1))[0] == 413
    assert scene.post(event_headers("x"), b"x" * MEBIBYTE)[0] == 202


def kept_alive(scene: Scene) -> None:
    parts = urlsplit(scene.broker.ingress)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    for id, refused in (("1", False), ("2", True), ("3", False)):
        headers = event_headers(scene.case.type, "" if refused else id)
        connection.request("POST", parts.path or "/", b"{}", headers)
        answer = connection.getresponse()
        assert answer.status == (400 if refused else 202)
        answer.read()
    connection.close()
    assert [got.attribute("id") for got in scene.wait(count=2)] == ["1", "3"]


def chunked(scene: Scene) -> None:
    parts = urlsplit(scene.broker.ingress)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("POST", parts.path or "/", iter([b'{"a":', b"1}"]), event_headers(scene.case.type), encode_chunked=True)
    assert connection.getresponse().status == 202
    connection.close()
    assert scene.wait()[0].body == b'{"a":1}'


def binary_arrives(scene: Scene) -> None:
    sent = {
        "time": "2026-01-02T03:04:05.678Z",
        "subject": "a/b",
        "dataschema": "https://example.org/s",
        "tenant": "acme",
        "dataref": "https://x/%2F?a=1&b=2",
    }
    headers = {**event_headers(scene.case.type, "id/1", **sent), "content-type": "text/csv; charset=latin-1"}
    assert scene.post(headers, EVERY_BYTE)[0] == 202
    (got,) = scene.wait()
    assert got.body == EVERY_BYTE
    assert got.headers["content-type"] == "text/csv; charset=latin-1"
    expected = {"specversion": "1.0", "id": "id/1", "source": "/test", "type": scene.case.type, **sent}
    assert {name: got.attribute(name) for name in expected} == expected


def no_data_arrives(scene: Scene) -> None:
    headers = event_headers(scene.case.type)
    del headers["content-type"]
    assert scene.post(headers)[0] == 202
    assert scene.wait()[0].body == b""


def structured_arrives(scene: Scene) -> None:
    scene.publish_structured(datacontenttype="application/json", data={"b": [1, None, "ü"]}, subject="s", tenant="acme")
    (got,) = scene.wait()
    assert got.headers["content-type"].startswith("application/json")
    assert json.loads(got.body) == {"b": [1, None, "ü"]}
    assert (got.attribute("subject"), got.attribute("tenant"), got.attribute("specversion")) == ("s", "acme", "1.0")


def base64_arrives(scene: Scene) -> None:
    scene.publish_structured(datacontenttype="audio/flac", data_base64=base64.b64encode(EVERY_BYTE).decode())
    (got,) = scene.wait()
    assert (got.headers["content-type"], got.body) == ("audio/flac", EVERY_BYTE)


def text_arrives(scene: Scene) -> None:
    scene.publish_structured(datacontenttype="text/plain", data='say "ü"')
    (got,) = scene.wait()
    assert (got.headers["content-type"], got.body) == ("text/plain", 'say "ü"'.encode())


def json_text_stays_json(scene: Scene) -> None:
    scene.publish_structured(datacontenttype="application/json", data="text")
    assert json.loads(scene.wait()[0].body) == "text"


def other_types(scene: Scene) -> None:
    scene.publish_structured(sequence=7, final=True, nothing=None)
    (got,) = scene.wait()
    assert (got.attribute("sequence"), got.attribute("final"), got.attribute("nothing")) == ("7", "true", None)


def percent_encoding(scene: Scene) -> None:
    scene.publish_structured(subject='50% "Größe" €')
    assert scene.wait()[0].attribute("subject") == "50%25%20%22Gr%C3%B6%C3%9Fe%22%20%E2%82%AC"


def delivery_headers(scene: Scene) -> None:
    scene.publish()
    (got,) = scene.wait()
    assert got.headers["prefer"] == "reply"
    assert got.headers["kn-namespace"] == scene.broker.namespace


def trace_travels(scene: Scene) -> None:
    trace = f"00-{'a1' * 16}-{'b2' * 8}-01"
    assert scene.post({**event_headers(scene.case.type), "traceparent": trace}, b"{}")[0] == 202
    assert scene.wait()[0].headers["traceparent"].startswith(f"00-{'a1' * 16}-")  # a broker may add a span of its own


def first_ttl(scene: Scene) -> None:
    scene.publish()
    assert scene.wait()[0].attribute("knativebrokerttl") == "255"


def own_ttl(scene: Scene) -> None:
    scene.publish(knativebrokerttl="7")
    assert scene.wait()[0].attribute("knativebrokerttl") == "7"


def not_deduplicated(scene: Scene) -> None:
    scene.publish(id="same")
    scene.publish(id="same")
    assert [got.attribute("id") for got in scene.wait(count=2)] == ["same", "same"]


def all_of_many(scene: Scene) -> None:
    sent = {scene.publish() for _ in range(200)}
    assert {got.attribute("id") for got in scene.wait(count=200)} == sent


ONE = (Trigger(),)
UNSHARED = (Trigger(alone=True),)
CASES = [
    *requests(),
    Case(rule="a refusal says why", check=refusal_says_why),
    Case(rule="the ingress refuses other methods", check=other_methods),
    Case(rule="the ingress refuses brokers it does not know", check=other_paths),
    Case(
        rule="the ingress refuses what is over the limit, and nothing else",
        check=size_limit,
        needs=frozenset({Feature.SIZE_LIMIT}),
    ),
    Case(rule="the ingress keeps connections alive, also after a refusal", check=kept_alive, triggers=UNSHARED),
    Case(rule="the ingress takes chunked bodies", check=chunked, triggers=UNSHARED),
    Case(rule="a binary event arrives as it was", check=binary_arrives, triggers=ONE),
    Case(rule="an event without data arrives without data", check=no_data_arrives, triggers=ONE),
    Case(rule="a structured event arrives in binary mode", check=structured_arrives, triggers=ONE),
    Case(rule="structured base64 data arrives as bytes", check=base64_arrives, triggers=ONE),
    Case(rule="structured text arrives as text", check=text_arrives, triggers=ONE),
    Case(rule="a structured JSON string arrives as JSON", check=json_text_stays_json, triggers=ONE),
    Case(rule="structured numbers and truth values arrive as text", check=other_types, triggers=ONE),
    Case(
        rule="structured attributes are percent encoded in headers",
        check=percent_encoding,
        triggers=ONE,
        needs=frozenset({Feature.PERCENT_ENCODING}),
    ),
    Case(rule="a delivery asks for a reply and names the namespace", check=delivery_headers, triggers=ONE),
    Case(rule="the trace context travels along", check=trace_travels, triggers=ONE),
    Case(rule="an event starts with a TTL of 255", check=first_ttl, triggers=ONE),
    Case(rule="a publisher's TTL is kept", check=own_ttl, triggers=ONE, needs=frozenset({Feature.OWN_TTL})),
    Case(rule="nothing is deduplicated", check=not_deduplicated, triggers=ONE),
    Case(rule="all of many events arrive", check=all_of_many, triggers=ONE),
]
