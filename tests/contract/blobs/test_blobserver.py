"""The filesystem store's own HTTP server: headers, browsers, arrivals, refusals in words."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import flask
import pytest
import waitress

from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.errors import Retryable
from auricle.ports.blobs import Audience
from auricle.runtime.local.blobserver import serve
from builders.blob_web import KEY, hang_up, request, serving
from builders.memory_blobs import Answer

DATA = b"0123456789"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FilesystemBlobs]:
    """An empty store that takes whole objects of at most 1 MB."""
    with serving(tmp_path, largest=1_000_000) as opened:
        yield opened


def link(store: FilesystemBlobs, key: str = "f/one", content_type: str = "audio/flac") -> str:
    store.put(key, DATA, content_type)
    return store.sign_get(key, 60, Audience.BROWSER)


def detail(answer: Answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    assert document["type"].startswith("urn:auricle:problem:")
    text: str = document["detail"]
    assert text.endswith(".")
    return text


def raw(url: str, head: str, body: bytes = b"") -> bytes:
    """Send exactly these header lines; returns the whole answer."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as connection:
        connection.sendall(head.format(path=f"{parts.path}?{parts.query}", host=parts.netloc).encode() + body)
        answer = b""
        while block := connection.recv(65536):
            answer += block
        return answer


def test_head_tells_all_but_the_bytes(store: FilesystemBlobs) -> None:
    url = link(store)
    got, head = request("GET", url), request("HEAD", url)
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag", "accept-ranges"):
        assert head.headers[name] == got.headers[name]


def test_what_the_browser_has_is_not_sent_again(store: FilesystemBlobs) -> None:
    url = link(store)
    etag = request("GET", url).headers["etag"]
    again = request("GET", url, headers={"If-None-Match": etag})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert request("GET", url, headers={"If-None-Match": '"other"'}).status == 200


def test_only_the_version_that_is_meant_is_served(store: FilesystemBlobs) -> None:
    url = link(store)
    etag = request("GET", url).headers["etag"]
    assert request("GET", url, headers={"If-Match": etag, "Range": "bytes=0-1"}).status == 206
    store.put("f/one", b"replaced")
    answer = request("GET", url, headers={"If-Match": etag, "Range": "bytes=0-1"})
    assert answer.status == 412
    assert "changed" in detail(answer)


def test_a_range_of_another_version_becomes_the_whole_of_this_one(store: FilesystemBlobs) -> None:
    url = link(store)
    etag = request("GET", url).headers["etag"]
    assert request("GET", url, headers={"Range": "bytes=2-3", "If-Range": etag}).body == b"23"
    for other in ('"other"', "Sat, 01 Jan 2028 00:00:00 GMT"):
        answer = request("GET", url, headers={"Range": "bytes=2-3", "If-Range": other})
        assert (answer.status, answer.body) == (200, DATA)


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=-", "bytes=5-2", "bytes=a-b", "lines=0-1", "bytes 0-1", ""])
def test_ranges_we_do_not_serve_are_answered_with_everything(store: FilesystemBlobs, asked: str) -> None:
    answer = request("GET", link(store), headers={"Range": asked})
    assert (answer.status, answer.body) == (200, DATA)


def test_a_suffix_longer_than_the_object_is_the_object(store: FilesystemBlobs) -> None:
    answer = request("GET", link(store), headers={"Range": "bytes=-100"})
    assert (answer.status, answer.body) == (206, DATA)


def test_an_unsatisfiable_range_tells_the_size(store: FilesystemBlobs) -> None:
    answer = request("GET", link(store), headers={"Range": "bytes=10-"})
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10")
    assert "10 bytes" in detail(answer)


def test_an_empty_object_has_no_range(store: FilesystemBlobs) -> None:
    store.put("f/empty", b"")
    url = store.sign_get("f/empty", 60, Audience.BROWSER)
    assert request("GET", url).body == b""
    assert request("GET", url, headers={"Range": "bytes=0-"}).status == 416


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "audio/flac"])
def test_uploaded_pages_cannot_run_scripts_here(store: FilesystemBlobs, kind: str) -> None:
    answer = request("GET", link(store, content_type=kind))
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy.replace(";", " ").split()
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_refusals_are_problem_documents_with_a_sentence(store: FilesystemBlobs) -> None:
    url = link(store)
    for method, address, status in (
        ("GET", url[:-1], 403),
        ("GET", store.sign_get("f/one", -5, Audience.BROWSER), 403),
        ("GET", store.sign_get("f/none", 60, Audience.BROWSER), 404),
        ("DELETE", url, 405),
        ("PUT", store.sign_part("f/one", "0" * 32, 1, 4, 60), 404),
    ):
        answer = request(method, address, b"four" if method == "PUT" else b"")
        assert answer.status == status
        assert detail(answer)
        assert "signature" not in answer.body.decode()


def test_an_expired_link_says_so(store: FilesystemBlobs) -> None:
    assert "expired" in detail(request("GET", store.sign_get("f/one", -5, Audience.BROWSER)))


def test_a_body_without_a_length_is_refused(store: FilesystemBlobs) -> None:
    url = store.sign_put("f/one", 60, Audience.POD)
    assert b" 411 " in raw(url, "PUT {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").partition(b"\r\n")[0]
    chunked = raw(url, "PUT {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n0\r\n\r\n")
    assert b" 411 " in chunked.partition(b"\r\n")[0]
    assert store.stat("f/one") is None


def test_more_bytes_than_a_link_takes_are_refused_unread(store: FilesystemBlobs) -> None:
    url = store.sign_put("f/one", 60, Audience.POD)
    head = "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000001\r\n\r\n"
    assert b" 413 " in raw(url, head).partition(b"\r\n")[0]
    assert store.stat("f/one") is None


