"""Devices that have signed in before keep working while strangers guess at the same account."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Response

from auricle.access.model import Asking, Site
from auricle.identity.devices import LIFE, Devices
from builders.house import House, house
from builders.members import Member, by_password, from_elsewhere, held, member, proofs_age, quickly

SITE, NAME = Site("https://vault.example"), "ada@vault.example"


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url="http://127.0.0.1:8787", password_profile="nist") as made:
        yield quickly(made)


@pytest.fixture
def ada(home: House) -> Member:
    return member(home)


def device_cookie(answer: Response) -> str:
    (line,) = (line for line in answer.headers.getlist("Set-Cookie") if line.startswith("auricle_device="))
    assert {"HttpOnly", "SameSite=Strict", "Path=/api"} <= set(line.split("; "))
    return line.partition(";")[0]


def test_strangers_lock_themselves_out_and_not_the_owners_device(home: House, ada: Member) -> None:
    mine = device_cookie(by_password(home, ada))
    assert [by_password(home, ada, "guess").status_code for _ in range(6)] == [401] * 5 + [429]
    assert by_password(home, ada).status_code == 429
    assert by_password(home, ada, Cookie=mine).status_code == 201


def test_a_known_device_has_its_own_few_tries(home: House, ada: Member) -> None:
    mine = device_cookie(by_password(home, ada))
    assert [by_password(home, ada, "guess", Cookie=mine).status_code for _ in range(6)] == [401] * 5 + [429]
    assert by_password(home, ada).status_code == 201


def test_a_device_is_known_for_who_signed_in_there_alone(home: House, ada: Member) -> None:
    theirs = device_cookie(by_password(home, member(home)))
    for _ in range(5):
        by_password(home, ada, "guess")
    assert by_password(home, ada, Cookie=theirs).status_code == 429


def test_a_device_keeps_its_name(home: House, ada: Member) -> None:
    first = device_cookie(by_password(home, ada))
    assert device_cookie(by_password(home, ada, Cookie=first)) == first


def test_what_the_cookie_says_opens_nothing(home: House, ada: Member) -> None:
    mine = device_cookie(by_password(home, ada))
    assert home.raw("GET", "/api/me", Authorization="", Cookie=mine).status_code == 401
    assert home.raw("GET", "/api/me", Authorization=f"Bearer {mine.partition('=')[2]}").status_code == 401


def test_another_password_needs_a_fresh_proof_and_the_current_one(home: House, ada: Member) -> None:
    session = held(by_password(home, ada))
    proofs_age(home, ada, timedelta(hours=1))
    body = {"current_password": "brass lantern over quiet water", "password": "seven green bicycles at midnight"}
    refused = from_elsewhere(home, "PUT", "/api/me/password", body, **session)
    assert (refused.status_code, refused.get_json()["needs"]) == (403, "password")
    confirm = {"password": "brass lantern over quiet water"}
    fresh = held(from_elsewhere(home, "POST", "/api/session/confirm", confirm, **session))
    assert from_elsewhere(home, "PUT", "/api/me/password", body, **fresh).status_code == 200


def asking(cookie: str) -> Asking:
    return Asking(method="POST", headers={"cookie": cookie})


def test_another_key_another_name_and_two_cookies_are_strangers() -> None:
    devices = Devices(bytes(32))
    line = devices.remembered(SITE, asking(""), NAME)
    assert "; Secure; HttpOnly; " in line
    assert f"Max-Age={int(LIFE.total_seconds())}" in line
    mine = line.partition(";")[0]
    assert devices.known(SITE, asking(mine), NAME.upper()) is not None
    assert devices.known(SITE, asking(mine), "bob@vault.example") is None
    assert Devices(bytes([1]) * 32).known(SITE, asking(mine), NAME) is None
    assert devices.known(SITE, asking(f"{mine}; {mine}"), NAME) is None
    assert devices.known(SITE, asking(""), NAME) is None
    assert "0" not in repr(devices)
