"""The gateway lets people in by one port and events by another."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from werkzeug.datastructures import EnvironHeaders

from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.errors import Retryable
from auricle.intake.notices import BucketNotification, event_of
from auricle.ports.blobs import Audience
from auricle.runtime.clientheaders import Client, ClientHeaders
from auricle.runtime.local.announcing import Announcer
from auricle.runtime.local.gateway import Gateway, blobs_application
from auricle.runtime.settings import Settings

EVENTS_PORT = 9002


class Seen:
    """A WSGI application that notes what it gets."""

    def __init__(self, word: bytes) -> None:
        """It answers `word`."""
        self.word = word
        self.environ: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Note and answer."""
        self.environ = dict(environ)
        start_response("200 OK", [])
        return [self.word]


@pytest.fixture
def functions() -> Seen:
    """What answers people and events."""
    return Seen(b"functions")


@pytest.fixture
def gateway(functions: Seen) -> Gateway:
    """The gateway before two applications."""
    return Gateway(functions, Seen(b"blobs"), EVENTS_PORT, ClientHeaders("11" * 32))


def ask(gateway: Any, path: str, port: int = 8080, **headers: Any) -> tuple[str, bytes]:
    """Status and body of a request on `port`."""
    said: list[str] = []
    environ = {"PATH_INFO": path, "SERVER_PORT": str(port), "REQUEST_METHOD": "GET", **headers}
    body = b"".join(gateway(environ, lambda status, headers: said.append(status)))
    return said[0], body


def test_paths_lead_to_functions_and_blobs(gateway: Gateway) -> None:
    assert ask(gateway, "/api/files") == ("200 OK", b"functions")
    assert ask(gateway, "/api/events") == ("200 OK", b"functions")
    assert ask(gateway, "/blobs/a/b") == ("200 OK", b"blobs")


def test_events_come_in_by_their_own_port_only(gateway: Gateway) -> None:
    assert ask(gateway, "/events/advance", EVENTS_PORT) == ("200 OK", b"functions")
    status, body = ask(gateway, "/events/advance")
    assert status == "404 Not found"
    assert "broker" in json.loads(body)["detail"]


def test_what_only_this_host_may_say_is_taken_off_requests_from_outside(gateway: Gateway, functions: Seen) -> None:
    ask(gateway, "/", HTTP_X_AURICLE_CLIENT_CERTIFICATE_SUBJECT="CN=me", HTTP_CE_ID="1", HTTP_ACCEPT="*/*")
    assert not {"HTTP_X_AURICLE_CLIENT_CERTIFICATE_SUBJECT", "HTTP_CE_ID"} & set(functions.environ)
    assert functions.environ["HTTP_ACCEPT"] == "*/*"
    ask(gateway, "/events/advance", EVENTS_PORT, HTTP_CE_ID="1")
    assert functions.environ["HTTP_CE_ID"] == "1"


def test_a_refused_head_has_no_body_that_would_spoil_the_next_answer(gateway: Gateway) -> None:
    assert ask(gateway, "/events/advance", REQUEST_METHOD="HEAD") == ("404 Not found", b"")


def test_functions_are_told_who_asks_and_who_says_so(gateway: Gateway, functions: Seen) -> None:
    seen = {"REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "vault.example:8080", "wsgi.url_scheme": "http"}
    ask(gateway, "/api/files/ü", HTTP_X_AURICLE_CLIENT_ADDRESS="1.2.3.4", **seen)
    told = EnvironHeaders(functions.environ)
    client = ClientHeaders("11" * 32).client(told, "GET", "/api/files/ü".encode("latin-1"))
    assert client == Client(address="192.0.2.7", host="vault.example:8080", scheme="http")
    assert ClientHeaders("22" * 32).client(told, "GET", "/api/files/ü".encode("latin-1")) is None


def test_without_an_events_port_no_port_is_one(functions: Seen) -> None:
    assert ask(Gateway(functions, Seen(b""), None, ClientHeaders("")), "/events/advance")[0] == "404 Not found"


def test_signed_urls_are_served_from_the_data_folder(tmp_path: Path, functions: Seen) -> None:
    key = "0" * 64
    chosen = Settings(data_dir=str(tmp_path), blobs_key=key, blobs_public_url="http://127.0.0.1:8080")
    store = FilesystemBlobs(tmp_path / "blobs", chosen.blobs_public_url, chosen.blobs_public_url, bytes.fromhex(key))
    store.put("a/b", b"hello")
    path, _, query = store.sign_get("a/b", 60, Audience.BROWSER).removeprefix("http://127.0.0.1:8080").partition("?")
    assert path.startswith("/blobs/")
    common = {"SERVER_NAME": "127.0.0.1", "wsgi.url_scheme": "http"}
    assert ask(blobs_application(chosen, functions), path, QUERY_STRING=query, **common) == ("200 OK", b"hello")
    assert ask(blobs_application(chosen, functions), path, QUERY_STRING=query + "0", **common)[0].startswith("403")


def test_with_an_object_store_no_bytes_are_served_here(functions: Seen) -> None:
    assert ask(blobs_application(Settings(s3_endpoint="https://s3.example"), functions), "/blobs/a")[0] == "404 Not found"


def test_a_dropped_object_is_announced_as_a_bucket_would(tmp_path: Path, functions: Seen) -> None:
    chosen = Settings(data_dir=str(tmp_path), blobs_key="0" * 64, blobs_public_url="http://127.0.0.1:8080", bucket_token="tt")
    store = FilesystemBlobs(tmp_path / "blobs", chosen.blobs_public_url, chosen.blobs_public_url, bytes(32))
    path, _, query = store.sign_put("drop/me/a b+c", 60, Audience.BROWSER).removeprefix("http://127.0.0.1:8080").partition("?")
    more = {
        "QUERY_STRING": query,
        "CONTENT_LENGTH": "5",
        "REQUEST_METHOD": "PUT",
        "SERVER_NAME": "x",
        "wsgi.url_scheme": "http",
    }
    body: dict[str, Any] = {"wsgi.input": io.BytesIO(b"hello")}
    assert ask(blobs_application(chosen, functions), unquote(path), **more, **body)[0] == "200 OK"
    assert functions.environ["HTTP_AUTHORIZATION"] == "Bearer tt"
    records = msgspec.json.decode(functions.environ["wsgi.input"].getvalue(), type=BucketNotification).records
    found = [event_of(record) for record in records]
    assert [(event.created, event.subject, event.size) for event in found] == [(True, "drop/me/a b+c", 5)]


def test_an_announcement_that_nobody_takes_fails_the_upload() -> None:
    def refusing(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("503 Not now", [])
        return [b""]

    with pytest.raises(Retryable):
        Announcer(refusing, "tt")("drop/me/a", "e", 5)
