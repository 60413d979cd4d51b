"""People with real accounts, real sessions and real tokens, made without the slow ways in (no Argon2, no mail)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from auricle.access.accesstokens import Headers, access_claims, pending_claims, signed
from auricle.access.fingerprint import fingerprint
from auricle.access.model import PrincipalId, Site
from auricle.access.permissions import Role
from auricle.access.sessions import Client, Factor, Limits, Proof, SessionId, begin, refresh_secret
from auricle.access.store import people, principals, session_values, sessions
from auricle.contract.ids import uuid7
from auricle.ports.signing import TokenSigner
from auricle.runtime.wiring import Wiring


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody here; `bearer` is their access token, `stale` one whose factor was shown an hour ago, `pending` owes a factor."""

    id: UUID
    email: str
    role: Role
    bearer: str
    stale: str
    pending: str

    @property
    def headers(self) -> dict[str, str]:
        """To ask as them."""
        return {"Authorization": f"Bearer {self.bearer}"}


def person(wiring: Wiring, role: Role = Role.MEMBER, name: str = "") -> Person:
    """A new account with that role, signed in."""
    id = PrincipalId(uuid7())
    email = f"{name or 'person'}-{uuid4().hex[:12]}@vault.example"
    with wiring.database.work() as db:
        db.execute(principals.insert().values(id=id, kind="person", name=str(id)))
        values = {"email": email, "email_key": email, "display_name": name or email, "role": role.value}
        db.execute(people.insert().values(principal_id=id, **values))
    now = datetime.now(UTC)
    claims = pending_claims(
        id, issuer=_issuer(wiring), jti=uuid7(), epoch=0, factor=Factor.PASSWORD, client=Headers("", ""), now=now
    )
    return Person(
        id=id,
        email=email,
        role=role,
        bearer=session(wiring, id),
        stale=session(wiring, id, shown=timedelta(hours=1)),
        pending=signed(wiring.provide(TokenSigner), claims, now),
    )


def session(wiring: Wiring, id: UUID, shown: timedelta = timedelta(0)) -> str:
    """An access token of a new session, whose password was shown that long ago."""
    now, session_id = datetime.now(UTC), SessionId(uuid7())
    client = Client(device="", place="", fingerprint=fingerprint("", "", session_id))
    made, _ = begin(
        session_id,
        PrincipalId(id),
        epoch=0,
        proofs=(Proof(Factor.PASSWORD, now - shown),),
        client=client,
        secret=refresh_secret(secrets.token_bytes(32)),
        limits=wiring.provide(Limits),
        now=now,
    )
    with wiring.database.work() as db:
        db.execute(sessions.insert().values(session_values(made)))
    claims = access_claims(made, issuer=_issuer(wiring), jti=uuid7(), client=Headers("", ""), now=now)
    return signed(wiring.provide(TokenSigner), claims, now)


def _issuer(wiring: Wiring) -> str:
    site: Site = wiring.provide(Site)
    return site.issuer
