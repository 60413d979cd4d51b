"""A model hub on this machine that speaks like Hugging Face's and can be told to misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class ModelHub:
    """One repository. `stop_after` bytes of a file its connection breaks, for the next `breaks` answers."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.served: dict[str, bytes] = {}
        self.stop_after: int | None = None
        self.breaks = 0
        self.hang_after: int | None = None
        self.release = threading.Event()
        self.statuses: dict[str, int] = {}
        self.without_ranges = False
        self.ranges: list[tuple[str, int]] = []
        self.sent = 0
        self.url = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        if path.startswith("/api/models/"):
            status = self.statuses.get("api", 200)
            body = json.dumps({"id": "org/model", "sha": COMMIT, "siblings": self._siblings()}).encode()
            request.send_response(status)
            if status == 403:
                request.send_header("X-Error-Code", "GatedRepo")
            if status == 404:
                request.send_header("X-Error-Code", "RepoNotFound")
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
            return
        self._file(request, path.split(f"/resolve/{COMMIT}/")[1])

    def _siblings(self) -> list[dict[str, Any]]:
        return [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": COMMIT,
                "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134},
            }
            for name, data in self.files.items()
        ]

    def _file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        data = self.served.get(name, self.files[name])
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.ranges.append((name, start))
        status = self.statuses.get(name, 206 if start and not self.without_ranges else 200)
        start = start if status == 206 else 0
        request.send_response(status)
        request.send_header("Content-Length", str(len(data) - start))
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        body = data[start:]
        if self.breaks > 0 and self.stop_after is not None and len(body) > self.stop_after:
            self.breaks -= 1
            body = body[: self.stop_after]
        if self.hang_after is not None:
            request.wfile.write(body[: self.hang_after])
            request.wfile.flush()
            self.release.wait(30)
            return
        request.wfile.write(body)
        self.sent += len(body)


@contextmanager
def model_hub(files: dict[str, bytes]) -> Iterator[ModelHub]:
    """A hub that serves `files` as long as the context lasts."""
    hub = ModelHub(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients are killed here on purpose."""

    server = Server(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
