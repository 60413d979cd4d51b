"""Registration and invitations: addresses proved by letters, roles nobody gives themselves, links that work once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Response

from auricle.admin.audit.model import AuditFilter
from auricle.admin.audit.store import AuditStore
from auricle.admin.configuration.actions import Configuration
from auricle.identity.accounts.model import REGISTRATION, FirstRole, RegistrationMode, RegistrationPolicy
from auricle.identity.accounts.store import invitations
from builders.house import House
from builders.newcomers import OTHER, OWNER, at_once, bearer, from_somewhere, letters, newcomer, sign_in, token, vault


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url) as made:
        yield made


@pytest.fixture
def owner(home: House) -> dict[str, str]:
    return bearer(home)


def let(home: House, mode: RegistrationMode, **more: Any) -> None:
    """Set who may come in, as administrators do."""
    configuration: Configuration = home.bound.wiring.provide(Configuration)
    with home.bound.wiring.database.work() as db:
        configuration.put(db, REGISTRATION, RegistrationPolicy(mode=mode, **more), None, None, expected=None)


def register(home: House, email: str, **more: Any) -> Response:
    return from_somewhere(home, "POST", "/api/registration", {"email": email, **more})


def confirm(home: House, token: str, path: str = "/api/registration/confirm", **more: Any) -> Response:
    return from_somewhere(home, "POST", path, {"token": token, "display_name": "New", "password": OTHER, **more})


def accept(home: House, token: str, **more: Any) -> Response:
    return confirm(home, token, "/api/invitations/accept", **more)


def invited(home: House, email: str, role: str = "member", **by: str) -> dict[str, Any]:
    made: dict[str, Any] = home.ask("POST", "/api/invitations", {"email": email, "role": role}, status=201, **by)
    return made


def test_a_closed_house_lets_nobody_register_or_be_invited(home: House, owner: dict[str, str]) -> None:
    let(home, RegistrationMode.CLOSED)
    assert register(home, "new@vault.example").status_code == 403
    assert home.raw("POST", "/api/invitations", {"email": "new@vault.example"}, **owner).status_code == 409
    assert letters(home, "new@vault.example") == []


def test_who_registers_proves_the_address_before_there_is_an_account(home: House) -> None:
    let(home, RegistrationMode.OPEN, role=FirstRole.GUEST)
    assert register(home, "Kim@vault.example").status_code == 202
    link = token(home, "Kim@vault.example")
    assert sign_in(home, "kim@vault.example", OTHER).status_code == 401
    assert confirm(home, link, password="short").status_code == 422
    made = confirm(home, link)
    assert (made.status_code, made.get_json()) == (201, {"state": "active"})
    me = home.ask("GET", "/api/me", **bearer(home, "kim@vault.example", OTHER))
    assert (me["roles"], me["email"], me["name"]) == (["guest"], "Kim@vault.example", "New")
    assert confirm(home, link).status_code == 422


def test_an_address_with_an_account_is_answered_alike_and_only_its_owner_is_told(home: House) -> None:
    let(home, RegistrationMode.OPEN)
    known, unknown = register(home, OWNER.upper()), register(home, "lea@vault.example")
    assert (known.status_code, known.get_data()) == (unknown.status_code, unknown.get_data())
    assert "You have an account" in letters(home, OWNER)[-1]
    assert "Confirm this address" in letters(home, "lea@vault.example")[-1]


@pytest.mark.parametrize("more", [{"role": "owner"}, {"state": "active"}, {"roles": ["admin"]}])
def test_nobody_gives_themselves_a_role(home: House, more: dict[str, Any]) -> None:
    let(home, RegistrationMode.OPEN)
    assert register(home, "max@vault.example", **more).status_code == 422
    assert register(home, "max@vault.example").status_code == 202
    assert confirm(home, token(home, "max@vault.example"), **more).status_code == 422


def test_only_addresses_of_some_domains_may_register(home: House) -> None:
    let(home, RegistrationMode.OPEN, domains=("corp.example",))
    assert register(home, "mia@corp.example").status_code == 202
    for foreign in ("mia@evil.example", "mia@corp.example.evil.example", "mia@sub.corp.example"):
        assert register(home, foreign).status_code == 403
    link = token(home, "mia@corp.example")
    let(home, RegistrationMode.CLOSED)  # closed meanwhile
    assert confirm(home, link).status_code == 403


def test_where_administrators_agree_a_new_account_waits_for_one(home: House, owner: dict[str, str]) -> None:
    let(home, RegistrationMode.APPROVAL)
    register(home, "noa@vault.example")
    assert confirm(home, token(home, "noa@vault.example")).get_json() == {"state": "pending"}
    assert sign_in(home, "noa@vault.example", OTHER).status_code == 401
    assert "waits for approval" in letters(home, OWNER)[-1]
    (waiting,) = home.ask("GET", "/api/users?state=pending", **owner)["items"]
    home.ask("PATCH", f"/api/users/{waiting['id']}", {"state": "active"}, **owner)
    assert "is ready" in letters(home, "noa@vault.example")[-1]
    assert sign_in(home, "noa@vault.example", OTHER).status_code == 201


def test_an_invitation_makes_an_account_with_its_role_once(home: House, owner: dict[str, str]) -> None:
    let(home, RegistrationMode.INVITATION)
    made = invited(home, "ola@vault.example", "auditor", **owner)
    assert register(home, "other@vault.example").status_code == 403
    link = token(home, "ola@vault.example")
    assert confirm(home, link).status_code == 422  # a link for one thing is none for another
    assert accept(home, link, role="owner").status_code == 422
    answers = at_once(lambda n: accept(home, link, display_name=f"Ola {n}").status_code)
    assert sorted(answers) == [201, 422]
    me = home.ask("GET", "/api/me", **bearer(home, "ola@vault.example", OTHER))
    assert me["roles"] == ["auditor"]
    listed = {one["id"]: one for one in home.ask("GET", "/api/invitations", **owner)["items"]}[made["id"]]
    assert listed["sent_at"]
    assert listed["accepted_at"]
    with home.bound.wiring.database.work() as db:
        told = [e.kind for e in AuditStore(db).page(50, None, AuditFilter(subject_id=made["id"]))]
    assert told == ["admin.invitation.accept", "admin.invitation.create"]


def test_an_invitation_is_taken_back_and_ends_after_a_week(home: House, owner: dict[str, str]) -> None:
    let(home, RegistrationMode.INVITATION)
    made = invited(home, "pia@vault.example", **owner)
    link = token(home, "pia@vault.example")
    home.ask("DELETE", f"/api/invitations/{made['id']}", **owner)
    assert home.raw("DELETE", f"/api/invitations/{made['id']}", **owner).status_code == 404
    assert accept(home, link).status_code == 422
    invited(home, "pia@vault.example", **owner)
    link = token(home, "pia@vault.example")
    with home.bound.wiring.database.work() as db:
        db.execute(invitations.update().values(ends_at=invitations.c.ends_at - timedelta(days=7)))
    assert accept(home, link).status_code == 422


def test_administrators_invite_members_and_guests_only_and_members_nobody(home: House, owner: dict[str, str]) -> None:
    let(home, RegistrationMode.INVITATION)
    newcomer(home, "adm@vault.example", "admin", **owner)
    newcomer(home, "mem@vault.example", "member", **owner)
    admin, member = bearer(home, "adm@vault.example", OTHER), bearer(home, "mem@vault.example", OTHER)
    for role in ("owner", "admin", "auditor"):
        assert home.raw("POST", "/api/invitations", {"email": "q@vault.example", "role": role}, **admin).status_code == 403
    assert home.raw("POST", "/api/invitations", {"email": "q@vault.example"}, **member).status_code == 403
    assert home.raw("POST", "/api/invitations", {"email": "mem@vault.example"}, **admin).status_code == 409


def test_an_invitation_is_worth_nothing_once_its_sender_may_not_give_the_role(home: House, owner: dict[str, str]) -> None:
    let(home, RegistrationMode.INVITATION)
    sender = newcomer(home, "bob@vault.example", "admin", **owner)
    invited(home, "rio@vault.example", **bearer(home, "bob@vault.example", OTHER))
    link = token(home, "rio@vault.example")
    home.ask("PATCH", f"/api/users/{sender['id']}", {"state": "disabled"}, **owner)
    assert accept(home, link).status_code == 403


def test_links_that_are_over_are_swept(home: House, owner: dict[str, str]) -> None:
    let(home, RegistrationMode.OPEN)
    register(home, "old@vault.example")
    home.settle()
    with home.bound.wiring.database.work() as db:
        old = invitations.update().where(invitations.c.email == "old@vault.example")
        db.execute(old.values(ends_at=invitations.c.ends_at - timedelta(days=3)))
    home.tick("sweep_links")
    with home.bound.wiring.database.work() as db:
        left = db.execute(invitations.select().where(invitations.c.email == "old@vault.example")).all()
    assert left == []
