"""What a process says of itself: logs that machines read and people grep, spans, and what is counted of each answer.

Logs are one JSON object a line, with the trace they belong to. Signed URLs and tokens are masked here, once, whatever a
message holds. Spans are made only where OpenTelemetry is turned on; without it trace ids travel all the same.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auricle.contract.event import Envelope
from auricle.runtime import coldstart, metrics

if TYPE_CHECKING:
    from auricle.runtime.spans import Spans

log = logging.getLogger(__name__)

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$")
_SECRETS = (
    re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+"),  # the query of a signed URL is its key
    re.compile(r"(aur_)[A-Za-z0-9_-]{8,}"),
    re.compile(r"(postgres(?:ql)?(?:\+\w+)?://[^:/@\s]+:)[^@\s]+(?=@)"),
)
_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_trace: ContextVar[str] = ContextVar("trace", default="")
_spans: Spans | None = None
OUTCOMES = {200: "replied", 204: "done", 503: "later"}
"""The event door's answers in words; everything else is broken."""


def traceparent() -> str:
    """The current W3C trace context, or a fresh one."""
    return _trace.get() or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id() -> str | None:
    """The 32 hex digits that name the current trace."""
    found = _TRACEPARENT.match(_trace.get())
    return found.group(1) if found else None


@contextmanager
def traced(incoming: str | None, name: str = "work") -> Iterator[None]:
    """Run within the trace of `incoming` (a `traceparent`), or within a new one; each hop gets its own span."""
    if _spans is None:
        found = _TRACEPARENT.match(incoming or "")
        with _current(f"00-{found.group(1) if found else secrets.token_hex(16)}-{secrets.token_hex(8)}-01"):
            yield
    else:
        with _spans.span(incoming, name) as here, _current(here):
            yield


@contextmanager
def _current(trace: str) -> Iterator[None]:
    token = _trace.set(trace)
    try:
        yield
    finally:
        _trace.reset(token)


@dataclass(slots=True)
class Delivery:
    """An event being handled, as far as it is known."""

    event: Envelope | None = None
    status: int = 500


@contextmanager
def delivery(function: str) -> Iterator[Delivery]:
    """Count a delivery and say how it went; the process's first one tells what it waited for."""
    watched, began, arrived, tally = Delivery(), time.monotonic(), time.time(), metrics.tally
    tally.add(metrics.DELIVERIES_UNDER_WAY, function)
    try:
        yield watched
    finally:
        tally.add(metrics.DELIVERIES_UNDER_WAY, function, by=-1)
        tally.add(metrics.DELIVERIES, function, OUTCOMES.get(watched.status, "broken"))
        tally.observe(metrics.DELIVERY_SECONDS, time.monotonic() - began, function)
        if watched.event is not None:
            _first_answer(function, watched.event.time, arrived)
        if _spans is not None:
            kind = watched.event.type if watched.event else ""
            _spans.describe({"auricle.function": function, "cloudevents.event_type": kind}, watched.status)


@dataclass(slots=True)
class Asked:
    """A request being answered, as far as it is known."""

    function: str = "none"
    route: str = "none"
    status: int = 500


@contextmanager
def request(method: str) -> Iterator[Asked]:
    """Count a request and say how it went."""
    watched, began, arrived, tally = Asked(), time.monotonic(), time.time(), metrics.tally
    method = method if method in METHODS else "other"
    try:
        yield watched
    finally:
        tally.add(metrics.REQUESTS, watched.function, method, watched.route, str(watched.status))
        tally.observe(metrics.REQUEST_SECONDS, time.monotonic() - began, watched.function, method, watched.route)
        _first_answer(watched.function, None, arrived)
        if _spans is not None:
            described = {"http.request.method": method, "http.route": watched.route, "auricle.function": watched.function}
            _spans.describe(described, watched.status)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _first_answer(function: str, since: datetime | None, arrived: float) -> None:
    """What the process's first answer waited for: counted, and as spans."""
    found = coldstart.process.measure(since, arrived)
    if found is None:
        return
    metrics.tally.add(metrics.COLD_STARTS, function)
    for phase, seconds in found.seconds.items():
        metrics.tally.observe(metrics.COLD_START_SECONDS, seconds, function, phase)
    if _spans is not None:
        _spans.past(found.since, found.seconds)


def start_tracing(service: str) -> None:
    """Make spans from now on and send them to where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    global _spans
    try:
        from auricle.runtime.spans import Spans
    except ModuleNotFoundError as error:
        log.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set and %s is not installed: no spans. Use an image with auricle[tracing].",
            error.name,
        )
        return
    _spans = Spans(service)


def masked(text: str) -> str:
    """`text` without the secrets that tend to end up in messages."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, trace, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if trace := trace_id():
            line["trace"] = trace
        line |= {k: masked(str(v)) for k, v in vars(record).items() if k not in _FIELDS}
        if record.exc_info:
            line["error"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def start_logging(level: str) -> None:
    """Log to standard error as JSON lines. Libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("auricle").setLevel(level)
