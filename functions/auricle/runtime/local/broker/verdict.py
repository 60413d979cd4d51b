"""What a subscriber's answer means and what follows from it: the rules of Knative's data plane, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auricle.runtime.local.broker import wire
from auricle.runtime.local.plan import Backoff, Delivery
from auricle.runtime.telemetry import masked

RETRIED = frozenset({404, 408, 409, 429})
"""Client errors that may pass: not there yet, too slow, already being done, too many. And everything from 500 on."""
BAD_GATEWAY = 502
"""How Knative's broker counts a 2xx whose body is no event."""
LONGEST_DEAD_LETTER_WAIT = 60.0
"""Seconds. Dead letters are tried for ever, about once a minute in the end."""
FREE_LOSSES = 3
"""How often a worker may die under one delivery before that counts against the delivery: it may be what kills them."""
LOSS_WAIT = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a subscriber said. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that did not work. `final`: another one would not either. `code` and `detail` end up in the dead letter."""

    code: int
    detail: bytes
    final: bool = False


def judge(answer: Answer) -> wire.Event | Failure | None:
    """None: done. An event: done, and publish this. Else why it failed."""
    if 200 <= answer.status < 300:
        return _reply(answer)
    return Failure(answer.status, _quoted(answer.body), final=answer.status < 500 and answer.status not in RETRIED)


def _reply(answer: Answer) -> wire.Event | Failure | None:
    if wire.holds_event(answer.headers):
        try:
            return wire.read(answer.headers, answer.body)
        except wire.NotAnEvent as error:
            return Failure(BAD_GATEWAY, f"The reply is no CloudEvent: {error}".encode())
    if answer.body:
        # Real brokers repeat such a delivery or lose it. Repeating is the one that somebody notices.
        return Failure(BAD_GATEWAY, b"A success without an event must have no body, and this one has: " + _quoted(answer.body))
    return None


def _quoted(body: bytes) -> bytes:
    """What of an answer may be kept: its beginning, without signed URLs and tokens."""
    beginning = body[: 2 * wire.ERROR_DATA]
    text = beginning.decode("utf-8", "surrogateescape")
    return masked(text).encode("utf-8", "surrogateescape")


def backoff(delivery: Delivery, tries_before: int) -> float:
    """Seconds until the next try, when `tries_before` retries are behind us: d·2^n, or d·n (so the first is immediate)."""
    if delivery.backoff is Backoff.LINEAR:
        return delivery.delay * tries_before
    return delivery.delay * 2.0 ** min(tries_before, 60)


def dead_letter_wait(delivery: Delivery, tries_before: int) -> float:
    """Seconds until a dead letter is tried again, for ever."""
    return min(max(backoff(delivery, tries_before), LOSS_WAIT), LONGEST_DEAD_LETTER_WAIT)
