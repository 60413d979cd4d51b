"""The closed holes of tokens, each case named after its hole and driven through signer and verifier."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from auricle.access.accesstokens import (
    AccessClaims,
    Claims,
    Headers,
    access_claims,
    pending_claims,
    read_access,
    read_bearer,
)
from auricle.access.model import PrincipalId, new_secret
from auricle.access.permissions import Grant, Reason, Role, decide
from auricle.access.sessions import Client, Factor, Limits, Proof, SessionId, begin, refresh_secret
from auricle.adapters.signing.es256 import Es256Verifier
from auricle.contract.choices import Permission
from auricle.identity.onetime import Purpose, issue
from auricle.ports.signing import Refusal, TokenKind, TokenRefused
from builders.signing import ISSUER, NOW, Keys, PlainSigner

USER = PrincipalId(UUID(int=7))
FIREFOX = Headers("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "de,en;q=0.5")
SECOND = timedelta(seconds=1)


class House:
    """A deployment with keys, whose tokens can be asked for and tried; `mint` signs whatever it is told."""

    def __init__(self) -> None:
        self.keys = Keys(NOW - timedelta(days=1))
        self.signer = PlainSigner(self.keys.secret)
        self.verifier = Es256Verifier(self.keys.published)

    def claims(self) -> AccessClaims:
        id = SessionId(uuid4())
        session, _ = begin(
            id,
            USER,
            epoch=0,
            proofs=(Proof(Factor.PASSWORD, NOW),),
            client=Client("Firefox on Linux", "192.0.2.1", "x"),
            secret=refresh_secret(bytes(32)),
            limits=Limits(),
            now=NOW,
        )
        return access_claims(session, issuer=ISSUER, jti=uuid4(), client=FIREFOX, now=NOW)

    def mint(self, kind: TokenKind, claims: Claims, **changed: Any) -> str:
        return self.signer.sign(kind, json.dumps({**msgspec.to_builtins(claims), **changed}).encode(), NOW)

    def as_bearer(self, token: str, now: datetime = NOW, client: Headers = FIREFOX) -> Refusal | None:
        """Why the token is refused on an ordinary route."""
        try:
            read_access(self.verifier, token, issuer=ISSUER, client=client, now=now)
        except TokenRefused as error:
            return error.why
        return None

    def pending(self) -> Claims:
        return pending_claims(USER, issuer=ISSUER, jti=uuid4(), epoch=0, factor=Factor.PASSWORD, client=FIREFOX, now=NOW)


@pytest.fixture
def house() -> House:
    return House()


def test_a_good_token_is_good_so_that_the_others_fail_for_their_flaw(house: House) -> None:
    assert house.as_bearer(house.mint(TokenKind.ACCESS, house.claims())) is None


def test_expired_token(house: House) -> None:
    token = house.mint(TokenKind.ACCESS, house.claims())
    assert house.as_bearer(token, NOW + timedelta(minutes=15, seconds=30)) is Refusal.EXPIRED


def test_expired_token_kept_alive_by_its_own_word(house: House) -> None:
    """Even a key holder's slip cannot make a token that never ends."""
    claims = house.claims()
    for exp in (claims.iat + 901, claims.iat + 10**9):
        assert house.as_bearer(house.mint(TokenKind.ACCESS, claims, exp=exp)) is Refusal.CLAIMS


def test_future_token(house: House) -> None:
    token = house.mint(TokenKind.ACCESS, house.claims())
    assert house.as_bearer(token, NOW - 31 * SECOND) is Refusal.NOT_YET
    claims = house.claims()
    later = house.mint(TokenKind.ACCESS, claims, nbf=claims.iat + 60)
    assert house.as_bearer(later) is Refusal.NOT_YET


def test_mfa_token_as_bearer(house: House) -> None:
    assert house.as_bearer(house.mint(TokenKind.MFA_PENDING, house.pending())) is Refusal.KIND


