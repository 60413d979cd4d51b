"""Holes of sessions: those that go on after they should have ended, or that an attacker has prepared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Response

from auricle.access.store import sessions
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.errors import Retryable
from auricle.ports.ephemeral import Ephemeral
from builders.house import House
from builders.members import by_password, held, member, with_app
from builders.newcomers import OTHER, THIRD, bearer, from_somewhere, letters, newcomer, sign_in, token
from builders.visitor import PAGE, Visitor

Act = Callable[[House, dict[str, Any], dict[str, str]], Any]


class Browser(Visitor):
    """One whose page keeps a token."""

    bearer = ""


def signed_in(home: House, email: str, password: str = OTHER) -> Browser:
    """A browser of somebody's."""
    visitor = Browser(home)
    answer = visitor.ask("POST", "/api/session", {"email": email, "password": password}, **PAGE)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    visitor.bearer = answer.get_json()["access_token"]
    return visitor


def alive(visitor: Browser) -> tuple[bool, bool]:
    """Whether its access token is still good, and its refresh token."""
    return (
        visitor.ask("GET", "/api/me", bearer=visitor.bearer).status_code == 200,
        visitor.ask("POST", "/api/session/refresh", **PAGE).status_code == 200,
    )


def trail(home: House, kind: EventKind) -> list[AuditRow]:
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(50, None, AuditFilter(kinds=(kind,)))


def patched(**change: Any) -> Act:
    return lambda home, user, owner: home.ask("PATCH", f"/api/users/{user['id']}", change, **owner)


def by_a_letter(home: House, user: dict[str, Any], owner: dict[str, str]) -> None:
    from_somewhere(home, "POST", "/api/password-reset", {"email": user["email"]})
    body = {"token": token(home, user["email"]), "password": THIRD}
    assert from_somewhere(home, "POST", "/api/password-reset/complete", body).status_code == 204


def by_an_administrator(home: House, user: dict[str, Any], owner: dict[str, str]) -> None:
    home.ask("POST", f"/api/users/{user['id']}/password-reset", {"letter": False}, **owner)


def by_oneself(home: House, user: dict[str, Any], owner: dict[str, str]) -> None:
    mine = bearer(home, user["email"], OTHER)
    home.ask("PUT", "/api/me/password", {"current_password": OTHER, "password": THIRD}, **mine)


def with_another_address(home: House, user: dict[str, Any], owner: dict[str, str]) -> None:
    new = f"new-{user['email']}"
    home.ask("PUT", "/api/me/email", {"email": new, "password": OTHER}, **bearer(home, user["email"], OTHER))
    assert from_somewhere(home, "POST", "/api/me/email/confirm", {"token": token(home, new)}).status_code == 204


def with_a_factor(home: House, user: dict[str, Any], owner: dict[str, str]) -> None:
    with_app(home, bearer(home, user["email"], OTHER))


def without_factors(home: House, user: dict[str, Any], owner: dict[str, str]) -> None:
    assert home.raw("DELETE", f"/api/users/{user['id']}/mfa", **owner).status_code == 204


def deleted(home: House, user: dict[str, Any], owner: dict[str, str]) -> None:
    assert home.raw("DELETE", f"/api/users/{user['id']}", **owner).status_code == 204


CHANGES: dict[str, Act] = {
    "role-up": patched(role="admin"),
    "role-down": patched(role="guest"),
    "disabled": patched(state="disabled"),
    "must-change": patched(must_change_password=True),
    "deleted": deleted,
    "password-by-oneself": by_oneself,
    "password-by-a-letter": by_a_letter,
    "password-by-an-administrator": by_an_administrator,
    "address": with_another_address,
    "factor-added": with_a_factor,
    "factors-reset": without_factors,
}


@pytest.mark.parametrize("change", CHANGES)
def test_role_and_password_changes_leave_sessions_alive(home: House, change: str) -> None:
    user = newcomer(home, f"{change}@vault.example")
    before = signed_in(home, user["email"])
    assert alive(before) == (True, True)
    CHANGES[change](home, user, bearer(home))
    assert alive(before) == (False, False)


def test_logout_all_weaker_than_logout(home: House) -> None:
    email = newcomer(home, "all@vault.example")["email"]
    here, elsewhere, other = (
        signed_in(home, email),
        signed_in(home, email),
        signed_in(home, newcomer(home, "not@vault.example")["email"]),
    )
    answer = here.ask("DELETE", "/api/sessions", bearer=here.bearer)
    assert (answer.status_code, "auricle_refresh" in here.cookies) == (204, False)  # as signing out does, here too
    here.cookies["auricle_refresh"] = elsewhere.cookies["auricle_refresh"]
    assert [alive(one) for one in (here, elsewhere, other)] == [(False, False), (False, False), (True, True)]
    row = trail(home, EventKind.LOGOUT_ALL)[0]
    assert (row.outcome, row.details["count"], row.subject_id) == ("success", 2, str(row.actor))
    assert home.ask("GET", "/api/sessions", **bearer(home, email, OTHER))["items"][0]["current"] is True


def test_logout_all_leaves_a_half_finished_sign_in(home: House) -> None:
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    half = held(by_password(home, ada))
    assert home.raw("DELETE", "/api/sessions", **app.session).status_code == 204
    refused = from_somewhere(home, "POST", "/api/mfa/verify", {"code": app.backup[0]}, **half)
    assert refused.status_code == 401


