"""What processes count, and how a scrape reads it."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from flask import Flask, Request, Response
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import EnvironBuilder

from auricle.runtime import coldstart, metrics, telemetry
from auricle.runtime.bind import Bound
from auricle.runtime.coldstart import Birth, ColdStarts
from auricle.runtime.metrics import Door, Tally, exposition
from auricle.runtime.settings import ApiDocs, Settings

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    fresh = Tally()
    monkeypatch.setattr(metrics, "tally", fresh)
    return fresh


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> ColdStarts:
    """A process that has just been started for what comes first."""
    fresh = ColdStarts(lambda: Birth(started=0.0))
    monkeypatch.setattr(coldstart, "process", fresh)
    return fresh


@pytest.fixture
def door(tally: Tally) -> Iterator[Door]:
    with Door(0, tally.families, "127.0.0.1") as opened:
        opened.start(notice=0.02)
        yield opened
        opened.shutdown()


def samples(body: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def seen(tally: Tally) -> Samples:
    return samples(exposition(tally.families)[1])


def asked(bound: Bound, method: str, path: str) -> Response:
    with Flask("test").app_context():
        return bound(Request(EnvironBuilder(method=method, path=path).get_environ()))


def test_a_scrape_reads_counters_gauges_and_histograms(door: Door, tally: Tally) -> None:
    tally.add(metrics.DELIVERIES, "export", "done")
    tally.add(metrics.DELIVERIES, "export", "done")
    for value in (0.01, 3.0, 1e6):
        tally.observe(metrics.DELIVERY_SECONDS, value, "export")
    with urllib.request.urlopen(f"http://127.0.0.1:{door.port}/metrics", timeout=10) as answer:
        found = samples(answer.read())
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert found["auricle_deliveries_total", (("function", "export"), ("outcome", "done"))] == 2
    of = ("function", "export")
    assert found["auricle_delivery_seconds_bucket", (of, ("le", "0.05"))] == 1
    assert found["auricle_delivery_seconds_bucket", (of, ("le", "5.0"))] == 2
    assert found["auricle_delivery_seconds_bucket", (of, ("le", "+Inf"))] == 3
    assert found["auricle_delivery_seconds_sum", (of,)] == pytest.approx(1000003.01)
    assert found["process_resident_memory_bytes", ()] > 0


def test_there_is_nothing_else_at_the_port(door: Door) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{door.port}/api/files", timeout=10)


def test_the_functions_own_port_shows_no_metrics(tally: Tally) -> None:
    bound = Bound(Settings(auricle_function="docs"))
    assert asked(bound, "GET", "/metrics").status_code == 404


def test_requests_are_counted_by_the_declared_route_and_never_by_what_was_typed(tally: Tally, woken: ColdStarts) -> None:
    bound = Bound(Settings(auricle_function="docs,runs", api_docs=ApiDocs.PUBLIC))
    assert asked(bound, "GET", "/api/openapi.json").status_code == 200
    asked(bound, "GET", "/api/runs/0198f1de-0000-7000-8000-000000000000")  # no database: it fails, and is counted
    asked(bound, "GET", "/typed/by/somebody")
    asked(bound, "BREW", "/typed/by/somebody")
    found = seen(tally)
    routes = {labels for name, labels in found if name == "auricle_http_requests_total"}
    assert (("function", "docs"), ("method", "GET"), ("route", "/api/openapi.json"), ("status", "200")) in routes
    assert {dict(labels)["route"] for labels in routes} == {"/api/openapi.json", "/api/runs/{run_id}", "none"}
    assert {dict(labels)["method"] for labels in routes} == {"GET", "other"}


def test_the_first_answer_tells_the_phases_of_the_cold_start_once(tally: Tally, woken: ColdStarts) -> None:
    bound = Bound(Settings(auricle_function="docs", api_docs=ApiDocs.PUBLIC))
    for _ in range(3):
        asked(bound, "GET", "/api/openapi.json")
    found = seen(tally)
    assert found["auricle_cold_starts_total", (("function", "docs"),)] == 1
    phases = {dict(labels)["phase"] for name, labels in found if name == "auricle_cold_start_seconds_count"}
    assert phases == {"process", "first_byte"}


def test_deliveries_are_counted_by_their_answer(tally: Tally) -> None:
    for status in (204, 200, 503, 500):
        with telemetry.delivery("prepare") as watched:
            assert seen(tally)["auricle_deliveries_under_way", (("function", "prepare"),)] == 1
            watched.status = status
    found = seen(tally)
    outcomes = {dict(labels)["outcome"] for name, labels in found if name == "auricle_deliveries_total"}
    assert outcomes == {"done", "replied", "later", "broken"}
    assert found["auricle_deliveries_under_way", (("function", "prepare"),)] == 0


def test_a_second_process_with_the_same_port_says_so_and_goes_on(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "_opened", False)
    with Door(0, metrics.tally.families, "") as other:
        metrics.open_door(other.port)
    assert "is taken" in caplog.text


def test_counting_needs_no_library_before_the_first_scrape() -> None:
    program = (
        "import sys; from auricle.runtime.bind import Bound; from auricle.runtime.settings import Settings;"
        "Bound(Settings(auricle_function='transcribe'));"
        "print([m for m in sys.modules if m.startswith(('prometheus_client', 'opentelemetry'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
