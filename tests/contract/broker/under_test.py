"""What the conformance suite needs of a broker, and how a rule is written down.

Any broker that speaks CloudEvents over HTTP and knows triggers can be put under these rules: say where its ingress is,
and how triggers are declared (for Knative: as Broker, Trigger and a Service that leads to the subscriber's address).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from builders.broker_process import event_headers, post
from builders.subscriber import Received, Reply, Subscriber


class Feature(StrEnum):
    """What not every broker does; a rule that needs it is not asked of one that does not say so."""

    DURABLE_INGRESS = "answers 202 before subscribers are done"
    SIZE_LIMIT = "refuses events over 1 MiB with 413"
    OWN_TTL = "keeps a publisher's knativebrokerttl"
    STRICT_REPLIES = "takes a reply that is no event for a failure"
    REASONS = "says in dead letters why, also without an answer"
    PATIENT_DEAD_LETTERS = "tries dead letters until they are taken"
    PARALLELISM = "bounds deliveries under way"
    PASSING_RETRIES = "lets later events pass one that waits for its retry"
    PERCENT_ENCODING = "encodes attributes as the CloudEvents HTTP binding says"


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """Which events go where, and how. `hears` None: all events. Without `filter` values the case's own type is added."""

    to: str = "subscriber"
    type: str = ""  # appended to the case's type
    hears: Mapping[str, str] | None = field(default_factory=dict)
    retry: int = 2
    backoff: str = "exponential"
    delay: float = 0.02
    timeout: float = 10.0
    dead_letter: str | None = "dead"
    parallelism: int = 32
    nobody: bool = False  # nobody listens at the subscriber's address
    alone: bool = False  # the rule is about this filter: a broker whose triggers are dear may let cases share all others


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A trigger as the broker is to have it: names and addresses filled in."""

    name: str
    filter: Mapping[str, str]
    subscriber: str
    retry: int
    backoff: str
    delay: float
    timeout: float
    dead_letter: str | None  # an address
    parallelism: int
    alone: bool = False  # to be made with just this filter, and shared with no other case


class BrokerUnderTest(Protocol):
    """One broker."""

    features: frozenset[Feature]
    sink: str | None
    """Path of the subscriber that gets the dead letters of the broker itself; None if brokers of this class have none."""

    @property
    def ingress(self) -> str:
        """Where events are posted."""

    @property
    def namespace(self) -> str:
        """What deliveries name as theirs."""

    def declare(self, triggers: Sequence[Declared]) -> None:
        """Have exactly these triggers in force."""

    def settle(self, triggers: Sequence[Declared]) -> None:
        """Wait until nothing is under way or waits for these."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One rule: triggers, what subscribers answer, and what must then be seen."""

    rule: str
    check: Callable[[Scene], None]
    triggers: tuple[Trigger, ...] = ()
    answers: Mapping[str, tuple[Reply, ...]] = field(default_factory=dict)
    needs: frozenset[Feature] = frozenset()

    @property
    def slug(self) -> str:
        """The rule as a name."""
        return re.sub(r"[^a-z0-9]+", "-", self.rule.lower()).strip("-")

    @property
    def type(self) -> str:
        """The type of this case's events: nobody else's."""
        return f"test.{self.slug}.v1"

    def declared(self, origin: str) -> list[Declared]:
        """Its triggers, with subscribers at `origin`."""
        return [
            Declared(
                name=f"{self.slug}-{number}",
                filter={} if trigger.hears is None else {"type": self.type + trigger.type, **trigger.hears},
                subscriber=f"http://127.0.0.1:9/{self.slug}" if trigger.nobody else origin + self.path(trigger.to),
                retry=trigger.retry,
                backoff=trigger.backoff,
                delay=trigger.delay,
                timeout=trigger.timeout,
                dead_letter=origin + self.path(trigger.dead_letter) if trigger.dead_letter else None,
                parallelism=trigger.parallelism,
                alone=trigger.alone,
            )
            for number, trigger in enumerate(self.triggers)
        ]

    def path(self, name: str) -> str:
        """Where the subscriber `name` of this case listens."""
        return f"/{self.slug}/{name}"


class Scene:
    """A case being played: what its check may do and see."""

    def __init__(self, case: Case, broker: BrokerUnderTest, subscriber: Subscriber) -> None:
        self.case = case
        self.broker = broker
        self._subscriber = subscriber
        self._declared = case.declared(subscriber.url)
        for name, replies in case.answers.items():
            self.script(name, *replies)

    def script(self, name: str, *replies: Reply) -> None:
        """Let a subscriber answer otherwise from now on."""
        self._subscriber.script(self.case.path(name), *replies)

    def publish(self, type: str = "", *, id: str | None = None, body: bytes = b'{"n":1}', **attributes: str) -> str:
        """Publish a binary event of this case's type; its id."""
        id = id or str(uuid.uuid4())
        status, said = self.post(event_headers(self.case.type + type, id, **attributes), body)
        assert (status, said) == (202, b"")
        return id

    def publish_structured(self, **members: object) -> None:
        """Publish a structured event of this case's type."""
        event = {"specversion": "1.0", "id": "1", "source": "/test", "type": self.case.type, **members}
        status, _ = self.post({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
        assert status == 202

    def post(
        self, headers: Mapping[str, str], body: bytes = b"", *, path: str | None = None, method: str = "POST"
    ) -> tuple[int, bytes]:
        """Any request to the broker."""
        url = self.broker.ingress if path is None else re.sub(r"(https?://[^/]+).*", rf"\1{path}", self.broker.ingress)
        return post(url, body, headers, method)

    def wait(self, name: str = "subscriber", count: int = 1) -> list[Received]:
        """What a subscriber got, once it is `count` deliveries."""
        return self._subscriber.wait(self.case.path(name), count)

    def seen(self, name: str = "subscriber") -> list[Received]:
        """What a subscriber has got up to now."""
        return self._subscriber.received(self.case.path(name))

    def at_sink(self) -> list[Received]:
        """What of this case went to the broker's own dead-letter sink."""
        found = self._subscriber.received(self.broker.sink) if self.broker.sink else []
        return [got for got in found if got.attribute("type") == self.case.type]

    def settled(self, name: str = "subscriber") -> list[Received]:
        """What a subscriber got in all."""
        self.broker.settle(self._declared)
        return self.seen(name)
