"""Who gets an event, what an answer means, how often and when it is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from builders.subscriber import Received, Reply
from contract.broker.under_test import Case, Feature, Scene, Trigger

DONE = (200, 201, 202, 204)
RETRIED = (404, 408, 409, 429, 500, 501, 502, 503, 504, 599)
FINAL = (301, 302, 304, 307, 308, 400, 401, 402, 403, 405, 406, 410, 411, 412, 413, 414, 415, 422, 451)

NO_EVENTS: list[tuple[str, Reply]] = [
    ("the text that functions-framework sends", Reply(200, b"OK", {"content-type": "text/html; charset=utf-8"})),
    ("JSON without event headers", Reply(200, b'{"a":1}', {"content-type": "application/json"})),
    ("a body under 202", Reply(202, b"accepted")),
]

FILTERS: list[tuple[str, Mapping[str, str], Mapping[str, str], bool]] = [
    ("an extension matches", {"work": "transcribe"}, {"work": "transcribe"}, True),
    ("an extension has another value", {"work": "transcribe"}, {"work": "diarize"}, False),
    ("an extension is missing", {"work": "transcribe"}, {}, False),
    ("a value is compared exactly", {"work": "transcribe"}, {"work": "Transcribe"}, False),
    ("a value is not a prefix", {"work": "trans"}, {"work": "transcribe"}, False),
    ("source and subject match", {"source": "/test", "subject": "a/b"}, {"subject": "a/b"}, True),
    ("one of two attributes differs", {"source": "/test", "subject": "a/b"}, {"subject": "a/c"}, False),
    ("the id matches", {"id": "wanted"}, {"id": "wanted"}, True),
    ("the data content type matches", {"datacontenttype": "application/json"}, {}, True),
]


def filters() -> Iterator[Case]:
    for rule, wanted, sent, delivered in FILTERS:
        triggers = (Trigger(hears=wanted), Trigger(to="other"))
        verb = "passes" if delivered else "stops"
        yield Case(rule=f"a filter {verb} when {rule}", triggers=triggers, check=filtered(sent, delivered))


def filtered(sent: Mapping[str, str], delivered: bool) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        scene.publish(**sent)
        scene.wait("other")
        assert len(scene.settled()) == (1 if delivered else 0)

    return check


def answers() -> Iterator[Case]:
    for status in DONE:
        yield Case(
            rule=f"{status} without a body is done",
            triggers=(Trigger(),),
            answers={"subscriber": (Reply(status),)},
            check=done_after(1),
        )
    for status in RETRIED:
        yield Case(
            rule=f"{status} is retried, then dead lettered",
            triggers=(Trigger(retry=2),),
            answers={"subscriber": (Reply(status, b"why"),)},
            check=dead_after(3),
        )
    for status in FINAL:
        yield Case(
            rule=f"{status} is dead lettered at once",
            triggers=(Trigger(retry=2),),
            answers={"subscriber": (Reply(status, b"" if status == 304 else b"why"),)},
            check=dead_after(1),
        )
    for what, reply in NO_EVENTS:
        yield Case(
            rule=f"{what} is a failure",
            triggers=(Trigger(retry=2),),
            answers={"subscriber": (reply,)},
            check=dead_after(3),
            needs=frozenset({Feature.STRICT_REPLIES}),
        )


def done_after(tries: int) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        scene.publish()
        scene.wait(count=tries)
        assert len(scene.settled()) == tries
        assert scene.seen("dead") == []

    return check


def dead_after(tries: int) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        id = scene.publish()
        (letter,) = scene.wait("dead")
        assert letter.attribute("id") == id
        assert len(scene.settled()) == tries
        assert len(scene.seen("dead")) == 1

    return check


def gone_after(tries: int) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        scene.publish()
        scene.wait(count=tries)
        assert len(scene.settled()) == tries
        scene.publish()  # the trigger itself lives on
        scene.wait(count=tries + 1)

    return check


def nobody_listens(scene: Scene) -> None:
    id = scene.publish()
    assert scene.wait("dead")[0].attribute("id") == id


def redirect_not_followed(scene: Scene) -> None:
    scene.publish()
    scene.wait("dead")
    assert scene.settled("elsewhere") == []


def two_policies(scene: Scene) -> None:
    scene.publish()
    assert len(scene.wait("dead", 2)) == 2
    assert (len(scene.settled("patient")), len(scene.seen("hasty"))) == (4, 1)


def gaps(received: Sequence[Received]) -> list[float]:
    return [later.at - earlier.at for earlier, later in pairwise(received)]


def exponential(scene: Scene) -> None:
    scene.publish()
    scene.wait("dead")
    for gap, least in zip(gaps(scene.settled()), (0.1, 0.2, 0.4), strict=True):
        assert gap >= least * 0.95


def linear(scene: Scene) -> None:
    scene.publish()
    scene.wait("dead")
    first, second, third = gaps(scene.settled())
    assert second >= 0.2 * 0.95
    assert third >= 0.4 * 0.95
    assert first < third  # d·0, or d: brokers differ


def retry_after_ignored(scene: Scene) -> None:
    """The suite's patience is 20 seconds, the subscriber asks for 60."""
    scene.publish()
    scene.wait(count=2)