def test_logout_all_by_a_token(home: House) -> None:
    """A leaked personal token signs nobody out."""
    mine = bearer(home)
    leaked = home.ask("POST", "/api/tokens", {"name": "leaked"}, status=201, **mine)["token"]
    assert home.raw("DELETE", "/api/sessions", Authorization=f"Bearer {leaked}").status_code == 403
    assert home.raw("GET", "/api/me", **mine).status_code == 200


def test_logout_all_while_nobody_can_remember_it(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing: where ended sign-ins are not remembered, nobody is told that they have ended."""
    email = newcomer(home, "away@vault.example")["email"]
    one = signed_in(home, email)

    def away(*_: object) -> int:
        raise Retryable("The store is away.")

    monkeypatch.setattr(home.bound.wiring.provide(Ephemeral), "bump", away)
    assert one.ask("DELETE", "/api/sessions", bearer=one.bearer).status_code == 503
    assert alive(one) == (True, True)


def test_refresh_family_reuse(home: House) -> None:
    email = newcomer(home, "reuse@vault.example")["email"]
    owner = signed_in(home, email)
    thief = Browser(home)
    thief.cookies["auricle_refresh"] = owner.cookies["auricle_refresh"]
    stolen = thief.ask("POST", "/api/session/refresh", User_Agent="thief", **PAGE)
    assert stolen.status_code == 200
    thief.bearer = stolen.get_json()["access_token"]
    assert owner.ask("POST", "/api/session/refresh", **PAGE).status_code == 401  # whoever comes second ends it for both
    assert alive(owner) == (False, False)
    assert thief.ask("POST", "/api/session/refresh", User_Agent="thief", **PAGE).status_code == 401
    assert thief.ask("GET", "/api/me", bearer=thief.bearer, User_Agent="thief").status_code == 401
    assert any("for your safety" in subject for subject in letters(home, email))
    assert trail(home, EventKind.TOKEN_REUSED)[0].subject_kind == "session"


def test_session_fixation(home: House) -> None:
    """What a browser held before it signs in, an attacker may have put there, good or not: it is nobody's session afterwards."""
    attacker, victim = (newcomer(home, f"{name}@vault.example")["email"] for name in ("attacker", "victim"))
    planted = signed_in(home, attacker).cookies
    browser = Visitor(home)
    browser.cookies = dict(planted)
    answer = browser.ask("POST", "/api/session", {"email": victim, "password": OTHER}, **PAGE)
    assert answer.status_code == 201
    assert all(browser.cookies[name] != value for name, value in planted.items())
    assert browser.me()["email"] == victim
    held_still = Visitor(home)
    held_still.cookies = dict(planted)
    assert held_still.me()["email"] == attacker  # theirs stayed theirs, and gained nothing
    both = f"auricle_refresh={planted['auricle_refresh']}; auricle_refresh={browser.cookies['auricle_refresh']}"
    tossed = from_somewhere(home, "POST", "/api/session/refresh", **PAGE, Cookie=both)
    assert tossed.status_code == 422  # whose would come first is a sibling host's choice


def test_session_fixation_at_a_step_up(home: House) -> None:
    """More authority is never added to a session that somebody else may hold a copy of."""
    ada = member(home)
    before = by_password(home, ada)
    confirmed = from_somewhere(
        home, "POST", "/api/session/confirm", {"password": "brass lantern over quiet water"}, **held(before)
    )
    assert confirmed.status_code == 200
    assert confirmed.get_json()["session_id"] != before.get_json()["session_id"]
    assert home.raw("GET", "/api/me", **held(before)).status_code == 401
    assert home.raw("GET", "/api/me", **held(confirmed)).status_code == 200
    app = with_app(home, held(confirmed))
    assert home.raw("GET", "/api/me", **held(confirmed)).status_code == 401
    assert home.raw("GET", "/api/me", **app.session).status_code == 200


@pytest.mark.parametrize(
    ("what", "passed", "lives"),
    [
        ("seen_at", timedelta(hours=11), True),
        ("seen_at", timedelta(hours=13), False),
        ("began_at", timedelta(days=29), True),
        ("began_at", timedelta(days=31), False),
    ],
)
def test_idle_and_absolute_ends_declared_and_not_enforced(home: House, what: str, passed: timedelta, lives: bool) -> None:
    visitor = signed_in(home, newcomer(home, f"{what}-{passed.days}-{passed.seconds}@vault.example")["email"])
    with home.bound.wiring.database.work() as db:
        id = visitor.ask("GET", "/api/sessions", bearer=visitor.bearer).get_json()["items"][0]["id"]
        db.execute(sessions.update().where(sessions.c.id == id).values({what: datetime.now(UTC) - passed}))
    assert alive(visitor) == (lives, lives)


def sessions_of(answer: Response) -> list[dict[str, Any]]:
    return list(answer.get_json()["items"])


def test_a_session_that_was_ended_from_afar(home: House) -> None:
    email = newcomer(home, "afar@vault.example")["email"]
    lost, kept = signed_in(home, email), signed_in(home, email)
    listed = sessions_of(kept.ask("GET", "/api/sessions", bearer=kept.bearer))
    target = next(one["id"] for one in listed if not one["current"])
    assert kept.ask("DELETE", f"/api/sessions/{target}", bearer=kept.bearer).status_code == 204
    assert [alive(lost), alive(kept)] == [(False, False), (True, True)]
    assert sign_in(home, email, OTHER).status_code == 201
