"""What administrators do for people, and what they may not: roles, closing, sessions, passwords, unlocking, groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auricle.access.store import grants, people, sessions
from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from auricle.contract.ids import uuid7
from auricle.identity.factors.store import FactorStore, authenticators
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

_names = itertools.count(1)


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url, inactive_days=35) as made:
        yield made


@pytest.fixture
def owner(home: House) -> dict[str, str]:
    return bearer(home)


@pytest.fixture
def admin(home: House, owner: dict[str, str]) -> dict[str, str]:
    email = f"admin{next(_names)}@vault.example"
    newcomer(home, email, "admin", **owner)
    return bearer(home, email, OTHER)


@pytest.fixture
def member(home: House, owner: dict[str, str]) -> dict[str, Any]:
    return newcomer(home, f"member{next(_names)}@vault.example", **owner)


def kinds(home: House, subject: str) -> list[str]:
    """What the trail says was done to somebody, the latest first."""
    with home.bound.wiring.database.work() as db:
        return [e.kind for e in AuditStore(db).page(50, None, AuditFilter(subject_id=subject))]


def status(home: House, method: str, path: str, body: Any, by: dict[str, str]) -> int:
    return home.raw(method, path, body, **by).status_code


def test_an_account_made_with_a_letter_has_no_password_until_its_owner_sets_one(home: House, owner: dict[str, str]) -> None:
    made = home.ask("POST", "/api/users", {"email": "una@vault.example", "display_name": "Una"}, status=201, **owner)
    assert (made["password"], made["user"]["has_password"], made["user"]["role"]) == (None, False, "member")
    assert sign_in(home, "una@vault.example", "").status_code == 401
    link = token(home, "una@vault.example")
    chosen = {"token": link, "password": PASSWORD}
    assert from_somewhere(home, "POST", "/api/password-reset/complete", chosen).status_code == 204
    assert sign_in(home, "una@vault.example", PASSWORD).status_code == 201
    assert status(home, "POST", "/api/users", {"email": "UNA@vault.example", "display_name": "U"}, owner) == 409
    assert kinds(home, made["user"]["id"])[-1] == "admin.user.create"


def test_a_one_time_password_is_told_once_and_opens_nothing_but_its_own_change(home: House, owner: dict[str, str]) -> None:
    body = {"email": "vic@vault.example", "display_name": "Vic", "letter": False}
    answer = home.raw("POST", "/api/users", body, Idempotency_Key="once-please", **owner)
    made = answer.get_json()
    again = home.raw("POST", "/api/users", body, Idempotency_Key="once-please", **owner)
    assert (answer.status_code, again.status_code) == (201, 409)
    assert made["password"] not in again.get_data(as_text=True)
    assert letters(home, "vic@vault.example") == []
    signed = sign_in(home, "vic@vault.example", made["password"])
    assert signed.get_json()["must_change_password"]
    mine = {"Authorization": f"Bearer {signed.get_json()['access_token']}"}
    assert home.raw("GET", "/api/files", **mine).status_code == 403
    new = {"current_password": made["password"], "password": OTHER}
    assert home.raw("PUT", "/api/me/password", new, **mine).status_code == 200
    assert home.raw("GET", "/api/files", **bearer(home, "vic@vault.example", OTHER)).status_code == 200


def test_people_are_listed_and_found(home: House, owner: dict[str, str], member: dict[str, Any]) -> None:
    def listed(query: str) -> list[str]:
        return [one["id"] for one in home.ask("GET", f"/api/users?{query}", **owner)["items"]]

    assert listed(f"search={member['email'][:8].upper()}")[0:] == [member["id"]]
    assert listed("search=%25") == []
    assert member["id"] not in listed("role=owner")
    assert len(listed("limit=1")) == 1
    assert status(home, "GET", f"/api/users/{uuid7()}", None, owner) == 404


def test_only_owners_give_and_take_high_roles_and_nobody_their_own(
    home: House, owner: dict[str, str], admin: dict[str, str], member: dict[str, Any]
) -> None:
    path = f"/api/users/{member['id']}"
    me = home.ask("GET", "/api/me", **admin)["id"]
    theirs = home.ask("GET", "/api/me", **owner)["id"]
    for role in ("owner", "admin", "auditor"):
        assert status(home, "PATCH", path, {"role": role}, admin) == 403
        made = {"email": f"{role}@vault.example", "display_name": "X", "role": role}
        assert status(home, "POST", "/api/users", made, admin) == 403
    assert status(home, "PATCH", path, {"role": "guest"}, admin) == 200
    for target in (me, theirs):
        for change in ({"role": "owner"}, {"role": "guest"}, {"state": "disabled"}, {"expires_at": "2099-01-01T00:00:00Z"}):
            assert status(home, "PATCH", f"/api/users/{target}", change, admin) == 403
        assert status(home, "DELETE", f"/api/users/{target}", None, admin) == 403
        assert status(home, "DELETE", f"/api/users/{target}/sessions", None, admin) == 403
        assert status(home, "DELETE", f"/api/users/{target}/mfa", None, admin) == 403
        assert status(home, "POST", f"/api/users/{target}/password-reset", {"letter": False}, admin) == 403
        assert status(home, "POST", f"/api/users/{target}/unlock", None, admin) == 403
    assert status(home, "PATCH", f"/api/users/{theirs}", {"role": "member"}, owner) == 403
    mine = bearer(home, member["email"], OTHER)
    assert status(home, "GET", "/api/users", None, mine) == 403
    assert status(home, "PATCH", path, {"role": "owner"}, mine) == 403
    assert status(home, "GET", "/api/users", None, {}) == 403  # the owner's token: no token administers people


def test_new_authority_ends_sessions_at_once(home: House, owner: dict[str, str], member: dict[str, Any]) -> None:
    path = f"/api/users/{member['id']}"
    before = bearer(home, member["email"], OTHER)
    home.ask("PATCH", path, {"role": "guest"}, **owner)
    assert home.raw("GET", "/api/me", **before).status_code == 401
    before = bearer(home, member["email"], OTHER)
    home.ask("PATCH", path, {"display_name": "Somebody else"}, **owner)
    assert home.ask("GET", "/api/me", **before)["name"] == "Somebody else"
    home.ask("PATCH", path, {"state": "disabled"}, **owner)
    assert home.raw("GET", "/api/me", **before).status_code == 401
    assert sign_in(home, member["email"], OTHER).status_code == 401
    home.ask("PATCH", path, {"state": "active"}, **owner)
    assert home.raw("GET", "/api/me", **before).status_code == 401
    assert sign_in(home, member["email"], OTHER).status_code == 201
    assert {"admin.role.change", "admin.user.update", "auth.account.disabled", "auth.account.enabled"} <= set(
        kinds(home, member["id"])
    )
    assert status(home, "PATCH", path, {"state": "pending"}, owner) == 422
    assert status(home, "PATCH", path, {"state": "deleted"}, owner) == 422


def test_an_account_ends_when_it_expires(home: House, owner: dict[str, str], member: dict[str, Any]) -> None:
    path = f"/api/users/{member['id']}"
    assert status(home, "PATCH", path, {"expires_at": "2020-01-01T00:00:00Z"}, owner) == 422
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert home.ask("PATCH", path, {"expires_at": soon}, **owner)["expires_at"]
    mine = bearer(home, member["email"], OTHER)
    with home.bound.wiring.database.work() as db:
        mine_row = people.c.principal_id == member["id"]
        db.execute(people.update().where(mine_row).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert home.raw("GET", "/api/me", **mine).status_code == 401
    assert sign_in(home, member["email"], OTHER).status_code == 401
    home.ask("PATCH", path, {"expires_at": None}, **owner)
    assert sign_in(home, member["email"], OTHER).status_code == 201


def test_of_two_owners_who_close_each_other_one_stays(home: House, owner: dict[str, str]) -> None:
    second = newcomer(home, "ona@vault.example", "owner", **owner)
    first = home.ask("GET", "/api/me", **owner)["id"]
    by = [owner, bearer(home, "ona@vault.example", OTHER)]
    target = [second["id"], first]
    for change in ({"role": "member"}, {"state": "disabled"}):
        answers = at_once(lambda n, change=change: status(home, "PATCH", f"/api/users/{target[n]}", change, by[n]))
        assert sorted(answers)[0] == 200
        assert sorted(answers)[1] in (401, 403, 409)
        winner = answers.index(200)
        back = {"role": "owner", "state": "active"}
        email = (OWNER, "ona@vault.example")[winner]
        by[winner] = bearer(home, email, (PASSWORD, OTHER)[winner])
        home.ask("PATCH", f"/api/users/{target[winner]}", back, **by[winner])
        loser = 1 - winner
        by[loser] = bearer(home, (OWNER, "ona@vault.example")[loser], (PASSWORD, OTHER)[loser])
    assert status(home, "DELETE", f"/api/users/{second['id']}", None, by[0]) == 204


def test_administrators_see_and_end_sessions(home: House, owner: dict[str, str], member: dict[str, Any]) -> None:
    mine = bearer(home, member["email"], OTHER)
    (session,) = home.ask("GET", f"/api/users/{member['id']}/sessions", **owner)["items"]
    assert session["place"].startswith("192.0.")
    assert "fingerprint" not in session
    assert status(home, "DELETE", f"/api/users/{member['id']}/sessions", None, owner) == 204
    assert home.raw("GET", "/api/me", **mine).status_code == 401
    assert home.ask("GET", f"/api/users/{member['id']}/sessions", **owner)["items"] == []


def test_a_lost_password_is_replaced_by_a_letter_or_by_word(home: House, owner: dict[str, str], member: dict[str, Any]) -> None:
    path = f"/api/users/{member['id']}/password-reset"
    mine = bearer(home, member["email"], OTHER)
    assert home.ask("POST", path, {}, **owner) == {"password": None}
    link = token(home, member["email"])
    assert home.raw("GET", "/api/me", **mine).status_code == 200  # a letter alone ends nothing
    told = home.ask("POST", path, {"letter": False}, **owner)["password"]
    assert home.raw("GET", "/api/me", **mine).status_code == 401
    assert sign_in(home, member["email"], OTHER).status_code == 401
    assert sign_in(home, member["email"], told).get_json()["must_change_password"]
    late = {"token": link, "password": THIRD}
    assert from_somewhere(home, "POST", "/api/password-reset/complete", late).status_code == 422


def test_who_is_locked_out_is_let_in_again(home: House, owner: dict[str, str], member: dict[str, Any]) -> None:
    for _ in range(6):
        sign_in(home, member["email"], "guess")
    assert sign_in(home, member["email"], OTHER).status_code == 429
    assert status(home, "POST", f"/api/users/{member['id']}/unlock", None, owner) == 204
    assert sign_in(home, member["email"], OTHER).status_code == 201
    assert kinds(home, member["id"])[0] in ("auth.account.unlock", "auth.login")


def test_a_deleted_account_leaves_its_id_and_nothing_to_sign_in_with(
    home: House, owner: dict[str, str], member: dict[str, Any]
) -> None:
    mine = bearer(home, member["email"], OTHER)
    made = home.ask("POST", "/api/tokens", {"name": "mine"}, status=201, **mine)["token"]
    assert status(home, "DELETE", f"/api/users/{member['id']}", None, owner) == 204
    assert home.raw("GET", "/api/me", **mine).status_code == 401
    assert home.raw("GET", "/api/me", Authorization=f"Bearer {made}").status_code == 401
    assert sign_in(home, member["email"], OTHER).status_code == 401
    assert status(home, "GET", f"/api/users/{member['id']}", None, owner) == 404
    assert status(home, "PATCH", f"/api/users/{member['id']}", {"state": "active"}, owner) == 404
    gone = home.ask("GET", "/api/users?state=deleted", **owner)["items"]
    assert next(one for one in gone if one["id"] == member["id"])["email"] is None
    newcomer(home, member["email"], **owner)  # the address is free


def test_accounts_that_nobody_uses_are_disabled_and_owners_are_not(
    home: House, owner: dict[str, str], member: dict[str, Any]
) -> None:
    used = newcomer(home, f"used{next(_names)}@vault.example", **owner)
    bearer(home, used["email"], OTHER)
    long_ago = datetime.now(UTC) - timedelta(days=36)
    with home.bound.wiring.database.work() as db:
        db.execute(people.update().values(created_at=long_ago, last_seen_at=long_ago))
        others = sessions.c.principal_id != used["id"]
        db.execute(sessions.update().where(others).values(seen_at=long_ago))
    home.tick("disable_unused_accounts")
    states = {one["id"]: one["state"] for one in home.ask("GET", "/api/users?limit=200", **bearer(home))["items"]}
    assert states[member["id"]] == "disabled"
    assert states[used["id"]] == "active"
    assert states[home.ask("GET", "/api/me")["id"]] == "active"
    assert "auth.account.disabled" in kinds(home, member["id"])


def test_groups_are_made_filled_and_ended(home: House, owner: dict[str, str], member: dict[str, Any]) -> None:
    group = home.ask("POST", "/api/groups", {"name": " Research "}, status=201, **owner)
    assert group["name"] == "Research"
    assert status(home, "POST", "/api/groups", {"name": "Research"}, owner) == 409
    other = home.ask("POST", "/api/groups", {"name": "Sales"}, status=201, **owner)
    assert status(home, "PATCH", f"/api/groups/{other['id']}", {"name": "Research"}, owner) == 409
    assert home.ask("PATCH", f"/api/groups/{other['id']}", {"name": "Selling"}, **owner)["name"] == "Selling"
    members = f"/api/groups/{group['id']}/members"
    for _ in "12":
        assert status(home, "PUT", f"{members}/{member['id']}", None, owner) == 204
    assert [one["id"] for one in home.ask("GET", members, **owner)["items"]] == [member["id"]]
    assert [one["members"] for one in home.ask("GET", "/api/groups", **owner)["items"]] == [0, 1]
    assert status(home, "PUT", f"{members}/{uuid7()}", None, owner) == 404
    assert status(home, "DELETE", f"{members}/{member['id']}", None, owner) == 204
    assert status(home, "DELETE", f"{members}/{member['id']}", None, owner) == 404
    assert status(home, "DELETE", f"/api/groups/{group['id']}", None, owner) == 204
    assert status(home, "GET", members, None, owner) == 404


def test_nobody_puts_themselves_where_things_were_shared(home: House, owner: dict[str, str], admin: dict[str, str]) -> None:
    group = home.ask("POST", "/api/groups", {"name": "Board"}, status=201, **owner)
    me = home.ask("GET", "/api/me", **admin)["id"]
    path = f"/api/groups/{group['id']}/members/{me}"
    with home.bound.wiring.database.work() as db:
        db.execute(grants.insert().values(id=uuid7(), kind="file", thing=uuid7(), group_id=group["id"], level=1))
    assert status(home, "PUT", path, None, admin) == 403
    assert status(home, "PUT", path, None, owner) == 204


def test_lost_factors_are_taken_away_and_their_owner_hears_of_it(
    home: House, owner: dict[str, str], member: dict[str, Any]
) -> None:
    mine = bearer(home, member["email"], OTHER)
    with home.bound.wiring.database.work() as db:
        code = {"principal_id": member["id"], "sealed": b"x", "confirmed_at": datetime.now(UTC)}
        db.execute(authenticators.insert().values(code))
        FactorStore(db).settle(member["id"])
    assert sign_in(home, member["email"], OTHER).get_json()["answer"] == "pending"
    assert status(home, "DELETE", f"/api/users/{member['id']}/mfa", None, owner) == 204
    assert home.raw("GET", "/api/me", **mine).status_code == 401
    assert sign_in(home, member["email"], OTHER).status_code == 201
    assert "factors" in letters(home, member["email"])[-1]
    assert "auth.mfa.reset" in kinds(home, member["id"])
