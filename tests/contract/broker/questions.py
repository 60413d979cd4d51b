"""What brokers are known to do differently: what is seen is recorded for the table, and judged by nobody.

Each question says what the event door does so that any answer suits it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from builders.subscriber import Reply
from contract.broker.delivery_rules import NO_EVENTS, gaps
from contract.broker.under_test import Case, Scene, Trigger

DELAY = 0.5
SLOW = 2.0
FOUR = "The door answers 204, 200 with an event, 503 or 500, and nothing else."
EMPTY = "The door answers 204 without a body or 200 with an event, never another body."


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question: triggers and answers as in a rule; `look` says in a few words what the broker did."""

    asks: str
    look: Callable[[Scene], str]
    door: str
    """Why the event door is indifferent."""
    triggers: tuple[Trigger, ...] = (Trigger(),)
    answers: Mapping[str, tuple[Reply, ...]] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        """To be declared like a rule."""
        return Case(rule=self.asks, check=self.answered, triggers=self.triggers, answers=self.answers)

    def answered(self, scene: Scene) -> None:
        """A question has an answer, whichever."""
        assert self.look(scene)


def fate(scene: Scene) -> str:
    """Tries, and whether a dead letter came of it."""
    scene.publish()
    scene.wait()
    tries = len(scene.settled())
    letters = len(scene.seen("dead"))
    return f"{tries} {'try' if tries == 1 else 'tries'}, {'dead letter' if letters else 'no dead letter'}"


def pauses(scene: Scene) -> str:
    """Between three tries, in whole multiples of the delay."""
    scene.publish()
    found = gaps(scene.wait(count=3))
    return "pauses of " + " and ".join(f"{round(gap / DELAY)} × delay" for gap in found)


def inherited(scene: Scene) -> str:
    """Where an event goes whose trigger names no sink, while the broker does."""
    if scene.broker.sink is None:
        return "no broker-wide sink"
    scene.publish()
    scene.wait(count=2)
    scene.settled()
    return "the broker's sink gets it" if scene.at_sink() else "gone, past the broker's sink"


def said(scene: Scene) -> str:
    """The attributes a dead letter has beyond the event's."""
    scene.publish()
    (letter,) = scene.wait("dead")
    code = letter.attribute("knativeerrorcode")
    named = [name for name in ("dest", "data") if letter.attribute(f"knativeerror{name}")]
    return ", ".join([f"code {code}"] * (code is not None) + named) or "nothing"


def held(scene: Scene) -> str:
    """When a publisher has its 202."""
    began = time.monotonic()
    scene.publish()
    took = time.monotonic() - began
    scene.wait()
    return "when subscribers are done" if took >= SLOW else "at once"


def ttl(scene: Scene) -> str:
    """Of an event without one, and of one with 7."""
    scene.publish()
    scene.publish(knativebrokerttl="7")
    found = {got.attribute("knativebrokerttl") or "none" for got in scene.wait(count=2)}
    return " and ".join(sorted(found))


def refusals() -> Iterator[Question]:
    for status in (400, 401, 403, 404, 409, 413, 422, 429, 500, 503):
        yield Question(
            asks=f"what becomes of an event answered {status}?",
            look=fate,
            door=FOUR + (" Kourier, the activator and queue-proxy add others." if status in (404, 429, 500, 503) else ""),
            answers={"subscriber": (Reply(status, b"why"),)},
        )
    for what, reply in NO_EVENTS:
        yield Question(
            asks=f"what becomes of an event answered with {what}?",
            look=fate,
            door=EMPTY,
            answers={"subscriber": (reply,)},
        )


def backoff(policy: str) -> Question:
    return Question(
        asks=f"how long are the pauses of {policy} backoff?",
        look=pauses,
        door="Twice the pause is no harm: leases and deadlines bound how long work waits, not the broker.",
        triggers=(Trigger(retry=2, backoff=policy, delay=DELAY),),
        answers={"subscriber": (Reply(503), Reply(503), Reply(204))},
    )


QUESTIONS: list[Question] = [
    *refusals(),
    backoff("exponential"),
    backoff("linear"),
    Question(
        asks="where does an event go whose trigger names no sink?",
        look=inherited,
        door="Every Trigger names its sink; the lint refuses one that does not.",
        triggers=(Trigger(retry=1, dead_letter=None),),
        answers={"subscriber": (Reply(500),)},
    ),
    Question(
        asks="what does a dead letter say after 503?",
        look=said,
        door="The dead-letter function keeps what is there and takes nothing for granted.",
        triggers=(Trigger(retry=0),),
        answers={"subscriber": (Reply(503, b"why"),)},
    ),
    Question(
        asks="what does a dead letter say after a timeout?",
        look=said,
        door="The dead-letter function keeps what is there and takes nothing for granted.",
        triggers=(Trigger(retry=0, timeout=0.5),),
        answers={"subscriber": (Reply(delay=1.5),)},
    ),
    Question(
        asks="when is a publisher answered?",
        look=held,
        door="The outbox publishes after its transaction and waits for an answer within its own time limit; the durable brokers answer at once.",
        answers={"subscriber": (Reply(delay=SLOW),)},
    ),
    Question(
        asks="what TTL has an event, and one published with 7?",
        look=ttl,
        door="No function reads it; that no circle of replies exists is checked by the lint.",
    ),
]
