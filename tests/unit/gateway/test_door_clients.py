"""Functions know of a client what the gateway vouches for; what anybody else says has no effect."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from flask import Flask, Request, Response
from werkzeug.test import EnvironBuilder

from auricle.contract.choices import Permission, Scale
from auricle.contract.function import Route, Signature
from auricle.contract.http import Reply
from auricle.errors import Denied
from auricle.runtime.clientheaders import ADDRESS, FINGERPRINT, HOST, SCHEME, SIGNATURE, SUBJECT, Client, ClientHeaders
from auricle.runtime.httpdoor import HttpDoor
from auricle.runtime.settings import Settings
from auricle.runtime.wiring import Wiring

KEY = "33" * 32
ADA = Client(address="192.0.2.7", host="vault.example", scheme="https")
FORGED = {
    ADDRESS: "127.0.0.1",
    HOST: "vault.example",
    SCHEME: "https",
    SUBJECT: "CN=owner",
    FINGERPRINT: "00" * 32,
    SIGNATURE: "1800000000:" + "0" * 64,
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "vault.example",
    "X-Forwarded-Proto": "https",
    "X-Real-IP": "127.0.0.1",
    "Forwarded": "for=127.0.0.1;proto=https;host=vault.example",
}


class Whoever(msgspec.Struct, frozen=True):
    """What a function was told."""

    client: Client | None


def who_asks(client: Client | None) -> Reply[Whoever]:
    return Reply(Whoever(client), etag="v1")


def locked(client: Client | None) -> None:
    raise Denied("Not you.")


def broken(client: Client | None) -> None:
    raise ZeroDivisionError


def _route(path: str, handler: Callable[..., Any]) -> Route:
    signature = Signature.of(handler)
    return Route(*("who", handler.__name__, "GET", path, Permission.PUBLIC, 200, Scale.INTERACTIVE, handler, signature, ()))


@pytest.fixture
def door() -> HttpDoor:
    """Three routes that ask nothing of a database."""
    routes = [_route("/who", who_asks), _route("/locked", locked), _route("/broken", broken)]
    return HttpDoor(routes, Wiring(Settings(gateway_key=KEY)))


def ask(door: HttpDoor, path: str, **headers: str) -> Response:
    """A request straight to the function."""
    environ = EnvironBuilder(path=path, headers=headers).get_environ()
    with Flask("door").request_context(environ):
        return door(Request(environ))


def test_a_function_is_told_what_the_gateway_vouches_for(door: HttpDoor) -> None:
    signed = ClientHeaders(KEY).signed(ADA, "GET", b"/who")
    assert json.loads(ask(door, "/who", **signed).data)["client"]["address"] == ADA.address


@pytest.mark.parametrize("key", ["", "44" * 32, "guess"])
def test_headers_from_elsewhere_have_no_effect(door: HttpDoor, key: str) -> None:
    sent = dict(FORGED)
    if key == "44" * 32:
        sent |= ClientHeaders(key).signed(ADA, "GET", b"/who")
    elif not key:
        del sent[SIGNATURE]
    plain, forged = ask(door, "/who"), ask(door, "/who", **sent)
    assert json.loads(forged.data) == {"client": None}
    assert (forged.status, forged.data, forged.headers["Content-Type"]) == (
        plain.status,
        plain.data,
        plain.headers["Content-Type"],
    )


@pytest.mark.parametrize(("path", "status"), [("/locked", 403), ("/broken", 500)])
def test_the_log_names_clients_that_are_vouched_for_and_no_others(
    door: HttpDoor, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    caplog.set_level(logging.INFO)
    assert ask(door, path, **ClientHeaders(KEY).signed(ADA, "GET", path.encode())).status_code == status
    assert [getattr(r, "client", None) for r in caplog.records] == [ADA.address]
    caplog.clear()
    assert ask(door, path, **FORGED).status_code == status
    assert [r.message for r in caplog.records if getattr(r, "client", None)] == []


def test_a_request_keeps_its_id_if_that_is_one(door: HttpDoor) -> None:
    assert ask(door, "/who", **{"X-Request-Id": "mine-0001"}).headers["X-Request-Id"] == "mine-0001"
    trace = "0af7651916cd43dd8448eb211c80319c"
    for strange in ("", "short", "a b c d e f g", 'x"><script>', "x" * 129):
        answer = ask(door, "/who", **{"X-Request-Id": strange, "traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        assert answer.headers["X-Request-Id"] == trace


def test_what_a_gateway_compressed_is_known_again(door: HttpDoor) -> None:
    assert ask(door, "/who", **{"If-None-Match": 'W/"v1"'}).status_code == 304
    assert ask(door, "/who", **{"If-None-Match": '"v1"'}).status_code == 304
    assert ask(door, "/who", **{"If-None-Match": 'W/"v2"'}).status_code == 200
