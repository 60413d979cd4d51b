"""A subscriber that does as it is told: a real HTTP server whose answers are scripted by path, and which remembers everything."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """One answer. `delay` in seconds; `drop` hangs up without a word; `hold` waits until the event is set."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    hold: threading.Event | None = None


@dataclass(frozen=True)
class Received:
    """One request. Header names are lower-case; `at` is monotonic; `together` counts requests to this path under way."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    together: int

    def attribute(self, name: str) -> str | None:
        """A CloudEvents attribute in binary mode."""
        return self.headers.get(f"ce-{name}")


class Subscriber:
    """The server. Paths without a script answer 204."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._scripts: dict[str, tuple[Reply | Callable[[Received], Reply], ...]] = {}
        self._received: defaultdict[str, list[Received]] = defaultdict(list)
        self._together: defaultdict[str, int] = defaultdict(int)
        self._counts: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.subscriber = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def script(self, path: str, *replies: Reply | Callable[[Received], Reply]) -> None:
        """Answer requests to `path` with these in turn; the last one stays. A function makes its answer of the request."""
        self._scripts[path] = replies

    def received(self, path: str) -> list[Received]:
        """What came to `path`, in order of arrival."""
        with self._changed:
            return list(self._received[path])

    def wait(self, path: str, count: int = 1, seconds: float = 20.0) -> list[Received]:
        """What came to `path` as soon as it is `count` requests; fails after `seconds`."""
        with self._changed:
            there = self._changed.wait_for(lambda: len(self._received[path]) >= count, seconds)
            found = list(self._received[path])
        assert there, f"{path} got {len(found)} requests instead of {count} in {seconds:.0f} s"
        return found

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Remember a request; its answer."""
        with self._changed:
            self._together[path] += 1
            received = Received(path, headers, body, time.monotonic(), self._together[path])
            self._received[path].append(received)
            number = next(self._counts[path])
            self._changed.notify_all()
        script = self._scripts.get(path, (Reply(),))
        chosen = script[min(number, len(script) - 1)]
        return chosen if isinstance(chosen, Reply) else chosen(received)

    def done(self, path: str) -> None:
        """A request to `path` is about to be answered."""
        with self._changed:
            self._together[path] -= 1

    def start(self) -> None:
        """Serve in the background."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def subscribing() -> Iterator[Subscriber]:
    """A running subscriber."""
    subscriber = Subscriber()
    subscriber.start()
    try:
        yield subscriber
    finally:
        subscriber.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    subscriber: Subscriber

    def handle_error(self, request: object, client_address: object) -> None:
        """A broker that was killed hangs up: that is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        reply = self.server.subscriber.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        if reply.hold is not None:
            reply.hold.wait(30)
        time.sleep(reply.delay)
        self.server.subscriber.done(self.path)
        if reply.drop:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status not in (204, 304):
            self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""
