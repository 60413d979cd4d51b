"""What the operator says of itself to Prometheus."""

from __future__ import annotations

import asyncio
import urllib.request
from contextlib import nullcontext

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auricle.errors import Invalid, Permanent, Retryable
from auricle_operator import metrics
from auricle_operator.cluster import Gone


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "done"),
        (Retryable("away"), "later"),
        (Gone("ending"), "later"),
        (asyncio.CancelledError(), "later"),
        (Permanent("no"), "refused"),
        (Invalid("no"), "refused"),
        (ZeroDivisionError(), "broken"),
    ],
)
def test_every_reconcile_is_counted_by_what_became_of_it(error: BaseException | None, outcome: str) -> None:
    kind = f"Kind{outcome}{type(error).__name__}"
    with pytest.raises(type(error)) if error else nullcontext(), metrics.reconciling(kind):
        if error:
            raise error
    assert value("auricle_operator_reconciles_total", kind=kind, outcome=outcome) == 1
    assert value("auricle_operator_reconcile_seconds_count", kind=kind) == 1
    done = value("auricle_operator_last_successful_reconcile_timestamp_seconds", kind=kind)
    assert (done > 1_700_000_000) is (error is None)


def test_a_phase_that_nobody_is_in_any_more_is_none() -> None:
    metrics.resources("Tenant", {"Ready": 3, "Pending": 1})
    metrics.resources("ModelCache", {"Ready": 7})
    metrics.resources("Tenant", {"Ready": 4})
    assert value("auricle_operator_resources", kind="Tenant", phase="Ready") == 4
    assert metrics.REGISTRY.get_sample_value("auricle_operator_resources", {"kind": "Tenant", "phase": "Pending"}) == 0
    assert value("auricle_operator_resources", kind="ModelCache", phase="Ready") == 7


def test_prometheus_can_read_it_and_the_port_is_free_afterwards() -> None:
    metrics.ROTATIONS.labels("database", metrics.Rotated.PUBLISHED).inc()
    metrics.MODEL_BYTES.labels("whisper").inc(4096)
    port = 0
    for _ in range(2):  # the second time on the same port
        with metrics.served(port, "127.0.0.1") as port, urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    samples = {(s.name, tuple(s.labels.values())): s.value for family in families.values() for s in family.samples}
    assert samples["auricle_operator_rotations_total", ("database", "published")] == 1
    assert samples["auricle_operator_model_fetched_bytes_total", ("whisper",)] == 4096
    assert "process_resident_memory_bytes" in families
    ours = [name for name in families if not name.startswith("process_")]
    assert all(name.startswith("auricle_operator_") for name in ours)
