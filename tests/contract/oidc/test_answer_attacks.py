"""What the browser brings back, and what a provider's refusals become."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auricle.adapters.oidc.provider import OpenIdProvider
from auricle.errors import Invalid, Permanent, Retryable, Unauthenticated
from auricle.identity.oidc.arrival import callback
from auricle.ports.oidc import Expected, Refusal, SignIn
from builders.oidc_provider import REDIRECT, REMOVED, SIGNED_OUT, Instead, Pairs, SmallProvider

Walk = Callable[..., SignIn]


def swapped(name: str, value: str) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [(had, value if had == name else was) for had, was in pairs]


def without(name: str) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [(had, was) for had, was in pairs if had != name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (swapped("state", "of another browser"), Refusal.STATE),
        (swapped("state", ""), Refusal.STATE),
        (swapped("state", "\udcff"), Refusal.STATE),
        (without("state"), Refusal.STATE),
        (swapped("iss", "https://attacker.test"), Refusal.ISSUER),
        (without("iss"), Refusal.ISSUER),
        (without("code"), Refusal.MALFORMED),
        (swapped("code", "c" * 9000), Refusal.MALFORMED),
        (swapped("code", "guessed"), Refusal.CODE),
        (lambda pairs: [*pairs, ("code", "another")], Refusal.REPEATED),
        (lambda pairs: [*pairs, ("state", "another")], Refusal.REPEATED),
    ],
    ids=["state", "empty state", "odd state", "no state", "mix-up", "no iss", "no code", "long", "guessed", "codes", "states"],
)
def test_what_came_back_was_tampered_with(
    change: Callable[[Pairs], Pairs], reason: Refusal, walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        walk(ours, small, change=change)
    assert refused.value.extra["reason"] == reason
    if reason is not Refusal.CODE:
        assert "/token" not in small.requests  # nothing was exchanged


def test_the_issuer_is_compared_to_the_letter(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    for other in (small.url + "/", small.url.upper(), small.url.replace("127.0.0.1", "localhost")):
        with pytest.raises(Unauthenticated) as refused:
            walk(ours, small, change=swapped("iss", other))
        assert refused.value.extra["reason"] == Refusal.ISSUER


def test_a_provider_that_never_names_itself_may_leave_it_out(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.discovery = {"authorization_response_iss_parameter_supported": REMOVED}
    small.manners.response = {"iss": REMOVED}
    assert walk(ours, small).identity.subject == "a-1"
    small.manners.response = {"iss": "https://attacker.test"}
    with pytest.raises(Unauthenticated):
        walk(ours, small)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ("access_denied", Unauthenticated, "did not sign in"),
        ("login_required", Unauthenticated, "sign in there first"),
        ("<script>", Unauthenticated, "refused this sign-in"),
        ("temporarily_unavailable", Retryable, "Try again"),
        ("server_error", Retryable, "Try again"),
        ("invalid_scope", Permanent, "administrator"),
        ("unauthorized_client", Permanent, "administrator"),
    ],
)
def test_a_refusal_is_told_in_a_sentence(
    error: str, kind: type[Exception], words: str, walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.response = {"error": error, "error_description": "<b>call 555-attacker</b>", "code": REMOVED}
    with pytest.raises(kind, match=words) as refused:
        walk(ours, small)
    told = f"{refused.value} {getattr(refused.value, 'extra', '')}"
    assert "555" not in told
    assert "<" not in told


def test_an_error_of_another_provider_is_not_believed(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.response = {"error": "access_denied", "code": REMOVED, "iss": "https://attacker.test"}
    with pytest.raises(Unauthenticated) as refused:
        walk(ours, small)
    assert refused.value.extra["reason"] == Refusal.ISSUER


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://attacker.test/",
        REDIRECT + "/",
        REDIRECT + "?x=1",
        REDIRECT.upper(),
        REDIRECT.replace("127.0.0.1", "localhost"),
        "",
    ],
)
def test_nobody_is_sent_back_to_an_address_that_is_not_ours(elsewhere: str, ours: OpenIdProvider) -> None:
    with pytest.raises(Invalid):
        ours.begin(elsewhere)
    with pytest.raises(Invalid):
        ours.logout_url(None, elsewhere, "s")
    kept = Expected(state="s", nonce="n", code_verifier="v", redirect_uri=elsewhere)
    with pytest.raises(Invalid):
        ours.finish(callback([("state", "s"), ("code", "c")]), kept)


def test_a_provider_without_logout_has_no_address_for_it(ours: OpenIdProvider, small: SmallProvider) -> None:
    small.manners.discovery = {"end_session_endpoint": REMOVED}
    assert ours.logout_url("hint", SIGNED_OUT, "s") is None


@pytest.mark.parametrize(
    ("instead", "kind"),
    [
        (Instead(status=500), Retryable),
        (Instead(status=429, body=b"slow down"), Retryable),
        (Instead(status=403, body=b"<html>"), Permanent),
        (Instead(body=b"<html>"), Permanent),
        (Instead(body=b"[1]"), Permanent),
        (Instead(status=400, body=b'{"error": "temporarily_unavailable"}'), Retryable),
        (Instead(status=400, body=b'{"error": "invalid_scope"}'), Permanent),
        (Instead(status=400, body=b'{"error": {"a": 1}}'), Permanent),
        (Instead(body=b"{}"), Unauthenticated),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_token_endpoint_that_answers_oddly(
    instead: Instead, kind: type[Exception], walk: Walk, ours: OpenIdProvider, small: SmallProvider
) -> None:
    small.manners.instead["/token"] = instead
    with pytest.raises(kind):
        walk(ours, small)


def test_no_secret_shows_in_what_may_be_logged(walk: Walk, ours: OpenIdProvider, small: SmallProvider) -> None:
    sent, signed = ours.begin(REDIRECT), walk(ours, small)
    kept = Expected(state=sent.state, nonce=sent.nonce, code_verifier=sent.code_verifier, redirect_uri=REDIRECT)
    shown = repr((small.connection(), signed, kept, callback([("code", "the code")]), vars(ours)))
    for secret in (
        small.connection().client_secret,
        signed.refresh_token,
        signed.identity.id_token,
        sent.code_verifier,
        "the code",
    ):
        assert secret
        assert secret not in shown
    assert sent.code_verifier not in repr(sent)