def everything_heard(scene: Scene) -> None:
    ids = {scene.publish(".one"), scene.publish(".two", source="/elsewhere")}
    assert ids <= {got.attribute("id") for got in scene.settled()}


def nobody_hears(scene: Scene) -> None:
    scene.publish(".unheard")
    scene.publish()
    scene.wait()
    assert len(scene.settled()) == 1


def both_hear(scene: Scene) -> None:
    id = scene.publish()
    assert scene.wait("first")[0].attribute("id") == scene.wait("second")[0].attribute("id") == id


def failing_neighbour(scene: Scene) -> None:
    """`bad` is never done within this test's patience; `good` gets everything all the same."""
    ids = {scene.publish() for _ in range(20)}
    assert {got.attribute("id") for got in scene.wait("good", 20)} == ids
    assert scene.seen("dead") == []


def hanging_neighbour(held: threading.Event) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        held.clear()  # another broker was tried before
        try:
            ids = {scene.publish() for _ in range(20)}
            assert {got.attribute("id") for got in scene.wait("good", 20)} == ids
            assert len(scene.seen("bad")) <= 2
        finally:
            held.set()
        scene.wait("bad", 20)

    return check


def publisher_not_held(held: threading.Event) -> Callable[[Scene], None]:
    def check(scene: Scene) -> None:
        held.clear()
        try:
            scene.publish()
            scene.wait()
            scene.publish()  # while the first is being handled: else this would wait until the suite gives up
        finally:
            held.set()
        scene.wait(count=2)

    return check


def passing_retries(scene: Scene) -> None:
    """The first event waits half a minute for its second try; the next one does not."""
    scene.publish()
    scene.wait(count=1)
    second = scene.publish()
    assert scene.wait(count=2)[1].attribute("id") == second


def bounded(scene: Scene) -> None:
    for _ in range(8):
        scene.publish()
    assert max(got.together for got in scene.wait(count=8)) <= 2


