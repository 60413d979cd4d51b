"""Leaving for a provider and coming back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from auricle.errors import Denied, Unauthenticated
from auricle.identity.oidc.arrival import PENDING_LIFE, callback, expected, pending
from auricle.ports.oidc import Authorization, Refusal

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SENT = Authorization(url="https://id.example/authorize?x", state="the state", nonce="the nonce", code_verifier="the verifier")
BACK = "https://vault.example/api/sign-in/house/callback"


def test_what_was_kept_is_what_is_expected() -> None:
    kept = pending("house", SENT, BACK, NOW, return_to="/files", max_age=600)
    wanted = expected(kept, "house", NOW + timedelta(minutes=2), None)
    assert (wanted.state, wanted.nonce, wanted.code_verifier) == (SENT.state, SENT.nonce, SENT.code_verifier)
    assert (wanted.redirect_uri, wanted.max_age, kept.return_to) == (BACK, 600, "/files")


def test_where_to_return_is_made_safe_when_it_is_kept() -> None:
    assert pending("house", SENT, BACK, NOW, return_to="//attacker.test").return_to == "/"
    assert pending("house", SENT, BACK, NOW).return_to == "/"


@pytest.mark.parametrize(
    ("provider", "later"),
    [("another", timedelta()), ("house", PENDING_LIFE + timedelta(seconds=1)), ("house", -timedelta(seconds=1))],
)
def test_a_sign_in_is_finished_where_and_while_it_was_begun(provider: str, later: timedelta) -> None:
    with pytest.raises(Unauthenticated, match="Begin again") as refused:
        expected(pending("house", SENT, BACK, NOW), provider, NOW + later, None)
    assert refused.value.extra["reason"] == Refusal.STATE


def test_a_browser_that_began_nothing_finishes_nothing() -> None:
    with pytest.raises(Unauthenticated):
        expected(None, "house", NOW, None)


def test_a_link_is_finished_only_by_whoever_began_it() -> None:
    me, somebody = uuid4(), uuid4()
    kept = pending("house", SENT, BACK, NOW, linking=me)
    assert expected(kept, "house", NOW, me).state == SENT.state
    for other in (None, somebody):
        with pytest.raises(Denied):
            expected(kept, "house", NOW, other)


def test_an_answer_is_read_from_the_query() -> None:
    back = callback([("code", "c"), ("state", "s"), ("iss", "i"), ("session_state", "x"), ("session_state", "y")])
    assert (back.code, back.state, back.iss, back.error) == ("c", "s", "i", None)
    assert callback([("error", "access_denied"), ("state", "s")]).error == "access_denied"
    assert callback([]).state is None


@pytest.mark.parametrize("name", ["code", "state", "iss", "error"])
def test_nothing_may_be_said_twice(name: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        callback([(name, "a"), ("x", "y"), (name, "a")])
    assert refused.value.extra["reason"] == Refusal.REPEATED


def test_what_is_kept_shows_no_secret() -> None:
    shown = repr(pending("house", SENT, BACK, NOW))
    assert not [secret for secret in ("the state", "the nonce", "the verifier") if secret in shown]
