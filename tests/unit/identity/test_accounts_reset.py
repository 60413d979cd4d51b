"""A lost password: a letter, a link that works once, and nothing that tells a stranger or a log anything."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from auricle.errors import Retryable
from auricle.identity.accounts.store import one_time_tokens
from builders.house import House
from builders.newcomers import (
    OTHER,
    OWNER,
    PASSWORD,
    THIRD,
    at_once,
    bearer,
    from_somewhere,
    letters,
    newcomer,
    sign_in,
    token,
    vault,
)


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url) as made:
        yield made


def asked(home: House, email: str) -> str:
    """The token of a reset that was asked for."""
    assert from_somewhere(home, "POST", "/api/password-reset", {"email": email}).status_code == 202
    return token(home, email.strip().lower())


def complete(home: House, token: str, password: str) -> int:
    return from_somewhere(home, "POST", "/api/password-reset/complete", {"token": token, "password": password}).status_code


def test_a_reset_by_letter_ends_sessions_and_lockouts_and_works_once(home: House) -> None:
    newcomer(home, "bea@vault.example")
    before = bearer(home, "bea@vault.example", OTHER)
    for _ in range(6):
        sign_in(home, "bea@vault.example", "guess")
    assert sign_in(home, "bea@vault.example", OTHER).status_code == 429
    link = asked(home, "BEA@vault.example ")
    assert complete(home, link, "short") == 422
    assert complete(home, link, OTHER) == 422  # used before
    assert complete(home, link, THIRD) == 204
    assert home.raw("GET", "/api/me", **before).status_code == 401
    assert sign_in(home, "bea@vault.example", OTHER).status_code == 401
    assert sign_in(home, "bea@vault.example", THIRD).status_code == 201
    assert complete(home, link, PASSWORD) == 422
    assert "was changed" in letters(home, "bea@vault.example")[-1]


def test_of_two_who_use_one_link_at_once_one_does(home: House) -> None:
    newcomer(home, "cem@vault.example")
    link = asked(home, "cem@vault.example")
    chosen = [PASSWORD, THIRD]
    answers = at_once(lambda n: complete(home, link, chosen[n]))
    assert sorted(answers) == [204, 422]
    right = chosen[answers.index(204)]
    assert [sign_in(home, "cem@vault.example", one).status_code for one in chosen] == [
        201 if one == right else 401 for one in chosen
    ]


def test_nobody_learns_whether_there_is_an_account(home: House) -> None:
    known = from_somewhere(home, "POST", "/api/password-reset", {"email": OWNER})
    unknown = from_somewhere(home, "POST", "/api/password-reset", {"email": "nobody@vault.example"})
    assert (known.status_code, known.get_data()) == (unknown.status_code, unknown.get_data())
    events = [e for e in home.queue.seen if e.type == "auricle.identity.letter-wanted.v1"][-2:]
    assert len(events) == 2  # the same is done for both
    home.settle()
    assert home.mail.to("nobody@vault.example") == []


def test_a_mailbox_gets_three_an_hour_whoever_asks(home: House) -> None:
    newcomer(home, "dan@vault.example")
    answers = [
        from_somewhere(home, "POST", "/api/password-reset", {"email": email}).status_code
        for email in ("dan@vault.example", "Dan@vault.example", " dan@VAULT.example", "dan@vault.example")
    ]
    assert answers == [202, 202, 202, 429]
    stranger = [
        from_somewhere(home, "POST", "/api/password-reset", {"email": "none@vault.example"}).status_code for _ in range(4)
    ]
    assert stranger == answers
    assert sum("Set a new password" in subject for subject in letters(home, "dan@vault.example")) == 3


def test_no_token_is_in_a_log_an_event_or_the_database(home: House, caplog: pytest.LogCaptureFixture) -> None:
    newcomer(home, "eva@vault.example")
    with caplog.at_level(logging.DEBUG):
        link = asked(home, "eva@vault.example")
        assert complete(home, link, THIRD) == 204
    secret = link.partition("_")[2]
    assert secret not in caplog.text
    assert "eva@vault.example" not in caplog.text
    assert not any(secret in e.data.decode() or "eva@" in e.data.decode() for e in home.queue.seen)
    with home.bound.wiring.database.work() as db:
        for table in ("outbox", "inbox", "one_time_tokens", "audit_events", "event_log"):
            rows = db.execute(text(f"select t::text from {table} t")).scalars().all()
            assert not any(secret in row or secret.encode().hex() in row for row in rows), table


def test_a_link_ends_after_an_hour_and_with_the_password_it_was_for(home: House) -> None:
    newcomer(home, "fay@vault.example")
    late, outdated = asked(home, "fay@vault.example"), asked(home, "fay@vault.example")
    with home.bound.wiring.database.work() as db:
        ends = db.execute(one_time_tokens.select().order_by(one_time_tokens.c.created_at.desc()).limit(1)).one()
        assert timedelta(minutes=59) < ends.ends_at - ends.created_at <= timedelta(hours=1)
        db.execute(one_time_tokens.update().values(ends_at=one_time_tokens.c.ends_at - timedelta(hours=1)))
    assert complete(home, late, THIRD) == 422
    with home.bound.wiring.database.work() as db:
        db.execute(one_time_tokens.update().values(ends_at=one_time_tokens.c.ends_at + timedelta(hours=1)))
    body = {"current_password": OTHER, "password": PASSWORD}
    assert home.raw("PUT", "/api/me/password", body, **bearer(home, "fay@vault.example", OTHER)).status_code == 200
    assert complete(home, outdated, THIRD) == 422


def test_a_letter_waits_for_a_mail_server_that_is_away(home: House) -> None:
    newcomer(home, "gus@vault.example")
    home.mail.trouble = Retryable("away")
    assert from_somewhere(home, "POST", "/api/password-reset", {"email": "gus@vault.example"}).status_code == 202
    event = next(e for e in reversed(home.queue.seen) if e.type == "auricle.identity.letter-wanted.v1")
    assert home.post_event("letters", event).status_code == 503
    home.mail.trouble = None
    assert home.post_event("letters", event).status_code == 204
    assert home.post_event("letters", event).status_code == 204  # heard already
    got = [letter for letter in home.mail.to("gus@vault.example") if letter.key == event.id]
    assert len(got) == 1


def test_closed_accounts_get_no_letter(home: House) -> None:
    user = newcomer(home, "hal@vault.example")
    link = asked(home, "hal@vault.example")
    home.ask("PATCH", f"/api/users/{user['id']}", {"state": "disabled"}, **bearer(home))
    before = len(letters(home, "hal@vault.example"))
    assert from_somewhere(home, "POST", "/api/password-reset", {"email": "hal@vault.example"}).status_code == 202
    assert len(letters(home, "hal@vault.example")) == before
    assert complete(home, link, THIRD) == 422


def test_alerts_are_written_for_a_new_device_and_a_stolen_cookie(home: House) -> None:
    newcomer(home, "ida@vault.example")
    first = sign_in(home, "ida@vault.example", OTHER, User_Agent="Firefox")
    sign_in(home, "ida@vault.example", OTHER, User_Agent="Firefox")
    assert not any("New sign-in" in subject for subject in letters(home, "ida@vault.example"))
    sign_in(home, "ida@vault.example", OTHER, User_Agent="curl/8")
    assert any("New sign-in" in subject for subject in letters(home, "ida@vault.example"))
    cookie = first.headers.getlist("Set-Cookie")[0].partition(";")[0]
    page = {"Origin": "http://127.0.0.1:8787", "Sec_Fetch_Site": "same-origin", "Cookie": cookie}
    assert home.raw("POST", "/api/session/refresh", User_Agent="Firefox", **page).status_code == 200
    assert home.raw("POST", "/api/session/refresh", User_Agent="thief", **page).status_code == 401
    assert any("ended for your safety" in subject for subject in letters(home, "ida@vault.example"))