_HANG, _BUSY = threading.Event(), threading.Event()
CASES = [
    *filters(),
    *answers(),
    Case(rule="a trigger without a filter hears everything", triggers=(Trigger(hears=None),), check=everything_heard),
    Case(rule="what nobody wants is taken and gone", triggers=(Trigger(alone=True),), check=nobody_hears),
    Case(
        rule="every trigger that matches gets the event", triggers=(Trigger(to="first"), Trigger(to="second")), check=both_hear
    ),
    Case(
        rule="a retry that works ends it",
        triggers=(Trigger(retry=5),),
        answers={"subscriber": (Reply(503), Reply(500), Reply(204))},
        check=done_after(3),
    ),
    Case(
        rule="no retries means one try",
        triggers=(Trigger(retry=0),),
        answers={"subscriber": (Reply(503),)},
        check=dead_after(1),
    ),
    Case(
        rule="without a dead letter sink the event is dropped after the retries",
        triggers=(Trigger(retry=1, dead_letter=None),),
        answers={"subscriber": (Reply(500), Reply(500), Reply(204))},
        check=gone_after(2),
    ),
    Case(
        rule="a connection that is dropped is a failed try",
        triggers=(Trigger(retry=2),),
        answers={"subscriber": (Reply(drop=True),)},
        check=dead_after(3),
    ),
    Case(
        rule="a subscriber that is not there is retried, then dead lettered",
        triggers=(Trigger(nobody=True),),
        check=nobody_listens,
    ),
    Case(
        rule="a try that takes too long is a failed try",
        triggers=(Trigger(retry=1, timeout=0.5),),
        answers={"subscriber": (Reply(delay=1.5),)},
        check=dead_after(2),
    ),
    Case(
        rule="a slow try within the timeout is done",
        triggers=(Trigger(retry=3, timeout=5.0),),
        answers={"subscriber": (Reply(delay=0.4),)},
        check=done_after(1),
    ),
    Case(
        rule="a redirect is not followed",
        triggers=(Trigger(),),
        answers={"subscriber": (Reply(307, headers={"location": "elsewhere"}),)},
        check=redirect_not_followed,
    ),
    Case(
        rule="Retry-After changes nothing",
        triggers=(Trigger(),),
        answers={"subscriber": (Reply(503, headers={"retry-after": "60"}), Reply(204))},
        check=retry_after_ignored,
    ),
    Case(
        rule="each trigger has its own policy",
        triggers=(Trigger(to="patient", retry=3), Trigger(to="hasty", retry=0)),
        answers={"patient": (Reply(500),), "hasty": (Reply(500),)},
        check=two_policies,
    ),
    Case(
        rule="exponential backoff waits d times 2 to the n, or longer",
        triggers=(Trigger(retry=3, delay=0.1),),
        answers={"subscriber": (Reply(503),)},
        check=exponential,
    ),
    Case(
        rule="linear backoff waits longer each time",
        triggers=(Trigger(retry=3, delay=0.2, backoff="linear"),),
        answers={"subscriber": (Reply(503),)},
        check=linear,
    ),
    Case(
        rule="a failing subscriber holds up nobody else",
        triggers=(Trigger(to="bad", retry=1, delay=60.0), Trigger(to="good")),
        answers={"bad": (Reply(500),)},
        check=failing_neighbour,
    ),
    Case(
        rule="a hanging subscriber holds up nobody else",
        triggers=(Trigger(to="bad", parallelism=2, timeout=60.0), Trigger(to="good")),
        answers={"bad": (Reply(hold=_HANG),)},
        check=hanging_neighbour(_HANG),
        needs=frozenset({Feature.DURABLE_INGRESS, Feature.PARALLELISM}),
    ),
    Case(
        rule="a publisher does not wait for subscribers",
        triggers=(Trigger(timeout=60.0),),
        answers={"subscriber": (Reply(hold=_BUSY),)},
        check=publisher_not_held(_BUSY),
        needs=frozenset({Feature.DURABLE_INGRESS}),
    ),
    Case(
        rule="an event that waits for its retry holds up no other",
        triggers=(Trigger(parallelism=1, delay=60.0),),
        answers={"subscriber": (Reply(500), Reply(204))},
        check=passing_retries,
        needs=frozenset({Feature.PASSING_RETRIES}),
    ),
    Case(
        rule="parallelism bounds the deliveries under way",
        triggers=(Trigger(parallelism=2),),
        answers={"subscriber": (Reply(delay=0.05),)},
        check=bounded,
        needs=frozenset({Feature.PARALLELISM}),
    ),
]
