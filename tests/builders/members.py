"""People with passwords, who sign in through the door and hold authenticator apps; time passes for them by the database."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pyotp
from flask import Response
from sqlalchemy import text

from auricle.access.mfa import MFA, MfaPolicy
from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.access.store import people, principals
from auricle.admin.configuration.actions import Configuration
from auricle.contract.ids import uuid7
from auricle.ports.hashing import PasswordHasher
from builders.house import House
from builders.quick_hasher import QuickHasher

PASSWORD = "brass lantern over quiet water"
ADDRESSES = count(1)


class Member(msgspec.Struct, frozen=True):
    """Somebody with a password."""

    id: UUID
    email: str


def quickly(home: House) -> House:
    """The house with a hasher that is cheap: ten backup codes cost ten hashes."""
    home.bound.wiring.__dict__.setdefault("_ports", {})[PasswordHasher] = QuickHasher()
    return home


def member(home: House, role: Role = Role.MEMBER) -> Member:
    """A new account."""
    id, email = PrincipalId(uuid7()), f"{uuid4().hex[:12]}@vault.example"
    hashed = home.bound.wiring.provide(PasswordHasher).hash(PASSWORD)
    with home.bound.wiring.database.work() as db:
        db.execute(principals.insert().values(id=id, kind="person", name=str(id)))
        values = {"email": email, "email_key": email, "display_name": "Ada", "role": role.value, "password_hash": hashed}
        db.execute(people.insert().values(principal_id=id, changed_at=datetime.now(UTC), **values))
    return Member(id, email)


def from_elsewhere(home: House, method: str, path: str, body: Any = None, **headers: str) -> Response:
    """A call from an address that nobody used before: addresses have limits."""
    number = next(ADDRESSES)
    with home.coming_from(f"198.18.{number // 250}.{number % 250 + 1}"):
        return home.raw(method, path, body, **headers)


def by_password(home: House, who: Member, password: str = PASSWORD, **headers: str) -> Response:
    """The answer to signing in."""
    return from_elsewhere(home, "POST", "/api/session", {"email": who.email, "password": password}, **headers)


def held(answer: Response) -> dict[str, str]:
    """The header with what an answer gave: a session's token, a pending one, or a new factor's session."""
    assert answer.status_code in (200, 201), answer.get_data(as_text=True)
    told = answer.get_json()
    told = told.get("session", told)
    return {"Authorization": f"Bearer {told.get('access_token') or told['pending']}"}


def code(secret: str, later: int = 0) -> str:
    """What an app shows, or will show that many periods later."""
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * later)


class App(msgspec.Struct, frozen=True):
    """An authenticator app that was just set up: its session, secret and the backup codes."""

    session: dict[str, str]
    secret: str
    backup: list[str]


def with_app(home: House, session: dict[str, str]) -> App:
    """Set one up. The code of this period is used up."""
    secret = home.ask("POST", "/api/mfa/totp", **session)["secret"]
    answer = from_elsewhere(home, "POST", "/api/mfa/totp/confirm", {"code": code(secret)}, **session)
    return App(held(answer), secret, answer.get_json()["backup_codes"])


def proofs_age(home: House, who: Member, by: timedelta) -> None:
    """Everything that somebody has shown was shown that much earlier."""
    with home.bound.wiring.database.work() as db:
        rows = db.execute(text("select id, proofs from sessions where principal_id = :id"), {"id": who.id}).all()
        for id, proofs in rows:
            older = [{**p, "at": (datetime.fromisoformat(p["at"]) - by).isoformat()} for p in proofs]
            changed = {"id": id, "proofs": json.dumps(older)}
            db.execute(text("update sessions set proofs = cast(:proofs as jsonb) where id = :id"), changed)


def required(home: House, policy: MfaPolicy | None) -> None:
    """An administrator's choice of whom a second factor is required; None: what the environment says."""
    configuration = home.bound.wiring.provide(Configuration)
    with home.bound.wiring.database.work() as db:
        if policy is None:
            configuration.drop(db, MFA)
        else:
            configuration.put(db, MFA, policy, None, None, expected=None)
    configuration.forget()
