"""What every list of stolen passwords promises, and what is true of each."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from auricle.adapters.breaches.range_api import MAX_BYTES, PwnedRange
from auricle.adapters.breaches.sorted_file import PwnedFile
from auricle.errors import Invalid
from auricle.ports.breaches import BreachList, breach_digest
from builders.breach_list import MemoryBreaches, as_file, as_range
from builders.scripted_http import Line, playing

STOLEN = {"password": 52_256_179, "hunter2 hunter2": 1, "Blåbærgrød": 7}
ASKED = "password"


@dataclass
class Place:
    """A list under contract; `lose` takes it away."""

    list: BreachList
    lose: Callable[[], None]


@contextmanager
def in_memory(_: Path) -> Iterator[Place]:
    kept = MemoryBreaches(STOLEN)
    yield Place(kept, lambda: setattr(kept, "away", True))


@contextmanager
def in_file(folder: Path) -> Iterator[Place]:
    path = folder / "pwned.txt"
    path.write_bytes(as_file(STOLEN))
    yield Place(PwnedFile(path), path.unlink)


@contextmanager
def over_http(_: Path) -> Iterator[Place]:
    """A server that knows all ranges."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Ranges(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = as_range(STOLEN, self.path.removeprefix("/range/"))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def lose() -> None:
        server.shutdown()
        server.server_close()
        kept.close()

    kept = PwnedRange(f"http://127.0.0.1:{server.server_port}", seconds=20.0)
    yield Place(kept, lose)
    lose()
    thread.join(5)


PLACES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {"memory": in_memory, "file": in_file, "http": over_http}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with PLACES[request.param](tmp_path) as opened:
        yield opened


def test_stolen_passwords_are_counted_and_others_are_not_there(place: Place) -> None:
    assert {password: place.list.count(password) for password in STOLEN} == STOLEN
    assert place.list.count("nobody ever chose this one, we hope") == 0
    assert place.list.count("") == 0


def test_a_password_is_found_however_its_signs_are_written(place: Place) -> None:
    assert place.list.count("Bla\u030abærgrød") == 7


def test_a_list_that_is_away_keeps_nobody_from_choosing(place: Place) -> None:
    place.lose()
    assert place.list.count(ASKED) is None


def test_what_cannot_be_a_password_is_refused(place: Place) -> None:
    with pytest.raises(Invalid):
        place.list.count("x" * 1025)


# Over HTTP


def test_five_characters_of_the_digest_leave_and_nothing_else_of_the_password(caplog: pytest.LogCaptureFixture) -> None:
    digest = breach_digest(ASKED)
    with caplog.at_level(logging.DEBUG, logger="auricle"), playing(Line(body=as_range(STOLEN, digest[:5]))) as script:
        assert PwnedRange(script.url).count(ASKED) == STOLEN[ASKED]
    (heard,) = script.heard
    assert (heard.method, heard.path, heard.body) == ("GET", f"/range/{digest[:5]}", b"")
    assert heard.headers["add-padding"] == "true"
    sent = f"{heard.path} {dict(heard.headers)}"
    assert digest[5:] not in sent
    assert digest[:6] not in sent
    assert ASKED not in sent
    assert digest[:5] not in caplog.text


def test_padding_is_no_finding() -> None:
    with playing(Line(body=f"{breach_digest(ASKED)[5:]}:0\r\n".encode())) as script:
        assert PwnedRange(script.url).count(ASKED) == 0


@pytest.mark.parametrize(
    "line",
    [
        Line(status=503),
        Line(status=429, headers={"Retry-After": "1"}),
        Line(status=404),
        Line(status=200, body=b""),
        Line(status=200, body=b"<html>Welcome to our hotel</html>"),
        Line(status=200, body=b"\xff\xfe"),
        Line(status=200, body=b"0" * 35 + b":1", announced=5000),
        Line(status=200, body=(b"0" * 35 + b":1\r\n") * (MAX_BYTES // 38)),
        Line(drop=True),
    ],
    ids=["busy", "limited", "missing", "empty", "portal", "binary", "cut off", "endless", "hangs up"],
)
def test_an_answer_that_is_no_list_is_not_taken_for_never_stolen(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), playing(line) as script:
        assert PwnedRange(script.url, seconds=20.0).count(ASKED) is None
    assert "the list of stolen passwords" in caplog.text
    assert breach_digest(ASKED)[:5] not in caplog.text


def test_a_redirect_is_not_followed() -> None:
    with playing(Line(body=as_range(STOLEN, breach_digest(ASKED)[:5]))) as other:
        with playing(Line(status=302, headers={"Location": f"{other.url}/range/00000"})) as script:
            assert PwnedRange(script.url).count(ASKED) is None
        assert other.heard == []


@pytest.mark.parametrize("drip", [False, True], ids=["silent", "dripping"])
def test_a_server_that_does_not_finish_holds_nobody(drip: bool) -> None:
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            if drip:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n")
            while not done.wait(0.05):
                if drip:
                    try:
                        connection.sendall(b"0")
                    except OSError:
                        return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        began = time.monotonic()
        try:
            assert PwnedRange(f"http://127.0.0.1:{listener.getsockname()[1]}", seconds=0.3).count(ASKED) is None
            assert time.monotonic() - began < 60  # it ends at all: without the limit the test would never
        finally:
            done.set()
            thread.join(5)


# In a file


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_line_of_a_file_is_found_and_nothing_between(tmp_path: Path, end: str) -> None:
    path = tmp_path / "pwned.txt"
    path.write_bytes(as_file(STOLEN, end))
    kept = PwnedFile(path)
    assert [kept.count(f"other {n}") for n in range(1, 400)] == list(range(1, 400))
    assert {kept.count(f"absent {n}") for n in range(400)} == {0}


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_short_files_are_searched_to_their_ends(tmp_path: Path, lines: int) -> None:
    words = sorted((f"word {n}" for n in range(lines)), key=breach_digest)
    path = tmp_path / "pwned.txt"
    path.write_text("".join(f"{breach_digest(word)}:{n}\n" for n, word in enumerate(words, 1)).removesuffix("\n"))
    assert [PwnedFile(path).count(word) for word in words] == list(range(1, lines + 1))
    assert PwnedFile(path).count("absent") == 0


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\xff" * 500, b"0" * 40 + b"\n"])
def test_a_file_that_is_no_list_is_not_taken_for_never_stolen(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pwned.txt"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert PwnedFile(path).count(ASKED) is None
    assert "cannot be read" in caplog.text
