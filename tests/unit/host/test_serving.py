"""The host's web server and, with --isolate, its proxy: streams leave as they come, large bodies go where files go only."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from auricle.errors import NotFound
from auricle.runtime.local.addresses import claimed
from auricle.runtime.local.proxy import Proxy
from auricle.runtime.local.refusing import refuse

APPLICATION = """
import sys, time
from auricle.runtime.local.serving import listening, serve
def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.3)
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        def pieces():
            yield b"data: 1\\n\\n"
            yield environ["wsgi.input"].read()
            time.sleep(600)
        return pieces()
    body = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
serve(application, [listening(where) for where in sys.argv[1:]], threads=4)
"""


@contextmanager
def serving() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The server in a process of its own, on a socket that it inherits, as under the supervisor."""
    with claimed("127.0.0.1", 0) as opened:
        command = [sys.executable, "-c", textwrap.dedent(APPLICATION), f"fd:{opened.fileno()}"]
        process = subprocess.Popen(command, pass_fds=(opened.fileno(),))
        try:
            yield opened.getsockname()[1], process
        finally:
            process.kill()
            process.wait()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request and its answer."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request(method, path, body)
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def test_the_server_streams_takes_files_and_refuses_other_large_bodies_then_ends_when_asked() -> None:
    with serving() as (port, process):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        line.request("GET", "/stream")
        answer = line.getresponse()
        assert answer.readline() == b"data: 1\n"  # while the application sleeps on
        large = b"x" * (17 * 2**20)
        assert ask(port, "PUT", "/blobs/some/part", large) == (200, str(len(large)).encode())
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            raw.sendall(b"POST /api/files HTTP/1.1\r\nHost: a\r\nContent-Length: 17000000\r\n\r\n")
            assert b" 413 " in raw.recv(64)  # before the body has come
        begun = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        begun.request("POST", "/slow", b"abc")
        assert ask(port, "GET", "/again") == (200, b"0")
        process.terminate()
        assert begun.getresponse().read() == b"3"  # what was begun is finished
        assert process.wait(10) == 0


