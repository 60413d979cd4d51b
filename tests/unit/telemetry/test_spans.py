"""Spans reach a collector by OTLP, in the trace of the event, the cold start beneath the delivery."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from auricle.contract.event import Envelope
from auricle.runtime import coldstart, telemetry
from auricle.runtime.coldstart import Birth, ColdStarts
from auricle.runtime.spans import Spans

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Collector(HTTPServer):
    """Keeps what is sent to /v1/traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.requests: list[ExportTraceServiceRequest] = []

    def spans(self) -> dict[str, Span]:
        """By name."""
        return {s.name: s for r in self.requests for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans}


class _Receive(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        import gzip

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        found = ExportTraceServiceRequest()
        found.ParseFromString(body)
        self.server.requests.append(found)
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


@pytest.fixture
def spans(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Spans:
    made = Spans("transcribe")
    monkeypatch.setattr(telemetry, "_spans", made)
    now = [103.0]
    process = ColdStarts(lambda: Birth(started=102.0), clock=lambda: now[0])
    now[0] = 104.0
    monkeypatch.setattr(coldstart, "process", process)
    return made


def event() -> Envelope:
    return Envelope(id="1", source="/a", type="auricle.tests.rung.v1", time=datetime.fromtimestamp(100.0, UTC))


def test_a_delivery_and_its_cold_start_are_spans_of_the_events_trace(spans: Spans, collector: Collector) -> None:
    with telemetry.traced(f"00-{TRACE}-{PARENT}-01", "transcribe"), telemetry.delivery("transcribe") as watched:
        watched.event, watched.status = event(), 200
        handed_on = telemetry.traceparent()
    spans.flush()
    found = collector.spans()
    assert set(found) == {"transcribe", "cold start", "queued", "process", "first_byte"}
    delivery, cold = found["transcribe"], found["cold start"]
    assert {s.trace_id.hex() for s in found.values()} == {TRACE}
    assert delivery.parent_span_id.hex() == PARENT
    assert handed_on == f"00-{TRACE}-{delivery.span_id.hex()}-01"
    assert cold.parent_span_id == delivery.span_id
    assert all(found[phase].parent_span_id == cold.span_id for phase in ("queued", "process", "first_byte"))
    assert (found["queued"].start_time_unix_nano, found["queued"].end_time_unix_nano) == (100 * 10**9, 102 * 10**9)
    assert found["process"].end_time_unix_nano == 103 * 10**9
    assert (cold.start_time_unix_nano, cold.end_time_unix_nano) == (100 * 10**9, 104 * 10**9)
    attributes = {a.key: a.value.string_value or a.value.int_value for a in delivery.attributes}
    assert attributes["auricle.function"] == "transcribe"
    assert attributes["http.response.status_code"] == 200
    (resource,) = {
        a.value.string_value
        for r in collector.requests
        for rs in r.resource_spans
        for a in rs.resource.attributes
        if a.key == "service.name"
    }
    assert resource == "transcribe"


def test_a_failed_delivery_is_an_error_span(spans: Spans, collector: Collector) -> None:
    with telemetry.traced(None, "export"), telemetry.delivery("export") as watched:
        watched.status = 500
    spans.flush()
    assert collector.spans()["export"].status.code == 2


def test_requests_are_spans_by_route(spans: Spans, collector: Collector) -> None:
    with telemetry.traced(None, "http"), telemetry.request("GET") as watched:
        watched.function, watched.route, watched.status = "files", "/api/files/{file_id}", 200
    spans.flush()
    attributes = {a.key: a.value.string_value for a in collector.spans()["http"].attributes}
    assert attributes["http.route"] == "/api/files/{file_id}"


def test_without_opentelemetry_traces_travel_all_the_same() -> None:
    with telemetry.traced(f"00-{TRACE}-{PARENT}-01"):
        assert telemetry.trace_id() == TRACE
        assert PARENT not in telemetry.traceparent()
    assert telemetry.trace_id() is None
