"""What a process counts, for Prometheus: on a port of its own, so that no scrape passes Knative and wakes anybody.

Counting costs a dictionary look-up. The library that writes the exposition format takes 70 ms to import, which a cold start
does not have: it is loaded by the first scrape. No label names a person, a file, a run or a path that somebody typed.
"""

from __future__ import annotations

import logging
import socketserver
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What a series is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: answers to people, phases of a cold start."""
SLOW = (0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0)
"""Seconds: work on recordings, loading models."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: its name as Prometheus sees it, what it says, and the names of its labels."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, help: str, *labels: str) -> Series:
    return Series(name, Kind.COUNTER, help, labels)


def _gauge(name: str, help: str, *labels: str) -> Series:
    return Series(name, Kind.GAUGE, help, labels)


def _histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Series:
    return Series(name, Kind.HISTOGRAM, help, labels, buckets)


DELIVERIES = _counter(
    "auricle_deliveries_total",
    "Events handled. Outcome: done, replied, later (tried again), broken (tried again, then a dead letter).",
    "function",
    "outcome",
)
DELIVERY_SECONDS = _histogram("auricle_delivery_seconds", "From an event's arrival to its answer.", SLOW, "function")
DELIVERIES_UNDER_WAY = _gauge("auricle_deliveries_under_way", "Events being handled now.", "function")
COLD_STARTS = _counter(
    "auricle_cold_starts_total", "Processes that were started for the first thing they answered.", "function"
)
COLD_START_SECONDS = _histogram(
    "auricle_cold_start_seconds",
    "Phases of cold starts, as `auricle runs show` names them.",
    (*QUICK, 30.0, 60.0, 300.0),
    "function",
    "phase",
)
REQUESTS = _counter(
    "auricle_http_requests_total",
    "Requests by route (as declared; none: there is no such route).",
    "function",
    "method",
    "route",
    "status",
)
REQUEST_SECONDS = _histogram(
    "auricle_http_request_seconds",
    "From a request's arrival to its answer; of a stream, until it begins.",
    QUICK,
    "function",
    "method",
    "route",
)
MODEL_LOADS = _counter("auricle_model_loads_total", "Speech models brought into memory.", "model")
MODEL_LOAD_SECONDS = _histogram("auricle_model_load_seconds", "What loading a speech model took.", SLOW, "model")
PROCESS_SERIES = (
    DELIVERIES,
    DELIVERY_SECONDS,
    DELIVERIES_UNDER_WAY,
    COLD_STARTS,
    COLD_START_SECONDS,
    REQUESTS,
    REQUEST_SECONDS,
    MODEL_LOADS,
    MODEL_LOAD_SECONDS,
)
"""What every function's process exports, besides what the library says of any process (memory, processor time, files)."""

Labels = tuple[str, ...]


@dataclass(slots=True)
class _Observed:
    counts: list[int]
    total: float = 0.0


@dataclass(slots=True)
class Tally:
    """Numbers of one process. Safe to share between threads."""

    _numbers: dict[tuple[Series, Labels], float] = field(default_factory=dict)
    _observed: dict[tuple[Series, Labels], _Observed] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, series: Series, *labels: str, by: float = 1.0) -> None:
        """Count, or move a gauge."""
        assert len(labels) == len(series.labels), series.name
        with self._lock:
            self._numbers[series, labels] = self._numbers.get((series, labels), 0.0) + by

    def observe(self, series: Series, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        assert len(labels) == len(series.labels), series.name
        with self._lock:
            seen = self._observed.setdefault((series, labels), _Observed([0] * (len(series.buckets) + 1)))
            seen.counts[bisect_left(series.buckets, value)] += 1
            seen.total += value

    def families(self) -> Iterator[Family]:
        """Everything, as the library wants it."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        with self._lock:
            numbers = dict(self._numbers)
            observed = {key: _Observed(list(seen.counts), seen.total) for key, seen in self._observed.items()}
        found: dict[Series, Any] = {}
        for (series, labels), value in numbers.items():
            kind = CounterMetricFamily if series.kind is Kind.COUNTER else GaugeMetricFamily
            family = found.setdefault(series, kind(series.name, series.help, labels=series.labels))
            family.add_metric(labels, value)
        for (series, labels), seen in observed.items():
            family = found.setdefault(series, HistogramMetricFamily(series.name, series.help, labels=series.labels))
            family.add_metric(labels, list(_cumulative(series.buckets, seen.counts)), seen.total)
        yield from found.values()


def _cumulative(bounds: tuple[float, ...], counts: list[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += count
        yield bound, total


tally = Tally()
"""This process's."""


def model_loaded(model: str, seconds: float) -> None:
    """A speech model is in memory."""
    tally.add(MODEL_LOADS, model)
    tally.observe(MODEL_LOAD_SECONDS, seconds, model)


def exposition(families: Callable[[], Iterable[Family]]) -> tuple[str, bytes]:
    """Content type and text of a scrape: what `families` gives, and this process's own memory and processor time."""
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.registry import Collector

    class Ours(Collector):
        def collect(self) -> Iterable[Family]:
            return families()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Ours())
    ProcessCollector(registry=registry)
    return CONTENT_TYPE_LATEST, generate_latest(registry)


class Door(socketserver.ThreadingTCPServer):
    """Answers `GET /metrics` on a port that nothing but a scrape uses."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, families: Callable[[], Iterable[Family]], host: str = "") -> None:
        """Listens at once; port 0 takes any that is free. Nothing is answered before `start`."""
        self.families = families
        super().__init__((host, port), _Scrape)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def start(self, notice: float = 3600.0) -> None:
        """Answer, in a thread that ends with the process; it notices `shutdown` within `notice` seconds."""
        threading.Thread(target=self.serve_forever, args=(notice,), name="metrics", daemon=True).start()


class _Scrape(BaseHTTPRequestHandler):
    timeout = 10
    server: Door

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        try:
            kind, body = exposition(self.server.families)
        except ModuleNotFoundError:
            self.send_error(501, "The package prometheus-client is not installed")
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every half minute is no news."""


_opened = False
_opening = threading.Lock()


def open_door(port: int) -> None:
    """Serve this process's numbers, once. Called by the first probe and not at the start: servers fork in between."""
    global _opened
    with _opening:
        if _opened:
            return
        _opened = True
    try:
        Door(port, tally.families).start()
    except OSError as error:
        log.warning("METRICS_PORT=%d is taken (%s): this process is not scraped. Give each process its own.", port, error)
