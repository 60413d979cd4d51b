"""The command line signs in as a person who owes a second factor, or must set one up first."""

from __future__ import annotations

import json

import pytest

from auricle.cli.client import Server, ServerError
from builders.scripted_http import Line, playing


def answer(**said: object) -> Line:
    return Line(body=json.dumps(said).encode())


def never() -> str:
    raise AssertionError("no code is asked for")


def test_the_code_is_asked_for_only_where_one_is_owed() -> None:
    with playing(answer(answer="session", access_token="a.b.c")) as server:
        Server(server.url, "aur_x").signed_in("ada@vault.example", "secret", never)
        assert [heard.path for heard in server.heard] == ["/api/session"]


def test_the_code_is_shown_with_the_pending_token() -> None:
    owed = answer(answer="pending", pending="p.e.n", factors=["totp"], enrol=False)
    with playing(owed, answer(answer="session", access_token="a.b.c"), answer()) as server:
        Server(server.url, "aur_x").signed_in("ada@vault.example", "secret", lambda: "123 456").call("GET", "/api/me")
        _, shown, then = server.heard
        assert (shown.path, shown.headers["authorization"], json.loads(shown.body)) == (
            "/api/mfa/verify",
            "Bearer p.e.n",
            {"code": "123 456"},
        )
        assert then.headers["authorization"] == "Bearer a.b.c"


def test_who_must_set_one_up_is_sent_to_the_site() -> None:
    owed = answer(answer="pending", pending="p.e.n", factors=[], enrol=True)
    with playing(owed) as server, pytest.raises(ServerError, match="set one up"):
        Server(server.url, "aur_x").signed_in("ada@vault.example", "secret", never)
