"""With `--isolate`, the gateway waits for a function that starts and for one that thinks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from auricle.runtime.local.proxy import Proxy

LONGER_THAN_CONNECTING = 2.3
"""Seconds: more than the proxy gives a connection to come about."""


class Sleepy(BaseHTTPRequestHandler):
    """A broker that starts functions slowly, and such a function."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Waking takes a while."""
        threading.Event().wait(LONGER_THAN_CONNECTING)
        self._say(b'{"url": "http://127.0.0.1:%d"}' % self.server.server_port)  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        """So does the answer."""
        threading.Event().wait(LONGER_THAN_CONNECTING)
        self._say(b"at last")

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def broker() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sleepy)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_it_waits_for_a_function_that_starts_and_for_its_answer(broker: str) -> None:
    said: list[str] = []
    environ: dict[str, Any] = {"PATH_INFO": "/api/files", "REQUEST_METHOD": "GET"}
    answer = Proxy({"/api/files": "files"}, broker)(environ, lambda status, headers: said.append(status))  # type: ignore[arg-type,return-value]
    assert (b"".join(answer), said) == (b"at last", ["200 OK"])
