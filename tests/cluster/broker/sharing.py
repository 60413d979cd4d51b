"""Many rules on few triggers: on RabbitMQ a trigger costs two pods, and the suite declares more than a hundred.

Triggers that differ only in the type they hear become one that hears an extension attribute of its own. Events get the
attributes of all triggers that hear their type when they are published, and the subscriber tells by the type for whom
a delivery is. Triggers whose filter is the rule itself (`alone`, or more than a type) stay as they are.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from builders.subscriber import Received, Reply, Subscriber
from contract.broker.under_test import BrokerUnderTest, Case, Declared, Scene

JSON = "application/cloudevents+json"


@dataclass(frozen=True)
class Shared:
    """What is to be declared, and how the cases find theirs."""

    triggers: list[Declared]
    marks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by event type: attributes to add
    routes: Mapping[tuple[str, str], str] = field(default_factory=dict)  # by path and event type: the case's own path


def shared(origin: str, wanted: Sequence[Declared]) -> Shared:
    """As few triggers as will do for all that are `wanted`."""
    found: dict[tuple[object, ...], Declared] = {}
    marks: dict[str, dict[str, str]] = {}
    routes: dict[tuple[str, str], str] = {}
    used: set[tuple[tuple[object, ...], str]] = set()
    kept = []
    for trigger in wanted:
        if trigger.alone or set(trigger.filter) != {"type"} or not trigger.subscriber.startswith(origin):
            kept.append(trigger)
            continue
        heard = trigger.filter["type"]
        number = 0
        while ((shape := (_shape(trigger), number)), heard) in used:
            number += 1
        used.add((shape, heard))
        common = found.setdefault(shape, _common(origin, trigger, len(found)))
        marks.setdefault(heard, {})[common.name] = "yes"
        routes[common.subscriber.removeprefix(origin), heard] = trigger.subscriber.removeprefix(origin)
        if trigger.dead_letter and common.dead_letter:
            routes[common.dead_letter.removeprefix(origin), heard] = trigger.dead_letter.removeprefix(origin)
    return Shared([*found.values(), *kept], marks, routes)


def _shape(trigger: Declared) -> tuple[object, ...]:
    sink = bool(trigger.dead_letter)
    return trigger.retry, trigger.backoff, trigger.delay, trigger.timeout, trigger.parallelism, sink


def _common(origin: str, trigger: Declared, number: int) -> Declared:
    name = f"shape{number}"
    return replace(
        trigger,
        name=name,
        filter={name: "yes"},
        subscriber=f"{origin}/{name}/subscriber",
        dead_letter=f"{origin}/{name}/dead" if trigger.dead_letter else None,
    )


class SharedSubscriber(Subscriber):
    """The suite's subscriber where pods reach it; it knows for which case a delivery to a shared trigger is."""

    def __init__(self, address: str) -> None:
        """`address`: of this machine, as pods see it."""
        super().__init__()
        self._server.server_close()  # it listens on the loopback interface only
        self._server = type(self._server)((address, 0), self._server.RequestHandlerClass)
        self._server.subscriber = self
        self.url = f"http://{address}:{self._server.server_port}"
        self.shared = Shared([])
        self._mine = threading.local()

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Remember a request under the case's own path; its answer, with the marks that its event needs."""
        self._mine.path = self.shared.routes.get((path, headers.get("ce-type", "")), path)
        answer = super().take(self._mine.path, headers, body)
        marked, content = mark(self.shared, answer.headers, answer.body)
        return replace(answer, headers=marked, body=content)

    def done(self, path: str) -> None:
        """A request is about to be answered: one thread has one at a time."""
        super().done(self._mine.path)

    def latest(self, paths: Sequence[str]) -> float:
        """When the last request came to one of `paths` (monotonic); 0 if none did."""
        return max((got.at for path in paths for got in self.received(path)), default=0.0)

    def under_way(self, paths: Sequence[str]) -> bool:
        """Whether a request to one of `paths` is still unanswered."""
        with self._changed:
            return any(self._together[path] for path in paths)


def mark(shared: Shared, headers: Mapping[str, str], body: bytes) -> tuple[Mapping[str, str], bytes]:
    """An event (of any mode) with the attributes that its triggers hear; anything else as it was."""
    if headers.get("ce-type") in shared.marks:
        return {**headers, **{f"ce-{name}": value for name, value in shared.marks[headers["ce-type"]].items()}}, body
    if headers.get("content-type", "").startswith(JSON):
        try:
            event = json.loads(body)
            added = shared.marks.get(event["type"], {})
        except (ValueError, TypeError, KeyError):
            return headers, body
        return headers, json.dumps({**event, **added}).encode() if added else body
    return headers, body


class SharedScene(Scene):
    """A case whose events reach shared triggers."""

    def __init__(self, case: Case, broker: BrokerUnderTest, subscriber: SharedSubscriber) -> None:
        super().__init__(case, broker, subscriber)
        self._shared: Callable[[], Shared] = lambda: subscriber.shared

    def post(
        self, headers: Mapping[str, str], body: bytes = b"", *, path: str | None = None, method: str = "POST"
    ) -> tuple[int, bytes]:
        """Any request to the broker; events get their marks."""
        marked, content = mark(self._shared(), headers, body)
        return super().post(marked, content, path=path, method=method)


__all__ = ["Received", "Shared", "SharedScene", "SharedSubscriber", "mark", "shared"]