def test_bytes_beyond_the_announced_length_are_not_stored(store: FilesystemBlobs) -> None:
    ref = store.begin_parts("f/big")
    url = store.sign_part("f/big", ref, 1, 4, 60)
    raw(url, "PUT {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 4\r\n\r\n", b"partand more")
    assert [part.size for part in store.parts("f/big", ref)] == [4]


def test_a_dead_client_leaves_no_half_file(store: FilesystemBlobs, tmp_path: Path) -> None:
    ref = store.begin_parts("f/big")
    hang_up(store.sign_part("f/big", ref, 1, 900_000, 60), 900_000, b"x" * 600_000)
    hang_up(store.sign_put("f/one", 60, Audience.POD), 900_000, b"x" * 600_000)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["upload.json"]


def test_a_put_answers_with_the_etag(store: FilesystemBlobs) -> None:
    answer = request("PUT", store.sign_put("f/one", 60, Audience.POD), DATA)
    blob = store.stat("f/one")
    assert blob is not None
    assert (answer.status, answer.headers["etag"], answer.body) == (200, f'"{blob.etag}"', b"")


@pytest.mark.parametrize(("sent", "kept"), [("application/x-www-form-urlencoded", "application/octet-stream"), ("a/b", "a/b")])
def test_the_content_type_of_forms_is_not_believed(store: FilesystemBlobs, sent: str, kept: str) -> None:
    request("PUT", store.sign_put("f/one", 60, Audience.POD), DATA, {"Content-Type": sent})
    blob = store.stat("f/one")
    assert blob is not None
    assert blob.content_type == kept


def test_our_own_pages_may_use_objects_from_another_tab(store: FilesystemBlobs) -> None:
    url = store.sign_put("f/one", 60, Audience.BROWSER)
    preflight = request("OPTIONS", url, headers={"Origin": store.public_url, "Access-Control-Request-Method": "PUT"})
    assert preflight.status == 204
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    answer = request("PUT", url, DATA, {"Origin": store.public_url})
    assert answer.headers["access-control-allow-origin"] == store.public_url
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert request("GET", url, headers={"Origin": store.public_url}).headers["access-control-allow-origin"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "HTTP://127.0.0.1:1"])
def test_pages_of_others_may_not(store: FilesystemBlobs, origin: str) -> None:
    url = link(store)
    preflight = request("OPTIONS", url, headers={"Origin": origin, "Access-Control-Request-Method": "PUT"})
    assert preflight.status == 403
    for answer in (preflight, request("GET", url, headers={"Origin": origin})):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_arrivals_under_drop_are_told_and_others_are_not(tmp_path: Path) -> None:
    told: list[tuple[str, str, int]] = []
    with serving(tmp_path, lambda key, etag, size: told.append((key, etag, size))) as store:
        request("PUT", store.sign_put("drop/me/über.m4a", 60, Audience.BROWSER), DATA)
        request("PUT", store.sign_put("results/words", 60, Audience.POD), DATA)
        hang_up(store.sign_put("drop/me/half.m4a", 60, Audience.BROWSER), 100, b"half")
        ref = store.begin_parts("drop/me/parts.m4a")
        request("PUT", store.sign_part("drop/me/parts.m4a", ref, 1, 10, 60), DATA)
        blob = store.stat("drop/me/über.m4a")
    assert blob is not None
    assert told == [("drop/me/über.m4a", blob.etag, 10)]


def test_an_arrival_that_cannot_be_told_fails_the_put_so_that_it_is_repeated(tmp_path: Path) -> None:
    told: list[str] = []

    def away(key: str, etag: str, size: int) -> None:
        told.append(etag)
        if len(told) == 1:
            raise Retryable("The database is away.", delay=3)

    with serving(tmp_path, away) as store:
        url = store.sign_put("drop/me/a", 60, Audience.BROWSER)
        first = request("PUT", url, DATA)
        assert (first.status, first.headers["retry-after"]) == (503, "3")
        assert request("PUT", url, DATA).status == 200
    assert len(told) == 2
    assert told[0] == told[1]


def test_a_full_disk_is_answered_with_not_now(tmp_path: Path) -> None:
    with serving(tmp_path, reserve=2**60) as store:
        answer = request("PUT", store.sign_put("f/one", 60, Audience.POD), DATA)
        assert answer.status == 503
        assert "disk is full" in detail(answer)


def test_it_serves_the_same_behind_waitress(tmp_path: Path) -> None:
    app = flask.Flask("blobs")
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=2)
    url = f"http://127.0.0.1:{server.effective_port}"
    store = FilesystemBlobs(tmp_path, url, url, KEY)
    app.add_url_rule(
        "/blobs/<path:key>",
        "blobs",
        lambda key: serve(flask.request, store),
        methods=["GET", "PUT"],
        provide_automatic_options=False,
    )
    stop = threading.Event()

    def run() -> None:  # its own `run` cannot be ended from outside without an error
        while not stop.is_set():
            server.asyncore.poll(0.05, server._map)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        big = DATA * 200_000
        assert request("PUT", store.sign_put("f/über one", 60, Audience.POD), big).status == 200
        assert request("GET", store.sign_get("f/über one", 60, Audience.POD)).body == big
        got = request("GET", store.sign_get("f/über one", 60, Audience.POD), headers={"Range": "bytes=-5"})
        assert (got.status, got.body) == (206, b"56789")
    finally:
        stop.set()
        thread.join(5)
        server.task_dispatcher.shutdown()
        server.close()