def test_mfa_token_as_bearer_dressed_up_as_an_access_token(house: House) -> None:
    """Its claims under the other `typ`, or the other claims under its `typ`: each side is checked for itself."""
    assert house.as_bearer(house.mint(TokenKind.ACCESS, house.pending())) is Refusal.CLAIMS
    full = msgspec.to_builtins(house.claims())
    assert house.as_bearer(house.mint(TokenKind.ACCESS, house.pending(), **full | {"aud": f"{ISSUER}/api/session/mfa"})) is (
        Refusal.AUDIENCE
    )
    assert house.as_bearer(house.mint(TokenKind.MFA_PENDING, house.claims())) is Refusal.KIND


def test_mfa_token_as_bearer_is_still_pending_where_it_is_taken(house: House) -> None:
    changed = {"aud": f"{ISSUER}/api/session/mfa", "exp": house.claims().iat + 600, "via": "password"}
    token = house.mint(TokenKind.MFA_PENDING, house.claims(), **changed)
    claims = read_bearer(house.verifier, token, issuer=ISSUER, client=FIREFOX, now=NOW)
    assert not isinstance(claims, AccessClaims)
    for permission in Permission:
        decision = decide(permission, roles=list(Role), grant=Grant.OWNER, scopes=None, mfa_pending=True, fresh_factor=True)
        assert decision.allowed is (permission in (Permission.PUBLIC, Permission.MFA))


@pytest.mark.parametrize(
    "secret", [refresh_secret(bytes(32)), new_secret(), "Bearer", "null"], ids=["refresh", "personal", "scheme", "null"]
)
def test_refresh_token_as_bearer(house: House, secret: str) -> None:
    assert house.as_bearer(secret) is Refusal.MALFORMED


def test_refresh_token_as_bearer_signed_as_one(house: House) -> None:
    with pytest.raises(ValueError, match="opaque"):
        house.mint(TokenKind.REFRESH, house.claims())


def test_link_from_a_letter_as_bearer(house: House) -> None:
    for purpose in Purpose:
        assert house.as_bearer(issue(purpose, str(USER), NOW)[1]) is Refusal.MALFORMED


def test_stolen_token_in_another_client(house: House) -> None:
    token = house.mint(TokenKind.ACCESS, house.claims())
    for other in (Headers("curl/8.5.0", ""), Headers(FIREFOX.user_agent, ""), Headers("", ""), Headers("", FIREFOX.user_agent)):
        assert house.as_bearer(token, client=other) is Refusal.CLIENT


def test_stolen_fingerprint_from_another_token(house: House) -> None:
    claims, other = house.claims(), house.claims()
    assert house.as_bearer(house.mint(TokenKind.ACCESS, claims, fgp=other.fgp)) is Refusal.CLIENT


def test_mass_assignment_of_roles_by_claims(house: House) -> None:
    """A token that brings roles, scopes or grants is read as if it had none: authority is not a claim."""
    brought = {"roles": ["owner"], "role": "admin", "scopes": ["operate"], "scope": "operate", "is_superuser": True, "grant": 5}
    token = house.mint(TokenKind.ACCESS, house.claims(), **brought)
    claims = read_access(house.verifier, token, issuer=ISSUER, client=FIREFOX, now=NOW)
    assert not set(brought) & set(msgspec.to_builtins(claims))
    decision = decide(Permission.OPERATE, roles=(Role.MEMBER,), grant=None, scopes=None, mfa_pending=False, fresh_factor=True)
    assert decision.reason is Reason.ROLE


def test_cross_tenant_token(house: House) -> None:
    """Even when two tenants were given the same key by mistake."""
    token = house.mint(TokenKind.ACCESS, house.claims())
    with pytest.raises(TokenRefused) as caught:
        read_access(house.verifier, token, issuer="https://other.example.org", client=FIREFOX, now=NOW)
    assert caught.value.why is Refusal.ISSUER
