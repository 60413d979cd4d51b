"""What comes of an event: replies that are published, and dead letters."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

from builders.broker_process import event_headers
from builders.subscriber import Reply
from contract.broker.under_test import Case, Feature, Scene, Trigger

LONG = bytes(range(33, 127)) * 40
ASKING, HEARING = Trigger(), Trigger(to="next", type=".replied")


def binary(case_type: str, status: int = 200, **attributes: str) -> Reply:
    headers = event_headers(f"{case_type}.replied", "reply-1", source="/subscriber", **attributes)
    return Reply(status, b'{"r":1}', headers)


def replying(
    rule: str,
    answer: Callable[[str], Reply],
    check: Callable[[Scene], None],
    *needs: Feature,
    before: tuple[Reply, ...] = (),
    triggers: tuple[Trigger, ...] = (ASKING, HEARING),
) -> Case:
    """A case whose subscriber answers (after some answers `before`) with an event of the type that only the case knows."""
    shape = Case(rule=rule, check=check)
    return Case(
        rule=rule,
        triggers=triggers,
        answers={"subscriber": (*before, answer(shape.type))},
        check=check,
        needs=frozenset(needs),
    )


def replies() -> Iterator[Case]:
    for status in (200, 201, 202):
        yield replying(
            f"{status} with a binary event publishes it", lambda type, status=status: binary(type, status), published
        )
    yield replying("200 with a structured event publishes it", structured, published)
    yield replying("a reply's attributes are its own", lambda type: binary(type, tenant="acme", subject="s"), attributes_kept)
    yield replying("a reply has one hop less to go", binary, one_hop_less)
    yield replying(
        "a reply cannot raise its TTL", lambda type: binary(type, knativebrokerttl="200"), ttl_not_raised, Feature.OWN_TTL
    )
    yield replying("a reply at the end of its TTL is not published", binary, last_hop, Feature.OWN_TTL)
    yield replying(
        "a reply that nobody hears is gone",
        lambda type: binary(type + ".unheard"),
        unheard,
        triggers=(ASKING, Trigger(to="next", type=".replied", alone=True)),
    )
    yield replying("a reply is published once however many tries it took", binary, third_time, before=(Reply(503), Reply(500)))
    yield replying("a reply that is no event is a failure", broken, broken_reply, Feature.STRICT_REPLIES)


def structured(case_type: str) -> Reply:
    event = {"specversion": "1.0", "id": "reply-1", "source": "/subscriber", "type": f"{case_type}.replied", "data": {"r": 1}}
    return Reply(200, json.dumps(event).encode(), {"content-type": "application/cloudevents+json"})


def broken(case_type: str) -> Reply:
    headers = binary(case_type).headers
    return Reply(200, b"{}", {name: value for name, value in headers.items() if name != "ce-id"})


def published(scene: Scene) -> None:
    scene.publish()
    (got,) = scene.wait("next")
    assert (got.attribute("id"), got.attribute("source")) == ("reply-1", "/subscriber")
    assert json.loads(got.body) == {"r": 1}
    assert len(scene.settled("next")) == 1
    assert len(scene.seen()) == 1
    assert scene.seen("dead") == []


def third_time(scene: Scene) -> None:
    scene.publish()
    assert scene.wait("next")[0].attribute("id") == "reply-1"
    assert len(scene.settled("next")) == 1
    assert len(scene.seen()) == 3
    assert scene.seen("dead") == []


def attributes_kept(scene: Scene) -> None:
    scene.publish(tenant="other", work="transcribe")
    (got,) = scene.wait("next")
    assert (got.attribute("tenant"), got.attribute("subject"), got.attribute("work")) == ("acme", "s", None)


def one_hop_less(scene: Scene) -> None:
    scene.publish()
    assert (
        int(scene.wait("next")[0].attribute("knativebrokerttl") or 0)
        == int(scene.seen()[0].attribute("knativebrokerttl") or 0) - 1
    )


def ttl_not_raised(scene: Scene) -> None:
    scene.publish(knativebrokerttl="9")
    assert scene.wait("next")[0].attribute("knativebrokerttl") == "8"


def last_hop(scene: Scene) -> None:
    scene.publish(knativebrokerttl="1")
    scene.wait()
    assert scene.settled("next") == []


def unheard(scene: Scene) -> None:
    scene.publish()
    scene.wait()
    assert scene.settled("next") == []
    assert scene.seen("dead") == []


def broken_reply(scene: Scene) -> None:
    scene.publish()
    scene.wait("dead")
    assert len(scene.settled()) == ASKING.retry + 1
    assert scene.seen("next") == []


def circle(scene: Scene) -> None:
    scene.publish(knativebrokerttl="5")
    try:
        scene.wait(count=5)
        assert [got.attribute("knativebrokerttl") for got in scene.settled()] == ["5", "4", "3", "2", "1"]
    finally:
        scene.script("subscriber", Reply(204))  # or it goes on for ever where the rule does not hold


def whole_letter(scene: Scene) -> None:
    sent = {"subject": "a/b", "tenant": "acme", "time": "2026-01-02T03:04:05Z"}
    id = scene.publish(body=b'{"file":7}', **sent)
    (letter,) = scene.wait("dead")
    assert letter.body == b'{"file":7}'
    assert letter.headers["content-type"] == "application/json"
    expected = {"id": id, "type": scene.case.type, "source": "/test", **sent}
    assert {name: letter.attribute(name) for name in expected} == expected


def ttl_of_letter(scene: Scene) -> None:
    scene.publish()
    assert scene.wait("dead")[0].attribute("knativebrokerttl") is not None


def where_and_what(scene: Scene) -> None:
    scene.publish()
    (letter,) = scene.wait("dead")
    assert (letter.attribute("knativeerrordest") or "").endswith(scene.case.path("subscriber"))
    assert letter.attribute("knativeerrorcode") == "500"


def why(scene: Scene) -> None:
    scene.publish()
    (letter,) = scene.wait("dead")
    assert base64.b64decode(letter.attribute("knativeerrordata") or "") == b"no audio track"


def long_reason(scene: Scene) -> None:
    scene.publish()
    data = scene.wait("dead")[0].attribute("knativeerrordata") or ""
    assert 0 < len(data) <= 1024
    assert LONG.startswith(base64.b64decode(data))


def reason_without_answer(scene: Scene) -> None:
    scene.publish()
    (letter,) = scene.wait("dead")
    assert letter.attribute("knativeerrorcode") == "-1"
    assert b"0.5 seconds" in base64.b64decode(letter.attribute("knativeerrordata") or "")


def reason_of_no_event(scene: Scene) -> None:
    scene.publish()
    (letter,) = scene.wait("dead")
    assert letter.attribute("knativeerrorcode") == "502"
    assert b"hello" in base64.b64decode(letter.attribute("knativeerrordata") or "")


def masked_reason(scene: Scene) -> None:
    scene.publish()
    said = base64.b64decode(scene.wait("dead")[0].attribute("knativeerrordata") or "")
    assert said.startswith(b"cannot fetch https://store/b/k")
    assert b"secret" not in said


def sink_that_refuses(scene: Scene) -> None:
    id = scene.publish()
    letters = scene.wait("dead", 5)
    assert [letter.attribute("id") for letter in letters] == [id] * 5
    assert len(scene.settled("dead")) == 5
    assert {letter.attribute("knativeerrorcode") for letter in letters} == {"500"}


def not_for_others(scene: Scene) -> None:
    scene.publish()
    scene.wait("dead")
    assert len(scene.settled("healthy")) == 1
    assert len(scene.seen("dead")) == 1


def dead(rule: str, check: Callable[[Scene], None], answer: Reply, *needs: Feature, trigger: Trigger | None = None) -> Case:
    return Case(
        rule=rule,
        triggers=(trigger or Trigger(retry=0),),
        answers={"subscriber": (answer,)},
        check=check,
        needs=frozenset(needs),
    )


_LOOP = "a circle of replies comes to an end"
CASES = [
    *replies(),
    Case(
        rule=_LOOP,
        triggers=(Trigger(type=".replied"), Trigger()),
        answers={"subscriber": (binary(Case(rule=_LOOP, check=circle).type),)},
        check=circle,
        needs=frozenset({Feature.OWN_TTL}),
    ),
    dead("a dead letter is the whole event", whole_letter, Reply(500, b"no")),
    dead("a dead letter says how far it may still go", ttl_of_letter, Reply(500, b"no")),
    dead(
        "a dead letter says where it was to go and what was answered",
        where_and_what,
        Reply(500, b"no"),
        trigger=Trigger(retry=0, alone=True),
    ),
    dead("a dead letter quotes the answer", why, Reply(500, b"no audio track")),
    dead("a dead letter quotes no more than 1024 characters", long_reason, Reply(500, LONG)),
    dead(
        "a dead letter after a timeout says so",
        reason_without_answer,
        Reply(delay=1.5),
        Feature.REASONS,
        trigger=Trigger(retry=0, timeout=0.5),
    ),
    dead("a dead letter after a body that is no event says so", reason_of_no_event, Reply(200, b"hello"), Feature.REASONS),
    dead(
        "a dead letter quotes no signed address",
        masked_reason,
        Reply(500, b"cannot fetch https://store/b/k?X-Amz-Signature=secret"),
        Feature.REASONS,
    ),
    Case(
        rule="a dead letter that is refused is tried until it is taken, and never becomes another",
        triggers=(Trigger(retry=0),),
        answers={"subscriber": (Reply(500),), "dead": (Reply(500), Reply(400), Reply(422), Reply(drop=True), Reply(204))},
        check=sink_that_refuses,
        needs=frozenset({Feature.PATIENT_DEAD_LETTERS}),
    ),
    Case(
        rule="a dead letter goes to its sink and to nobody else",
        triggers=(Trigger(retry=0), Trigger(to="healthy")),
        answers={"subscriber": (Reply(500),)},
        check=not_for_others,
    ),
]
