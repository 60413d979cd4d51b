"""An HTTP server that says what a test wrote for it, one answer per request, well-behaved or not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Line:
    """One answer. `announced`: the Content-Length to claim (default: the truth); `drop`: hang up without a word."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    drop: bool = False


@dataclass(frozen=True)
class Heard:
    """One request; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Script:
    """Answers to give, in order (the last one for ever), and the requests that came."""

    lines: list[Line]
    url: str = ""
    heard: list[Heard] = field(default_factory=list)

    def next(self) -> Line:
        """The answer to this request."""
        return self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]


@contextmanager
def playing(*lines: Line) -> Iterator[Script]:
    """A server that plays `lines`."""
    script = Script(list(lines))

    class Player(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _play(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.heard.append(Heard(self.command, self.path, headers, body))
            line = script.next()
            if not line.drop:
                self.send_response(line.status)
                length = len(line.body) if line.announced is None else line.announced
                for name, value in {"Content-Length": str(length), **line.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(line.body)
            if line.drop or line.announced is not None:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _play  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Player)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
