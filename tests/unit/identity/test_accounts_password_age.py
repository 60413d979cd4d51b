"""Where passwords must be a day old before they change, nobody is kept under one that somebody else knows, or that they lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders.house import House
from builders.newcomers import OWNER, bearer, from_somewhere, newcomer, sign_in, token, vault

FIRST, SECOND, THIRD = "Brass-Lantern-7-Water", "Seven-Green-8-Bicycle", "Kettle-Hums-9-Stairs"


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url, password_profile="standard", first=FIRST) as made:
        yield made


def test_a_new_person_changes_a_one_time_password_at_once_and_their_own_a_day_later(home: House) -> None:
    owner = bearer(home, OWNER, FIRST)
    body = {"email": "ann@vault.example", "display_name": "Ann", "letter": False}
    told = home.ask("POST", "/api/users", body, status=201, **owner)["password"]
    mine = bearer(home, "ann@vault.example", told)
    change = {"current_password": told, "password": SECOND}
    assert home.raw("PUT", "/api/me/password", change, **mine).status_code == 200
    again = {"current_password": SECOND, "password": THIRD}
    refused = home.raw("PUT", "/api/me/password", again, **bearer(home, "ann@vault.example", SECOND))
    assert (refused.status_code, refused.get_json()["rules"]) == (422, ["too-soon"])


def test_who_has_lost_a_password_of_today_sets_another_by_a_letter(home: House) -> None:
    newcomer(home, "ben@vault.example", password=SECOND, **bearer(home, OWNER, FIRST))
    assert from_somewhere(home, "POST", "/api/password-reset", {"email": "ben@vault.example"}).status_code == 202
    chosen = {"token": token(home, "ben@vault.example"), "password": THIRD}
    assert from_somewhere(home, "POST", "/api/password-reset/complete", chosen).status_code == 204
    assert sign_in(home, "ben@vault.example", THIRD).status_code == 201
