"""What the operator counts of itself, for Prometheus. No label names a secret, a person or anything that somebody typed."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from auricle.errors import Permanent, Rejected, Retryable
from auricle_operator.cluster import Gone

REGISTRY = CollectorRegistry()
"""Ours alone: libraries that count into the default one do not appear in `/metrics`."""
ProcessCollector(registry=REGISTRY)

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Outcome(StrEnum):
    """Of a reconcile."""

    DONE = "done"
    LATER = "later"  # something is away or ending; tried again
    REFUSED = "refused"  # a person has to change something
    BROKEN = "broken"  # a bug


class Rotated(StrEnum):
    """What became of one version of a secret."""

    BEGUN = "begun"
    PUBLISHED = "published"
    REVOKED = "revoked"


RECONCILES = Counter(
    "auricle_operator_reconciles_total",
    "Reconciles by kind and outcome: done, later (tried again), refused (a person has to act), broken (a bug).",
    ("kind", "outcome"),
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "auricle_operator_reconcile_seconds", "What one reconcile took.", ("kind",), buckets=SECONDS, registry=REGISTRY
)
LAST_DONE = Gauge(
    "auricle_operator_last_successful_reconcile_timestamp_seconds",
    "When a reconcile of this kind was last done (Unix time).",
    ("kind",),
    registry=REGISTRY,
)
API_CALLS = Counter(
    "auricle_operator_api_calls_total",
    "Requests to the API server; code: its HTTP status, or none where it did not answer. Watches are not among them.",
    ("verb", "resource", "code"),
    registry=REGISTRY,
)
RESOURCES = Gauge("auricle_operator_resources", "Resources there are, by kind and phase.", ("kind", "phase"), registry=REGISTRY)
ROTATIONS = Counter(
    "auricle_operator_rotations_total",
    "Versions of secrets, by purpose: begun, published (consumers have it), revoked (the old one works no more).",
    ("purpose", "step"),
    registry=REGISTRY,
)
MODEL_BYTES = Counter(
    "auricle_operator_model_fetched_bytes_total", "Bytes of models brought to nodes.", ("model",), registry=REGISTRY
)


@contextmanager
def reconciling(kind: str) -> Iterator[None]:
    """Counts and times what happens inside, for one reconcile of `kind`; errors pass through."""
    began, outcome = time.monotonic(), Outcome.BROKEN
    try:
        yield
        outcome = Outcome.DONE
        LAST_DONE.labels(kind).set_to_current_time()
    except (Retryable, Gone):
        outcome = Outcome.LATER
        raise
    except (Permanent, Rejected):
        outcome = Outcome.REFUSED
        raise
    except (CancelledError, GeneratorExit):  # whoever stops us looks at it again
        outcome = Outcome.LATER
        raise
    finally:
        RECONCILES.labels(kind, outcome).inc()
        RECONCILE_SECONDS.labels(kind).observe(time.monotonic() - began)


def resources(kind: str, phases: Mapping[str, int]) -> None:
    """How many resources of `kind` are in which phase now; phases that are not named hold none."""
    known = {labels[1] for labels in _labels(RESOURCES) if labels[0] == kind}
    for phase in known | phases.keys():
        RESOURCES.labels(kind, phase).set(phases.get(phase, 0))


@contextmanager
def served(port: int, address: str = "0.0.0.0") -> Iterator[int]:  # noqa: S104  (Prometheus scrapes it from another pod)
    """`/metrics` at that port, in a thread of its own, while the block runs; 0 takes a free port. Gives the port."""
    server, thread = start_http_server(port, address, registry=REGISTRY)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _labels(metric: Gauge) -> list[tuple[str, ...]]:
    return [tuple(sample.labels.values()) for family in metric.collect() for sample in family.samples]
