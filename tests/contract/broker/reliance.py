"""Which rules the event door relies on: all, but those that stand here with the reason why it does not.

A new rule is relied on until somebody says why not; then it has to hold on the embedded broker and on RabbitMQ.
"""

from __future__ import annotations

import re

from contract.broker.delivery_rules import DONE, FINAL, NO_EVENTS, RETRIED
from contract.broker.ingress_rules import REQUESTS

ANSWERS = "it answers 204, 200 with an event, 503 or 500, and nothing else"
EMPTY = "its answers have no body but an event's"
OUTBOX = "our publishers send valid events in binary mode, and take every refusal for “again”"
MODE = "our events and replies are in binary mode"
TTL = "no function reads it, and the lint finds every circle of event types"
LETTERS = "the dead-letter function keeps what is there; why a step failed is written by the door itself"
PLAIN = "our attributes are ids and words in ASCII"
WAITING = "leases and deadlines, which the house sweeps, bound how long a step may wait"

ON_THE_WAY = (404, 429, 500, 502, 503, 504)
"""What the door answers, or Kourier, the activator and queue-proxy in its stead."""


def _slug(rule: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", rule.lower()).strip("-")


_REASONS: dict[str, str] = {
    **{f"the ingress {rule}": OUTBOX for rule, *_ in REQUESTS if rule != "takes a binary event"},
    **{f"{status} without a body is done": ANSWERS for status in DONE if status != 204},
    **{f"{status} is retried, then dead lettered": ANSWERS for status in RETRIED if status not in ON_THE_WAY},
    **{f"{status} is dead lettered at once": ANSWERS for status in FINAL},
    **{f"{what} is a failure": EMPTY for what, _ in NO_EVENTS},
    "a refusal says why": OUTBOX,
    "the ingress refuses other methods": OUTBOX,
    "the ingress refuses brokers it does not know": "BROKER_URL is set by the component that makes the Broker",
    "the ingress refuses what is over the limit, and nothing else": "our events carry ids, never content",
    "the ingress takes chunked bodies": "our publishers say how long a body is",
    "a structured event arrives in binary mode": MODE,
    "structured base64 data arrives as bytes": MODE,
    "structured text arrives as text": MODE,
    "a structured JSON string arrives as JSON": MODE,
    "structured numbers and truth values arrive as text": MODE,
    "structured attributes are percent encoded in headers": PLAIN,
    "a delivery asks for a reply and names the namespace": "no function reads these headers",
    "an event starts with a TTL of 255": TTL,
    "a publisher's TTL is kept": TTL,
    "a reply has one hop less to go": TTL,
    "a reply cannot raise its TTL": TTL,
    "a reply at the end of its TTL is not published": TTL,
    "a circle of replies comes to an end": TTL,
    "nothing is deduplicated": "every function does an event once, by its id, however often it comes",
    "a filter passes when the data content type matches": "our Triggers filter by type and extensions only",
    "a redirect is not followed": ANSWERS,
    "linear backoff waits longer each time": "our Triggers say exponential",
    "an event that waits for its retry holds up no other": WAITING,
    "without a dead letter sink the event is dropped after the retries": "every Trigger has a sink; the lint sees to it",
    "201 with a binary event publishes it": ANSWERS,
    "202 with a binary event publishes it": ANSWERS,
    "200 with a structured event publishes it": MODE,
    "a reply that is no event is a failure": EMPTY,
    "a dead letter says how far it may still go": TTL,
    "a dead letter says where it was to go and what was answered": LETTERS,
    "a dead letter quotes the answer": LETTERS,
    "a dead letter quotes no more than 1024 characters": EMPTY,
    "a dead letter after a timeout says so": LETTERS,
    "a dead letter after a body that is no event says so": EMPTY,
    "a dead letter quotes no signed address": EMPTY,
    "a dead letter that is refused is tried until it is taken, and never becomes another": (
        "the step's time limit ends in a failure that the owner sees, also when the dead letter is lost"
    ),
}
NOT_RELIED: dict[str, str] = {_slug(rule): reason for rule, reason in _REASONS.items()}
"""By slug of the rule."""

TOO_LITTLE: dict[str, str] = {
    "a-publisher-does-not-wait-for-subscribers": "why no overlay of ours has the in-memory broker",
    "a-failing-subscriber-holds-up-nobody-else": "it holds up its publisher there",
    "a-hanging-subscriber-holds-up-nobody-else": "it holds up its publisher there",
}
"""What the door relies on and the in-memory broker does not do: it keeps nothing, so that it is for trying things only."""

NOT_ASKED: dict[tuple[str, str], str] = {
    ("in-memory", "a-dead-letter-quotes-no-more-than-1024-characters"): (
        "an answer of more than 768 bytes ends its dispatcher (`index out of range`), and with it every in-memory broker of "
        "the cluster"
    ),
}
"""By broker and rule: why the suite does not try."""


def why_not(slug: str) -> str | None:
    """Why the door does not rely on a rule; None where it does."""
    return NOT_RELIED.get(slug)


def relied(slug: str) -> bool:
    """Whether our functions would do wrong where this rule does not hold."""
    return slug not in NOT_RELIED
