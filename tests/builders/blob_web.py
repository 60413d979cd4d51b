"""The filesystem store behind a real HTTP server in a thread, and clients that behave or do not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import flask
import urllib3
from werkzeug.serving import WSGIRequestHandler, make_server

from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.runtime.local.blobserver import Arrived, serve
from builders.memory_blobs import Answer

KEY = bytes(range(32))


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(root: Path, arrived: Arrived | None = None, **options: int) -> Iterator[FilesystemBlobs]:
    """A store in `root` whose URLs really answer, on a port of its own."""
    app = flask.Flask("blobs")
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    url = f"http://127.0.0.1:{server.server_port}"
    store = FilesystemBlobs(root, url, url, KEY, **options)

    def answer(**_: str) -> flask.Response:
        return serve(flask.request, store, arrived)

    methods = ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"]
    app.add_url_rule("/blobs/<path:key>", "blobs", answer, methods=methods, provide_automatic_options=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def request(method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """One request, no redirects, no repeats, at most 30 s."""
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        answer = pool.request(method, url, body=body or None, headers=dict(headers or {}), redirect=False)
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)


def hang_up(url: str, announced: int, sent: bytes) -> None:
    """Begin a PUT of `announced` bytes, send only `sent`, close our side, and wait until the server has done with it."""
    parts = urlsplit(url)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {announced}\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as connection:
        connection.sendall(head.encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