class Upstream(BaseHTTPRequestHandler):
    """A function's process, and the broker that wakes it."""

    protocol_version = "HTTP/1.1"
    server: HTTPServer
    woken: list[str]
    gone: list[str]

    def log_message(self, *arguments: object) -> None:
        """Tests are quiet."""

    def do_POST(self) -> None:
        """Wake a function, or take a body."""
        if self.path.startswith("/activate/"):
            self.woken.append(self.path.removeprefix("/activate/"))
            if self.woken[-1] == "broken":
                self._answer(503, b"{}")
                return
            where = self.gone.pop() if self.gone else f"http://127.0.0.1:{self.server.server_port}"
            self._answer(200, json.dumps({"url": where}).encode())
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = {
            "path": self.path,
            "size": len(body),
            "type": self.headers["Content-Type"],
            "auth": self.headers["Authorization"],
        }
        self._answer(201, json.dumps(told).encode())

    def do_GET(self) -> None:
        """Stream two pieces; the second one once somebody has read the first."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b"data: 1\n\n", b"data: 2\n\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            self.server.step.acquire(timeout=20)  # type: ignore[attr-defined]
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[ThreadingHTTPServer]:
    """Function and broker on one port."""
    handler = type("Handler", (Upstream,), {"woken": [], "gone": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.step = threading.Semaphore(0)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.step.release(10)  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


ROUTES = {
    "/api/files/{file_id}": "files",
    "/api/files/{file_id}/runs": "runs",
    "/api/{anything}/drop": "other",
    "/api/files/drop": "intake",
    "/api/events": "progress",
    "/api/broken": "broken",
}


def proxy(server: ThreadingHTTPServer) -> Proxy:
    """The proxy before that upstream."""
    return Proxy(ROUTES, f"http://127.0.0.1:{server.server_address[1]}")


class Answer:
    """What a WSGI application said."""

    def __init__(self, application: Proxy, environ: WSGIEnvironment) -> None:
        """Call it."""
        self.status = ""
        self.headers: dict[str, str] = {}
        self.body = application(environ, self._begin)  # type: ignore[arg-type]

    def _begin(self, status: str, headers: list[tuple[str, str]], error: object = None, /) -> object:
        self.status, self.headers = status, dict(headers)
        return lambda data: None


def request(method: str, path: str, body: bytes = b"", query: str = "") -> WSGIEnvironment:
    """A WSGI environment."""
    import io

    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": "Bearer aur_x",
        "HTTP_CONNECTION": "keep-alive",
        "wsgi.input": io.BytesIO(body),
    }


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/api/files/1", "files"),
        ("/api/files/1/runs", "runs"),
        ("/api/files/drop", "intake"),
        ("/api/notes/drop", "other"),
        ("/api/events", "progress"),
    ],
)
def test_the_most_specific_template_wins(path: str, function: str) -> None:
    assert Proxy(ROUTES, "http://127.0.0.1:9").function_of(path) == function


def test_a_path_of_nobody_is_not_found() -> None:
    with pytest.raises(NotFound):
        Proxy(ROUTES, "http://127.0.0.1:9").function_of("/api/files/1/2/3")


def test_bodies_query_and_credentials_reach_the_function(upstream: ThreadingHTTPServer) -> None:
    answer = Answer(proxy(upstream), request("POST", "/api/files/ü 1".encode().decode("latin-1"), b"x" * 100_000, "a=1&b=%20"))
    told = json.loads(b"".join(answer.body))
    assert answer.status == "201 Created"
    assert told == {
        "path": "/api/files/%C3%BC%201?a=1&b=%20",
        "size": 100_000,
        "type": "application/json",
        "auth": "Bearer aur_x",
    }


def test_a_stream_passes_through_piece_by_piece(upstream: ThreadingHTTPServer) -> None:
    answer = Answer(proxy(upstream), request("GET", "/api/events"))
    pieces = iter(answer.body)
    assert next(pieces) == b"data: 1\n\n"  # the function waits until we have it
    upstream.step.release()  # type: ignore[attr-defined]
    assert next(pieces) == b"data: 2\n\n"
    assert "Transfer-Encoding" not in answer.headers
    upstream.step.release()  # type: ignore[attr-defined]
    assert list(pieces) == []


def test_a_long_stream_keeps_its_function_awake(upstream: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auricle.runtime.local.proxy.KEEP_WARM_SECONDS", 0.0)
    upstream.step.release(2)  # type: ignore[attr-defined]
    assert len(list(Answer(proxy(upstream), request("GET", "/api/events")).body)) == 2
    assert upstream.RequestHandlerClass.woken == ["progress"] * 3  # type: ignore[attr-defined]


def test_a_process_that_went_to_sleep_in_between_is_woken_again(upstream: ThreadingHTTPServer) -> None:
    with claimed("127.0.0.1", 0) as closed:
        port = closed.getsockname()[1]
    upstream.RequestHandlerClass.gone.append(f"http://127.0.0.1:{port}")  # type: ignore[attr-defined]
    answer = Answer(proxy(upstream), request("POST", "/api/files/1", b"x"))
    assert answer.status == "201 Created"
    assert upstream.RequestHandlerClass.woken == ["files", "files"]  # type: ignore[attr-defined]


def test_a_function_that_does_not_start_is_said_in_a_sentence(upstream: ThreadingHTTPServer) -> None:
    answer = Answer(proxy(upstream), request("POST", "/api/broken", b"x"))
    assert answer.status.startswith("503 ")
    assert answer.headers["Retry-After"]
    assert "could not be started" in json.loads(b"".join(answer.body))["detail"]


def test_a_broker_that_is_away_is_said_in_a_sentence() -> None:
    with claimed("127.0.0.1", 0) as closed:
        port = closed.getsockname()[1]
    answer = Answer(Proxy(ROUTES, f"http://127.0.0.1:{port}"), request("GET", "/api/events"))
    assert answer.status.startswith("503 ")
    assert "broker" in json.loads(b"".join(answer.body))["detail"]


def test_probes_ask_about_the_proxy_itself() -> None:
    assert Answer(Proxy(ROUTES, "http://127.0.0.1:9"), request("GET", "/readyz")).status == "200 OK"


def test_refusals_are_problem_documents() -> None:
    seen: list[str] = []

    def begin(status: str, headers: list[tuple[str, str]], error: object = None, /) -> object:
        seen.append(status)
        return lambda data: None

    start: StartResponse = begin  # type: ignore[assignment]
    assert json.loads(b"".join(refuse(NotFound("Not here."), {"REQUEST_METHOD": "GET"}, start)))["detail"] == "Not here."
    assert seen == ["404 Not found"]
