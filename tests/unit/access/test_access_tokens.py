"""What signed tokens say, how long they are good, and what they never say."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.access.accesstokens import (
    AccessClaims,
    Claims,
    Headers,
    PendingClaims,
    accept,
    access_claims,
    carried,
    check_standing,
    pending_claims,
    read_access,
    read_bearer,
    signed,
    things,
)
from auricle.access.fingerprint import fingerprint
from auricle.access.model import PrincipalId, new_secret
from auricle.access.sessions import Client, Factor, Limits, Proof, Session, SessionId, begin, refresh_secret
from auricle.adapters.signing.es256 import Es256Verifier
from auricle.ports.ephemeral import Revocable, Standing
from auricle.ports.signing import MAX_TOKEN, Refusal, TokenKind, TokenRefused, Verified
from builders.signing import ISSUER, NOW, Keys, PlainSigner

USER = PrincipalId(UUID(int=7))
JTI = UUID(int=9)
FIREFOX = Headers("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "de,en;q=0.5")
SECOND = timedelta(seconds=1)


@pytest.fixture
def keys() -> Keys:
    return Keys()


def session(**limits: Any) -> Session:
    id = SessionId(uuid4())
    client = Client("Firefox on Linux", "192.0.2.1", fingerprint(FIREFOX.user_agent, FIREFOX.accept_language, id))
    proofs = (Proof(Factor.TOTP, NOW), Proof(Factor.PASSWORD, NOW - 20 * SECOND))
    secret = refresh_secret(bytes(32))
    return begin(id, USER, epoch=3, proofs=proofs, client=client, secret=secret, limits=Limits(**limits), now=NOW)[0]


def access(of: Session | None = None, now: datetime = NOW) -> AccessClaims:
    return access_claims(of or session(), issuer=ISSUER, jti=JTI, client=FIREFOX, now=now)


def pending() -> PendingClaims:
    return pending_claims(USER, issuer=ISSUER, jti=JTI, epoch=3, factor=Factor.PASSWORD, client=FIREFOX, now=NOW)


def judged(claims: Claims, now: datetime = NOW, issuer: str = ISSUER, **changed: Any) -> Refusal | None:
    """Why the claims are refused, after some were changed (None: left out)."""
    told = {**msgspec.to_builtins(claims), **changed}
    payload = json.dumps({name: value for name, value in told.items() if value is not None}).encode()
    try:
        accept(Verified(claims.kind, payload), type(claims), issuer=issuer, now=now)
    except TokenRefused as error:
        return error.why
    return None


def test_an_access_token_says_who_how_when_and_where(keys: Keys) -> None:
    of = session()
    token = signed(PlainSigner(keys.secret), access(of), NOW)
    claims = read_access(Es256Verifier(keys.published), token, issuer=ISSUER, client=FIREFOX, now=NOW + 60 * SECOND)
    assert claims == access(of)
    assert (claims.sub, claims.sid, claims.epoch) == (USER, of.id, 3)
    assert (claims.iss, claims.aud) == (ISSUER, f"{ISSUER}/api")
    assert claims.amr == (Factor.TOTP, Factor.PASSWORD)
    assert claims.auth_time == int(NOW.timestamp())
    assert claims.exp - claims.iat == 15 * 60
    assert len(token) < MAX_TOKEN / 2


def test_a_token_says_nothing_that_allows_something() -> None:
    allowed = {"iss", "aud", "sub", "jti", "iat", "nbf", "exp", "epoch", "sid", "fgp", "amr", "auth_time", "via"}
    for kind in (AccessClaims, PendingClaims):
        assert set(kind.__struct_fields__) <= allowed


def test_an_access_token_never_outlives_its_session() -> None:
    of = session(absolute=timedelta(hours=1), idle=timedelta(hours=1))
    assert access(of, NOW + timedelta(minutes=50)).exp == int((NOW + timedelta(hours=1)).timestamp())


def test_a_pending_token_has_no_session() -> None:
    assert "sid" not in PendingClaims.__struct_fields__
    assert things(pending()) == ((Revocable.TOKEN, str(JTI)),)
    of = session()
    assert things(access(of)) == ((Revocable.TOKEN, str(JTI)), (Revocable.SESSION, str(of.id)))


def test_routes_of_second_factors_take_both_kinds_and_know_which(keys: Keys) -> None:
    signer, verifier = PlainSigner(keys.secret), Es256Verifier(keys.published)
    for claims in (pending(), access()):
        token = signed(signer, claims, NOW)
        assert read_bearer(verifier, token, issuer=ISSUER, client=FIREFOX, now=NOW) == claims


@pytest.mark.parametrize("claims", [access(), pending()], ids=lambda claims: claims.kind)
def test_every_claim_is_needed(claims: Claims) -> None:
    assert judged(claims) is None
    for name in claims.__struct_fields__:
        assert judged(claims, **{name: None}) is Refusal.CLAIMS, name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sub", "everyone"),
        ("sub", 7),
        ("jti", ""),
        ("sid", "../other"),
        ("iat", "0"),
        ("exp", 1e99),
        ("exp", True),
        ("nbf", []),
        ("epoch", "3"),
        ("epoch", 3.5),
        ("amr", "pwd"),
        ("amr", ["god"]),
        ("aud", [f"{ISSUER}/api"]),
        ("aud", [f"{ISSUER}/api", "https://attacker.example"]),
        ("iss", {"$ne": ""}),
        ("fgp", None),
        ("exp", 10**30),
    ],
)
def test_a_claim_of_the_wrong_type_is_no_claim(name: str, value: object) -> None:
    assert judged(access(), **{name: value}) is Refusal.CLAIMS


def test_wrong_issuer_or_audience() -> None:
    assert judged(access(), iss="https://attacker.example") is Refusal.ISSUER
    assert judged(access(), issuer="https://other-tenant.example.org") is Refusal.ISSUER
    for aud in (ISSUER, f"{ISSUER}/api/", f"{ISSUER}/api/session/mfa", "https://attacker.example/api", "", "*"):
        assert judged(access(), aud=aud) is Refusal.AUDIENCE


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"1", b"{", b"\xff", b"[" * 1400, b'{"sub":NaN}', b'""'])
def test_a_payload_that_is_no_object(payload: bytes) -> None:
    with pytest.raises(TokenRefused) as caught:
        accept(Verified(TokenKind.ACCESS, payload), AccessClaims, issuer=ISSUER, now=NOW)
    assert caught.value.why is Refusal.CLAIMS


@pytest.mark.parametrize("name", ["sub", "exp", "aud", "epoch", "sid", "unknown"])
def test_a_claim_that_comes_twice(name: str) -> None:
    raw = msgspec.json.encode(access()).decode()
    doubled = raw[:-1] + f',"{name}":1,"{name}":2}}' if name == "unknown" else f'{{"{name}":"first",{raw[1:]}'
    with pytest.raises(TokenRefused) as caught:
        accept(Verified(TokenKind.ACCESS, doubled.encode()), AccessClaims, issuer=ISSUER, now=NOW)
    assert caught.value.why is Refusal.CLAIMS


def test_a_claim_of_a_newer_release_does_no_harm() -> None:
    assert judged(access(), assurance="high") is None


# Time


@given(st.integers(-2000, 2000))
def test_a_token_is_good_from_its_beginning_to_its_end_within_the_leeway(passed: int) -> None:
    refusal = judged(access(), NOW + passed * SECOND)
    assert refusal is (None if -30 <= passed < 930 else Refusal.NOT_YET if passed < -30 else Refusal.EXPIRED)


@given(iat=st.integers(-4000, 4000), nbf=st.integers(-4000, 4000), exp=st.integers(-4000, 4000), now=st.integers(-4000, 4000))
def test_whatever_times_a_token_claims_it_is_accepted_for_fifteen_minutes_at_most(
    iat: int, nbf: int, exp: int, now: int
) -> None:
    base = int(NOW.timestamp())
    refusal = judged(access(), NOW + now * SECOND, iat=base + iat, nbf=base + nbf, exp=base + exp)
    if refusal is None:
        assert iat <= nbf < exp <= iat + 900
        assert nbf - 30 <= now < exp + 30


# Standing


def test_a_token_stands_while_the_person_is_in_the_same_epoch_and_nothing_was_revoked() -> None:
    claims = access()
    check_standing(claims, Standing(epoch=3, revoked=False))
    check_standing(claims, Standing(epoch=3, revoked=False, since=NOW))
    for ended in (
        Standing(epoch=4, revoked=False),
        Standing(epoch=2, revoked=False),
        Standing(epoch=3, revoked=True),
        Standing(epoch=3, revoked=False, since=NOW + SECOND),
    ):
        with pytest.raises(TokenRefused) as caught:
            check_standing(claims, ended)
        assert caught.value.why is Refusal.ENDED


def test_what_a_credential_looks_like() -> None:
    token = signed(PlainSigner(Keys().secret), access(), NOW)
    assert carried(token) is TokenKind.ACCESS
    assert carried(new_secret()) is TokenKind.PERSONAL
    assert carried(refresh_secret(bytes(32))) is TokenKind.REFRESH
    assert carried("hunter2") is None
    assert carried("") is None


def test_what_was_verified_as_another_kind_is_not_read_as_this_one() -> None:
    """Whoever forgets to say which kinds it takes is stopped here."""
    with pytest.raises(TokenRefused) as caught:
        accept(Verified(TokenKind.MFA_PENDING, msgspec.json.encode(access())), AccessClaims, issuer=ISSUER, now=NOW)
    assert caught.value.why is Refusal.KIND
