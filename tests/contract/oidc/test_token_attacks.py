"""One ID token per attack: each is refused, and for the reason that it should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import RSAKey

from auricle.adapters.oidc.provider import OpenIdProvider
from auricle.errors import Unauthenticated
from auricle.ports.oidc import Refusal, SignIn, SigningAlgorithm
from builders.oidc_provider import REMOVED, Signing, SmallProvider

Walk = Callable[..., SignIn]
LONG = 3600


def refusal(walk: Walk, ours: OpenIdProvider, small: SmallProvider, max_age: int | None = None) -> str:
    """Why a sign-in was refused; the sentence holds nothing that the provider wrote."""
    with pytest.raises(Unauthenticated) as refused:
        walk(ours, small, max_age=max_age)
    assert str(refused.value).endswith(".")
    assert "attacker" not in str(refused.value)
    return str(refused.value.extra["reason"])


@pytest.mark.parametrize("elliptic", [False, True])
@pytest.mark.parametrize(
    ("signing", "reason"),
    [
        (Signing.NOT_AT_ALL, Refusal.ALGORITHM),
        (Signing.PUBLIC_KEY_AS_SECRET, Refusal.ALGORITHM),
        (Signing.STRIPPED, Refusal.SIGNATURE),
        (Signing.BY_A_STRANGER, Refusal.SIGNATURE),
        (Signing.KEY_IN_HEADER, Refusal.KEY),
    ],
)
def test_a_forged_signature(
    signing: Signing, reason: Refusal, elliptic: bool, walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    if elliptic:
        small.use_elliptic()
    assert walk(ours, small).identity.subject == "a-1"
    small.manners.signing = signing
    assert refusal(walk, ours, small) == reason


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://attacker.test"}, Refusal.ISSUER),
        ({"iss": REMOVED}, Refusal.ISSUER),
        ({"iss": ["https://attacker.test"]}, Refusal.ISSUER),
        ({"aud": "somebody-else"}, Refusal.AUDIENCE),
        ({"aud": ["somebody-else"]}, Refusal.AUDIENCE),
        ({"aud": []}, Refusal.AUDIENCE),
        ({"aud": REMOVED}, Refusal.AUDIENCE),
        ({"aud": "auricle-other"}, Refusal.AUDIENCE),
        ({"aud": ["auricle", "somebody-else"]}, Refusal.AUTHORIZED_PARTY),
        ({"aud": ["auricle", "somebody-else"], "azp": "somebody-else"}, Refusal.AUTHORIZED_PARTY),
        ({"azp": "somebody-else"}, Refusal.AUTHORIZED_PARTY),
        ({"nonce": "of another sign-in"}, Refusal.NONCE),
        ({"nonce": REMOVED}, Refusal.NONCE),
        ({"nonce": "\ud800"}, Refusal.NONCE),
        ({"exp": NOW - LONG}, Refusal.EXPIRED),
        ({"exp": REMOVED}, Refusal.EXPIRED),
        ({"exp": float("nan")}, Refusal.EXPIRED),
        ({"exp": str(NOW + LONG)}, Refusal.EXPIRED),
        ({"iat": NOW + LONG, "exp": NOW + 2 * LONG}, Refusal.NOT_YET),
        ({"nbf": NOW + LONG}, Refusal.NOT_YET),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, Refusal.HASH),
        ({"sub": REMOVED}, Refusal.SUBJECT),
        ({"sub": ""}, Refusal.SUBJECT),
        ({"sub": 7}, Refusal.SUBJECT),
        ({"sub": "a" * 256}, Refusal.SUBJECT),
        ({"sub": "аlice"}, Refusal.SUBJECT),
        ({"amr": "pwd"}, Refusal.CLAIM),
    ],
)
def test_a_claim_that_does_not_hold(
    claims: dict[str, object], reason: Refusal, walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.claims = claims
    assert refusal(walk, ours, small) == reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"kid": "unknown"}, Refusal.KEY),
        ({"kid": "../../../../dev/null"}, Refusal.KEY),
        ({"kid": "rsa' OR '1'='1"}, Refusal.KEY),
        ({"kid": {"$ne": ""}}, Refusal.KEY),
        ({"kid": ["rsa"]}, Refusal.KEY),
        ({"alg": "RS384"}, Refusal.ALGORITHM),
        ({"alg": "PS256"}, Refusal.KEY),
        ({"typ": "at+jwt"}, Refusal.KIND),
        ({"typ": "logout+jwt"}, Refusal.KIND),
        ({"typ": 1}, Refusal.KIND),
        ({"crit": ["unheard-of"], "unheard-of": 1}, Refusal.MALFORMED),
    ],
)
def test_a_header_that_is_not_believed(
    header: dict[str, object], reason: Refusal, walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.header = header
    assert refusal(walk, ours, small) == reason


def test_keys_are_fetched_from_where_the_provider_publishes_them_and_nowhere_else(
    walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.signing = Signing.BY_A_STRANGER
    small.manners.header = {"jku": f"{small.url}/mine", "x5u": f"{small.url}/mine.pem"}
    assert refusal(walk, ours, small) in (Refusal.SIGNATURE, Refusal.MALFORMED)
    assert not [path for path in small.requests if "mine" in path]


@pytest.mark.parametrize(
    ("claims", "max_age"),
    [
        ({"auth_time": NOW - LONG}, 600),
        ({"auth_time": REMOVED}, 600),
        ({"auth_time": True}, 0),
        ({"auth_time": NOW + LONG}, 600),
    ],
)
def test_an_old_proof_where_a_fresh_one_was_asked_for(
    claims: dict[str, object], max_age: int, walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.claims = claims
    assert refusal(walk, ours, small, max_age) == Refusal.SIGN_IN_AGE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"id_token": REMOVED}, Refusal.NO_ID_TOKEN),
        ({"id_token": ["a", "b"]}, Refusal.NO_ID_TOKEN),
        ({"id_token": ""}, Refusal.MALFORMED),
        ({"id_token": "a.b.c"}, Refusal.MALFORMED),
        ({"id_token": "..".join("abc")}, Refusal.MALFORMED),
        ({"id_token": "é" * 20}, Refusal.MALFORMED),
        ({"id_token": "a." * 30_000}, Refusal.MALFORMED),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_without_a_real_id_token(
    answer: Mapping[str, object], reason: Refusal, walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.tokens = dict(answer)
    assert refusal(walk, ours, small) == reason


def test_an_access_token_is_never_taken_for_an_id_token(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    claims = {**small.people["alice"], "iss": small.url, "aud": "auricle", "iat": NOW, "exp": NOW + LONG}
    small.manners.tokens = {"id_token": REMOVED, "access_token": small.signed(claims)}
    assert refusal(walk, ours, small) == Refusal.NO_ID_TOKEN


def test_userinfo_about_somebody_else(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.claims = {"email": REMOVED}
    small.manners.userinfo = {"sub": "b-2"}
    assert refusal(walk, ours, small) == Refusal.SUBJECT


def test_a_verified_address_is_not_made_of_two_halves(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.claims = {"email": "owner@example.test", "email_verified": REMOVED, "groups": REMOVED}
    small.manners.userinfo = {"email": "mine@attacker.test", "email_verified": True}
    who = walk(ours, small).identity
    assert (who.email, who.email_verified) == ("owner@example.test", False)


@pytest.mark.parametrize("said", ["true", "false", 1, [True], None])
def test_only_true_means_verified(said: object, walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.claims = {"email_verified": said}
    assert walk(ours, small).identity.email_verified is False


def test_userinfo_fills_in_what_the_id_token_leaves_out(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.claims = {"email": REMOVED, "email_verified": REMOVED, "groups": REMOVED, "name": REMOVED}
    who = walk(ours, small).identity
    assert (who.email, who.email_verified, who.groups, who.name) == ("alice@example.test", True, ("staff",), "Alice A")


def test_groups_are_found_where_they_are_configured(walk: Walk, small: SmallProvider) -> None:
    small.manners.claims = {"realm_access": {"roles": ["editor", 7, ""]}, "https://example.test/groups": "one"}
    for claim, groups in (("realm_access.roles", ("editor",)), ("https://example.test/groups", ("one",)), ("sub.x", ())):
        assert walk(OpenIdProvider(small.connection(groups_claim=claim)), small).identity.groups == groups


def test_a_token_for_several_is_accepted_when_it_was_issued_to_us(
    walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.claims = {"aud": ["auricle", "an-api"], "azp": "auricle"}
    assert walk(ours, small).identity.subject == "a-1"


def test_clocks_may_differ_a_little(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.claims = {"exp": int(time.time()) - 10, "iat": int(time.time()) + 10}
    assert walk(ours, small).identity.subject == "a-1"
    strict = OpenIdProvider(small.connection(leeway=0))
    assert refusal(walk, strict, small) in (Refusal.EXPIRED, Refusal.NOT_YET)


def test_only_configured_algorithms_are_taken(walk: Walk, small: SmallProvider) -> None:
    elliptic_only = OpenIdProvider(small.connection(algorithms=(SigningAlgorithm.ES256,)))
    assert refusal(walk, elliptic_only, small) == Refusal.ALGORITHM


def test_a_refreshed_token_for_somebody_else_is_refused(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    signed = walk(ours, small)
    small.manners.claims = {"sub": "b-2"}
    with pytest.raises(Unauthenticated) as refused:
        ours.refresh(signed.refresh_token or "", signed.identity)
    assert refused.value.extra["reason"] == Refusal.SUBJECT


def test_a_refresh_never_makes_a_proof_fresh(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    signed = walk(ours, small)
    small.manners.claims = {"auth_time": NOW + 30, "acr": "urn:strong", "amr": ["hwk"]}
    after = ours.refresh(signed.refresh_token or "", signed.identity).identity
    before = signed.identity
    assert (after.auth_time, after.acr, after.amr) == (before.auth_time, before.acr, before.amr)


def test_a_refresh_without_an_id_token_asks_userinfo(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    signed = walk(ours, small)
    small.manners.tokens = {"id_token": REMOVED}
    small.people["alice"]["groups"] = ["auditors"]
    again = ours.refresh(signed.refresh_token or "", signed.identity)
    assert again.identity.groups == ("auditors",)
    assert again.identity.id_token == signed.identity.id_token


def test_a_weak_key_signs_nothing(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    with pytest.warns(SecurityWarning):
        small.key = RSAKey.generate_key(1024, {"kid": "weak", "alg": "RS256", "use": "sig"})
    assert refusal(walk, ours, small) == Refusal.KEY
