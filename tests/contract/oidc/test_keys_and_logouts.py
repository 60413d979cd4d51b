"""Keys that turn, and logouts that are told behind the browser's back."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from auricle.adapters.oidc.keys import pick, usable
from auricle.adapters.oidc.provider import OpenIdProvider
from auricle.errors import Permanent, Unauthenticated
from auricle.ports.oidc import Refusal, SignIn, SigningAlgorithm
from builders.oidc_provider import (
    LOGOUT_EVENT,
    REMOVED,
    RSA_KEY,
    Instead,
    Signing,
    SmallProvider,
    back_channel,
    padless,
    small_provider,
)

Walk = Callable[..., SignIn]
LONG = 3600
NOW = int(time.time())


class Clock:
    """A clock that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def why(provider: OpenIdProvider, token: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        provider.back_channel(token)
    return str(refused.value.extra["reason"])


# Keys


def test_keys_may_turn(walk: Walk, small: SmallProvider) -> None:
    clock = Clock()
    provider = OpenIdProvider(small.connection(), monotonic=clock)
    walk(provider, small)
    small.use_elliptic()
    clock.seconds = 61
    assert walk(provider, small).identity.subject == "a-1"
    assert small.requests.count("/jwks") == 2


def test_strangers_cannot_make_us_ask_for_keys(small: SmallProvider) -> None:
    clock = Clock()
    provider = OpenIdProvider(small.connection(), monotonic=clock)
    small.manners.header = {"kid": "unknown"}
    for _ in range(20):
        assert why(provider, small.logout_token()) == Refusal.KEY
    assert small.requests.count("/jwks") == 1
    clock.seconds = 61
    for _ in range(20):
        assert why(provider, small.logout_token()) == Refusal.KEY
    assert small.requests.count("/jwks") == 2


def test_a_withdrawn_key_is_not_believed_for_longer_than_an_hour(walk: Walk, small: SmallProvider) -> None:
    clock = Clock()
    provider = OpenIdProvider(small.connection(), monotonic=clock)
    walk(provider, small)
    small.manners.keys = [ECKey.generate_key("P-256", {"kid": "new"}).as_dict(private=False)]
    clock.seconds = LONG + 1
    with pytest.raises(Unauthenticated) as refused:
        walk(provider, small)
    assert refused.value.extra["reason"] == Refusal.KEY


def test_a_key_set_may_hold_what_we_do_not_use(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    good = RSA_KEY.as_dict(private=True)  # even a private key, which is passed over but for its public part
    odd: list[object] = [
        None,
        7,
        {},
        {"kty": "??"},
        {"kty": "RSA", "n": 1, "e": []},
        {"kty": "EC", "crv": "P-0", "x": "", "y": ""},
    ]
    small.manners.keys = [*odd, OctKey.generate_key(256, {"kid": "rsa"}).as_dict(), {**good, "use": "enc"}, good]
    assert walk(ours, small).identity.subject == "a-1"


@pytest.mark.parametrize("keys", [[], "none", None, {}])
def test_a_provider_without_keys(keys: object, walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.keys = [] if keys == [] else None
    if keys != []:
        body = b"{}" if keys is None else b'{"keys": "none"}' if keys == "none" else b'{"keys": {}}'
        small.manners.instead["/jwks"] = Instead(body=body)
    with pytest.raises((Permanent, Unauthenticated)):
        walk(ours, small)


def test_two_keys_of_one_name_are_none(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    other = RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS256", "use": "sig"})
    small.manners.keys = [other.as_dict(private=False), RSA_KEY.as_dict(private=False)]
    with pytest.raises(Unauthenticated) as refused:
        walk(ours, small)
    assert refused.value.extra["reason"] == Refusal.KEY


def test_a_token_need_not_name_the_only_key(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.header = {"kid": REMOVED}
    assert walk(ours, small).identity.subject == "a-1"


KEYS = {
    "rsa": RSA_KEY,
    "ec": ECKey.generate_key("P-256", {"kid": "ec"}),
    "ec384": ECKey.generate_key("P-384", {"kid": "ec384"}),
    "ed": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
    "k1": ECKey.generate_key("secp256k1", {"kid": "k1"}),
}


@pytest.mark.parametrize("algorithm", [str(name) for name in SigningAlgorithm])
def test_a_key_serves_its_own_algorithms_only(algorithm: str) -> None:
    published = tuple(key for key in (usable(key.as_dict(private=False)) for key in KEYS.values()) if key)
    wanted = {"RS256": ["rsa"], "ES256": ["ec"], "ES384": ["ec384"], "EdDSA": ["ed"]}.get(algorithm, [])
    assert [kid for kid in KEYS if pick(published, kid, algorithm)] == wanted


# Logouts


def test_a_logout_says_whose_session_ends(ours: OpenIdProvider, small: SmallProvider) -> None:
    ended = ours.back_channel(small.logout_token())
    assert (ended.issuer, ended.subject, ended.sid) == (small.url, "a-1", "s-1")
    assert ended.jti
    assert NOW < ended.expires_at <= NOW + 600
    assert ours.back_channel(small.logout_token(sid=REMOVED)).sid is None
    assert ours.back_channel(small.logout_token(sub=REMOVED)).subject is None


def test_a_logout_there_is_told_here(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    who = walk(ours, small).identity
    with back_channel() as (address, heard):
        small.back_channel = address
        small.sign_out(ours.logout_url(who.id_token, small.connection().post_logout_redirect_uris[0], "s") or "")
    assert ours.back_channel(heard[0]).sid == who.sid


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://attacker.test"}, Refusal.ISSUER),
        ({"iss": REMOVED}, Refusal.ISSUER),
        ({"aud": "somebody-else"}, Refusal.AUDIENCE),
        ({"aud": REMOVED}, Refusal.AUDIENCE),
        ({"exp": NOW - LONG}, Refusal.EXPIRED),
        ({"exp": REMOVED}, Refusal.EXPIRED),
        ({"iat": NOW + LONG, "exp": NOW + 2 * LONG}, Refusal.NOT_YET),
        ({"iat": NOW - LONG, "exp": NOW + LONG}, Refusal.EXPIRED),
        ({"iat": REMOVED}, Refusal.NOT_YET),
        ({"nonce": "any"}, Refusal.KIND),
        ({"events": REMOVED}, Refusal.EVENT),
        ({"events": {}}, Refusal.EVENT),
        ({"events": [LOGOUT_EVENT]}, Refusal.EVENT),
        ({"events": {LOGOUT_EVENT: 1}}, Refusal.EVENT),
        ({"events": {"http://schemas.openid.net/event/other": {}}}, Refusal.EVENT),
        ({"sub": REMOVED, "sid": REMOVED}, Refusal.SUBJECT),
        ({"sub": 7}, Refusal.SUBJECT),
        ({"sid": {"$ne": ""}}, Refusal.CLAIM),
        ({"sid": ""}, Refusal.CLAIM),
        ({"jti": REMOVED}, Refusal.CLAIM),
        ({"jti": ""}, Refusal.CLAIM),
        ({"jti": 7}, Refusal.CLAIM),
        ({"jti": "j" * 300}, Refusal.CLAIM),
    ],
)
def test_a_logout_that_does_not_hold(
    claims: dict[str, object], reason: Refusal, ours: OpenIdProvider, small: SmallProvider
) -> None:
    assert why(ours, small.logout_token(**claims)) == reason


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
def test_a_forged_logout(signing: Signing, reason: Refusal, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.signing = signing
    assert why(ours, small.logout_token()) == reason


def test_other_tokens_are_no_logouts(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    assert why(ours, walk(ours, small).identity.id_token or "") in (Refusal.KIND, Refusal.CLAIM)
    small.manners.header = {"typ": "at+jwt"}
    assert why(ours, small.logout_token()) == Refusal.KIND


def test_a_logout_of_another_provider_ends_nothing(ours: OpenIdProvider) -> None:
    with small_provider() as other:
        other.use_elliptic()
        assert why(ours, other.logout_token()) == Refusal.KEY


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d.e",
        "x" * 20_000,
        padless(b"[]") + ".e30.",
        padless(b'["alg"]') + ".e30.",
        padless(b'"alg"') + ".e30.",
        padless(b'{"alg":["RS256"]}') + ".e30.",
        padless(b'{"alg":null}') + ".e30.",
        padless(b"[" * 5000) + ".e30.",
        padless(b'{"alg":"RS256","kid":"rsa"}') + ".e30.",
        padless(b'{"alg":"RS256","kid":"rsa","b64":false,"crit":["b64"]}') + ".e30.",
        "é.é.é",
        "\x00.\x00.\x00",
    ],
    ids=lambda token: repr(token)[:30],
)
def test_what_is_no_token_is_refused(token: str, ours: OpenIdProvider) -> None:
    assert why(ours, token) in (Refusal.MALFORMED, Refusal.ALGORITHM, Refusal.SIGNATURE)


def test_whatever_anybody_sends_is_refused() -> None:
    with small_provider() as small:
        provider, real = OpenIdProvider(small.connection()), small.logout_token()

        @given(
            st.text()
            | st.builds(lambda at, put: real[:at] + put + real[at + len(put) :], st.integers(0, 700), st.text(max_size=3))
        )
        def refused(token: str) -> None:
            try:
                provider.back_channel(token)
            except Unauthenticated:
                return
            assert token == real or token.rstrip("=")[:-1] == real[:-1]  # the last character's spare bits are nobody's

        refused()
