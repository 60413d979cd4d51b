"""OpenTelemetry: imported only where it is turned on. What the exporter needs to know it reads from OTEL_* itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

SECOND = 10**9
"""Spans count nanoseconds."""


class Spans:
    """This process's spans. Servers fork after the start and threads do not survive that: each process has its own sender."""

    def __init__(self, service: str, exporter: SpanExporter | None = None) -> None:
        """`service` is what OTEL_SERVICE_NAME overrides; `exporter` stands in for OTLP over HTTP."""
        self._service = service
        self._exporter = exporter
        self._lock = threading.Lock()
        self._process = 0
        self._provider: TracerProvider | None = None

    @contextmanager
    def span(self, incoming: str | None, name: str) -> Iterator[str]:
        """A span within the trace of `incoming`; gives the traceparent to hand on."""
        parent = TraceContextTextMapPropagator().extract({"traceparent": incoming}, Context()) if incoming else Context()
        with self._tracer().start_as_current_span(name, parent, SpanKind.SERVER) as span:
            here = span.get_span_context()
            yield f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"

    def describe(self, attributes: Mapping[str, str], status: int) -> None:
        """Say of the current span what it was about and how it was answered."""
        span = trace.get_current_span()
        span.set_attributes({**attributes, "http.response.status_code": status})
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))

    def past(self, since: float, seconds: Mapping[str, float]) -> None:
        """A cold start, beneath the current span: one span for the whole wait, and one for each phase."""
        tracer = self._tracer()
        begin = int(since * SECOND)
        whole = tracer.start_span("cold start", start_time=begin)
        with trace.use_span(whole, end_on_exit=False):
            at = begin
            for phase, length in seconds.items():
                part = tracer.start_span(phase, start_time=at)
                at += int(length * SECOND)
                part.end(at)
        whole.end(at)

    def flush(self) -> None:
        """Send what was gathered."""
        if self._provider is not None:
            self._provider.force_flush()

    def _tracer(self) -> trace.Tracer:
        with self._lock:
            if self._provider is None or self._process != os.getpid():
                self._process = os.getpid()
                self._provider = TracerProvider(resource=Resource.create({"service.name": self._service}))
                self._provider.add_span_processor(BatchSpanProcessor(self._exporter or OTLPSpanExporter()))
            return self._provider.get_tracer("auricle")
