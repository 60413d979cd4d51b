"""How the secretless client treats servers that are busy, broken, wrong, or not allowed."""

from __future__ import annotations

import logging
import socket
import traceback

import pytest

from auricle.adapters.blobs.signed_http import SignedHttp
from auricle.errors import AuricleError, NotFound, Permanent, Retryable
from builders.scripted_http import Line, playing

SECRET = "/f/one?X-Amz-Signature=c0ffee"


def client(*origins: str, **options: int) -> SignedHttp:
    return SignedHttp(origins, pauses=(0.0, 0.0), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
def test_a_busy_store_is_asked_again_and_then_left_for_later(status: int) -> None:
    with playing(Line(status), Line(status), Line(200, b"bytes")) as script:
        assert client(script.url).fetch(script.url + SECRET) == b"bytes"
        assert len(script.heard) == 3
    with playing(Line(status)) as script:
        with pytest.raises(Retryable):
            client(script.url).store(script.url + SECRET, b"x")
        assert [heard.body for heard in script.heard] == [b"x"] * 3


def test_broken_connections_and_short_bodies_are_tried_again() -> None:
    with playing(Line(drop=True), Line(200, b"half", announced=8), Line(200, b"all of it")) as script:
        assert client(script.url).fetch(script.url + SECRET) == b"all of it"
    with playing(Line(200, b"half", announced=8)) as script, pytest.raises(Retryable):
        client(script.url).fetch(script.url + SECRET)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Permanent), (401, Permanent), (403, Permanent), (410, Permanent), (404, NotFound)]
)
def test_refusals_are_final_at_once(status: int, kind: type[AuricleError]) -> None:
    with playing(Line(status, b"<Error/>")) as script:
        for attempt in (
            lambda: client(script.url).fetch(script.url + SECRET),
            lambda: client(script.url).store(script.url + SECRET, b"x"),
        ):
            with pytest.raises(kind):
                attempt()
        assert len(script.heard) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with playing(Line(200, b"inside")) as inside, playing(Line(status, headers={"Location": inside.url})) as script:
        with pytest.raises(Permanent):
            client(script.url, inside.url).fetch(script.url + SECRET)
        with pytest.raises(Permanent):
            client(script.url, inside.url).store(script.url + SECRET, b"x")
        assert inside.heard == []


def test_only_allowed_origins_are_talked_to() -> None:
    with playing(Line(200, b"bytes")) as script:
        port = script.url.rpartition(":")[2]
        other = [
            script.url.replace("http:", "https:"),
            f"http://localhost:{port}",
            f"http://user@127.0.0.1:{port}",
            f"http://127.0.0.1:{port}@evil.example",
            f"http://evil.example\\@127.0.0.1:{port}",
            "http://127.0.0.1:1",
            "http://127.0.0.1",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "//127.0.0.1",
            "not a url",
            "",
            "http://[::1",
            "http://127.0.0.1:notaport",
        ]
        for base in other:
            with pytest.raises(Permanent, match="OBJECT_ORIGINS"):
                client(script.url).fetch(base + SECRET)
            with pytest.raises(Permanent, match="OBJECT_ORIGINS"):
                client(script.url).store(base + SECRET, b"x")
        with pytest.raises(Permanent):
            SignedHttp(()).fetch(script.url + SECRET)
        assert script.heard == []
        assert (
            client("https://elsewhere.example", script.url.upper().replace("HTTP", "http")).fetch(script.url + "/x") == b"bytes"
        )


def test_the_usual_port_may_be_said_or_not() -> None:
    # A reserved name (RFC 2606): allowed, so it is tried, and nobody answers.
    for allowed, asked in (
        ("http://nobody.invalid:80", "http://nobody.invalid"),
        ("https://nobody.invalid", "https://nobody.invalid:443"),
    ):
        with pytest.raises(Retryable):
            client(allowed).fetch(asked + SECRET)
    with pytest.raises(Permanent):
        client("http://nobody.invalid:81").fetch("http://nobody.invalid" + SECRET)


def test_more_bytes_than_a_piece_of_work_has_are_refused() -> None:
    with playing(Line(200, b"x" * 1001)) as script, pytest.raises(Permanent, match="1000 bytes"):
        client(script.url, largest=1000).fetch(script.url + SECRET)
    unannounced = Line(
        200, b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked", "Content-Length": "0"}
    )
    with playing(unannounced) as script, pytest.raises((Permanent, Retryable)):
        client(script.url, largest=1000).fetch(script.url + SECRET)
    with playing(Line(200, b"x" * 1000)) as script:
        assert len(client(script.url, largest=1000).fetch(script.url + SECRET)) == 1000


def test_bytes_come_as_they_are_stored() -> None:
    packed = b"\x1f\x8b not really gzip"
    with playing(Line(200, packed, {"Content-Encoding": "gzip"})) as script:
        assert client(script.url).fetch(script.url + SECRET) == packed


def test_links_reach_neither_messages_nor_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []
    with playing(Line(200, b"x"), Line(403), Line(302, headers={"Location": "/x"}), Line(500)) as script:
        signed = client(script.url)
        signed.fetch(script.url + SECRET)
        for url in (script.url + SECRET, script.url + SECRET, script.url + SECRET, _closed_port_url() + SECRET, "bad" + SECRET):
            with pytest.raises(AuricleError) as caught:
                client(script.url, _closed_port_url()).fetch(url)
            seen.append("".join(traceback.format_exception(caught.value)))
    for text in (*seen, caplog.text):
        assert "c0ffee" not in text
        assert "/f/one" not in text
    assert all(error.splitlines()[-1].endswith(".") for error in seen)


def _closed_port_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
