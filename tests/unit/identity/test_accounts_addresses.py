"""One's own name and address: asked for with the password, proved by a letter, told to the address before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders.house import House
from builders.newcomers import OTHER, OWNER, THIRD, at_once, bearer, from_somewhere, letters, newcomer, sign_in, token, vault


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url) as made:
        yield made


def confirm(home: House, token: str) -> int:
    return from_somewhere(home, "POST", "/api/me/email/confirm", {"token": token}).status_code


def test_a_new_address_is_used_once_its_letter_was_read(home: House) -> None:
    newcomer(home, "ann@vault.example")
    mine = bearer(home, "ann@vault.example", OTHER)
    body = {"email": "Ann@new.example", "password": OTHER}
    assert home.raw("PUT", "/api/me/email", {**body, "password": "no"}, **mine).status_code == 422
    assert home.raw("PUT", "/api/me/email", {**body, "email": "ann@vault.example"}, **mine).status_code == 422
    assert home.raw("PUT", "/api/me/email", body, **mine).status_code == 202
    reset = from_somewhere(home, "POST", "/api/password-reset", {"email": "ann@vault.example"})
    assert reset.status_code == 202
    old_link, link = token(home, "ann@vault.example"), token(home, "Ann@new.example")
    assert home.ask("GET", "/api/me", **mine)["email"] == "ann@vault.example"
    assert sorted(at_once(lambda n: confirm(home, link))) == [204, 422]
    assert home.raw("GET", "/api/me", **mine).status_code == 401
    assert "address" in letters(home, "ann@vault.example")[-1]
    assert sign_in(home, "ann@vault.example", OTHER).status_code == 401
    assert sign_in(home, "ann@new.example", OTHER).status_code == 201
    # Whoever reads the old mailbox gets in no more.
    used = from_somewhere(home, "POST", "/api/password-reset/complete", {"token": old_link, "password": THIRD})
    assert used.status_code == 422


def test_the_address_of_another_is_answered_alike_and_never_taken(home: House) -> None:
    newcomer(home, "ben@vault.example")
    mine = bearer(home, "ben@vault.example", OTHER)
    taken = home.raw("PUT", "/api/me/email", {"email": OWNER.upper(), "password": OTHER}, **mine)
    free = home.raw("PUT", "/api/me/email", {"email": "ben@new.example", "password": OTHER}, **mine)
    assert (taken.status_code, taken.get_data()) == (free.status_code, free.get_data())
    assert not any("new address" in subject for subject in letters(home, OWNER))
    link = token(home, "ben@new.example")
    newcomer(home, "ben@new.example")  # somebody else was faster
    assert confirm(home, link) == 422
    assert home.ask("GET", "/api/me", **mine)["email"] == "ben@vault.example"


def test_another_wish_ends_the_one_before(home: House) -> None:
    newcomer(home, "cleo@vault.example")
    mine = bearer(home, "cleo@vault.example", OTHER)
    links = []
    for address in ("cleo@one.example", "cleo@two.example"):
        assert home.raw("PUT", "/api/me/email", {"email": address, "password": OTHER}, **mine).status_code == 202
        links.append(token(home, address))
    assert [confirm(home, link) for link in links] == [422, 204]


def test_a_new_address_asks_for_a_fresh_sign_in_and_is_no_business_of_tokens(home: House) -> None:
    body = {"email": "x@new.example", "password": OTHER}
    assert home.raw("PUT", "/api/me/email", body).status_code == 403  # the owner's token


def test_people_choose_what_they_are_called_and_nothing_else(home: House) -> None:
    newcomer(home, "dora@vault.example")
    mine = bearer(home, "dora@vault.example", OTHER)
    assert home.raw("PATCH", "/api/me", {"display_name": "Dora the First"}, **mine).status_code == 204
    assert home.raw("PATCH", "/api/me", {"display_name": " "}, **mine).status_code == 422
    for more in ({"role": "owner"}, {"roles": ["owner"]}, {"state": "active"}, {"email": "x@y.example"}):
        assert home.raw("PATCH", "/api/me", more, **mine).status_code == 422
    me = home.ask("GET", "/api/me", **mine)
    assert (me["name"], me["roles"]) == ("Dora the First", ["member"])
