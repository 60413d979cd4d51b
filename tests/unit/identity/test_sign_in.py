"""Signing in over HTTP, with a real database: setup, session, renewal, theft, sign-out, another password."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Response

from builders.house import House, house

PASSWORD = "brass lantern over quiet water"
OTHER = "seven green bicycles at midnight"
EMAIL = "Ada@vault.example"
ADDRESSES = count(1)
PAGE = {"Origin": "http://127.0.0.1:8787", "Sec_Fetch_Site": "same-origin"}


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, password_profile="nist", public_url="http://127.0.0.1:8787") as made:
        folder = Path(made.bound.wiring.settings.data_dir)
        made.raw("POST", "/api/setup", {"code": "", "email": EMAIL, "display_name": "Ada", "password": PASSWORD})
        body = {"code": (folder / "setup-code").read_text(), "email": EMAIL, "display_name": "Ada", "password": PASSWORD}
        answers: list[int] = []
        both = [threading.Thread(target=lambda: answers.append(made.raw("POST", "/api/setup", body).status_code)) for _ in "12"]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert sorted(answers) == [201, 409]  # two at once make one owner
        yield made


def signed_in(home: House, password: str = PASSWORD, email: str = EMAIL, **headers: str) -> Response:
    with home.coming_from(f"192.0.2.{next(ADDRESSES)}"):  # each from somewhere else: addresses have limits
        return home.raw("POST", "/api/session", {"email": email, "password": password}, **headers)


def bearer(answer: Response) -> dict[str, str]:
    assert answer.status_code in (200, 201), answer.get_data(as_text=True)
    return {"Authorization": f"Bearer {answer.get_json()['access_token']}"}


def cookie(answer: Response) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def renewed(home: House, kept: str, **headers: str) -> Response:
    return home.raw("POST", "/api/session/refresh", Cookie=kept, **{**PAGE, **headers})


def test_who_signs_in_is_who_owned_the_installation(home: House) -> None:
    answer = signed_in(home, email=" ada@VAULT.example")
    assert {"HttpOnly", "SameSite=Strict", "Path=/api/session"} <= set(answer.headers["Set-Cookie"].split("; "))
    me = home.ask("GET", "/api/me", **bearer(answer))
    token: dict[str, Any] = home.ask("GET", "/api/me")
    assert (me["id"], me["email"], me["roles"], me["name"]) == (token["id"], EMAIL, ["owner"], "Ada")
    files = home.raw("GET", "/api/files", **bearer(answer))
    assert (files.status_code, files.headers["RateLimit-Limit"]) == (200, "1200")


def test_wrong_words_are_answered_alike(home: House) -> None:
    wrong, unknown = signed_in(home, "not the password"), signed_in(home, email="nobody@vault.example")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.get_json()["detail"] == unknown.get_json()["detail"]


def test_guessing_locks_and_says_until_when(home: House) -> None:
    answers = [signed_in(home, "guess", "guessed@vault.example") for _ in range(6)]
    assert [a.status_code for a in answers] == [401] * 5 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 60


def test_a_cookie_is_renewed_for_our_own_pages_only(home: House) -> None:
    first = cookie(signed_in(home))
    for foreign in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "same-site"}):
        assert renewed(home, first, **foreign).status_code == 403
    assert home.raw("POST", "/api/session/refresh", Cookie=first).status_code == 403
    answer = renewed(home, first)
    assert cookie(answer) != first
    assert home.raw("GET", "/api/me", **bearer(answer)).status_code == 200


def test_a_stolen_cookie_ends_the_session_for_both(home: House) -> None:
    first = cookie(signed_in(home))
    second = renewed(home, first)
    assert renewed(home, first, User_Agent="thief").status_code == 401
    assert home.raw("GET", "/api/me", **bearer(second)).status_code == 401
    refused = renewed(home, cookie(second))
    assert (refused.status_code, "Max-Age=0" in refused.headers["Set-Cookie"]) == (401, True)


def test_an_access_token_is_worth_nothing_to_another_client(home: House) -> None:
    answer = signed_in(home, User_Agent="mine")
    assert home.raw("GET", "/api/me", User_Agent="mine", **bearer(answer)).status_code == 200
    assert home.raw("GET", "/api/me", User_Agent="another", **bearer(answer)).status_code == 401


def test_sessions_are_listed_and_ended(home: House) -> None:
    mine, other = signed_in(home), signed_in(home)
    listed = home.ask("GET", "/api/sessions", **bearer(mine))["items"]
    assert [s["id"] for s in listed if s["current"]] == [mine.get_json()["session_id"]]
    target = f"/api/sessions/{other.get_json()['session_id']}"
    assert home.raw("DELETE", target, **bearer(mine)).status_code == 204
    assert home.raw("DELETE", target, **bearer(mine)).status_code == 404
    assert home.raw("GET", "/api/me", **bearer(other)).status_code == 401
    assert home.raw("DELETE", "/api/session", **bearer(mine)).status_code == 204
    assert home.raw("GET", "/api/me", **bearer(mine)).status_code == 401
    assert renewed(home, cookie(mine)).status_code == 401


def test_a_personal_token_is_no_sign_in(home: House) -> None:
    assert home.raw("GET", "/api/sessions").status_code == 403
    assert home.raw("GET", "/.well-known/jwks.json").get_json()["keys"][0]["alg"] == "ES256"


def test_another_password_ends_all_other_sessions(home: House) -> None:
    mine, other = signed_in(home), signed_in(home)
    body = {"current_password": PASSWORD, "password": OTHER}
    assert home.raw("PUT", "/api/me/password", {**body, "current_password": "no"}, **bearer(mine)).status_code == 422
    assert home.raw("PUT", "/api/me/password", {**body, "password": PASSWORD}, **bearer(mine)).status_code == 422
    changed = home.raw("PUT", "/api/me/password", body, **bearer(mine))
    assert home.raw("GET", "/api/me", **bearer(changed)).status_code == 200
    assert [home.raw("GET", "/api/me", **bearer(old)).status_code for old in (mine, other)] == [401, 401]
    assert signed_in(home).status_code == 401
    assert signed_in(home, OTHER).status_code == 201
