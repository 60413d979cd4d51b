"""Signing in, staying and leaving, with every provider."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from auricle.adapters.oidc.provider import OpenIdProvider
from auricle.errors import Permanent, Unauthenticated
from auricle.identity.oidc.arrival import callback
from auricle.ports.oidc import ClientAuthentication, CredentialAnswer, Expected, Refusal, SignIn

if TYPE_CHECKING:
    Walk = Callable[..., SignIn]


@pytest.fixture
def provider(peer: Any) -> OpenIdProvider:
    return OpenIdProvider(peer.connection())


def test_a_sign_in_is_asked_for_with_pkce_state_and_nonce(provider: OpenIdProvider, peer: Any) -> None:
    uri = peer.connection().redirect_uris[0]
    first, second = provider.begin(uri), provider.begin(uri, max_age=0)
    asked = parse_qs(urlsplit(first.url).query)
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["code_challenge"] != [first.code_verifier]
    assert asked["redirect_uri"] == [uri]
    assert (asked["state"], asked["nonce"]) == ([first.state], [first.nonce])
    assert "max_age" not in asked
    assert parse_qs(urlsplit(second.url).query)["max_age"] == ["0"]
    assert len({first.state, first.nonce, first.code_verifier, second.state, second.nonce, second.code_verifier}) == 6


def test_a_sign_in_tells_who_came(provider: OpenIdProvider, peer: Any, walk: Walk) -> None:
    signed = walk(provider, peer)
    who = signed.identity
    assert who.issuer == peer.connection().issuer
    assert who.subject
    assert (who.email, who.email_verified, who.name) == ("alice@example.test", True, "Alice A")
    assert who.groups == ("staff",)
    assert who.sid
    assert who.auth_time is not None
    assert abs(who.auth_time - time.time()) < 300
    assert signed.refresh_token


def test_people_are_told_apart_and_come_back_as_themselves(provider: OpenIdProvider, peer: Any, walk: Walk) -> None:
    alice, bob, again = (walk(provider, peer, person).identity for person in ("alice", "bob", "alice"))
    assert alice.subject == again.subject != bob.subject
    assert bob.groups == ()


@pytest.mark.parametrize("authentication", [ClientAuthentication.BASIC, ClientAuthentication.POST])
def test_the_client_proves_itself_in_either_way(authentication: ClientAuthentication, peer: Any, walk: Walk) -> None:
    assert walk(OpenIdProvider(peer.connection(authentication=authentication)), peer).identity.name == "Alice A"


def test_a_fresh_proof_is_asked_for_and_checked(provider: OpenIdProvider, peer: Any, walk: Walk) -> None:
    assert walk(provider, peer, max_age=60).identity.auth_time is not None


def test_a_code_is_good_for_one_exchange(provider: OpenIdProvider, peer: Any) -> None:
    uri = peer.connection().redirect_uris[0]
    sent = provider.begin(uri)
    back = callback(peer.sign_in(sent.url))
    kept = Expected(state=sent.state, nonce=sent.nonce, code_verifier=sent.code_verifier, redirect_uri=uri)
    provider.finish(back, kept)
    with pytest.raises(Unauthenticated, match="Begin again") as refused:
        provider.finish(back, kept)
    assert refused.value.extra["reason"] == Refusal.CODE


def test_a_stolen_code_is_worth_nothing_without_its_verifier(provider: OpenIdProvider, peer: Any) -> None:
    uri = peer.connection().redirect_uris[0]
    mine, stolen = provider.begin(uri), provider.begin(uri)
    code = dict(peer.sign_in(stolen.url))["code"]
    back = callback([("state", mine.state), ("iss", peer.connection().issuer), ("code", code)])
    kept = Expected(state=mine.state, nonce=mine.nonce, code_verifier=mine.code_verifier, redirect_uri=uri)
    with pytest.raises(Unauthenticated) as refused:
        provider.finish(back, kept)
    assert refused.value.extra["reason"] == Refusal.CODE


def test_a_wrong_secret_is_for_an_administrator_to_mend(peer: Any, walk: Walk) -> None:
    with pytest.raises(Permanent, match="administrator"):
        walk(OpenIdProvider(peer.connection(client_secret="another")), peer)


def test_staying_signed_in_keeps_who_it_is_and_turns_the_token(provider: OpenIdProvider, peer: Any, walk: Walk) -> None:
    first = walk(provider, peer)
    assert first.refresh_token
    second = provider.refresh(first.refresh_token, first.identity)
    assert second.refresh_token not in (None, first.refresh_token)
    assert second.identity.subject == first.identity.subject
    assert second.identity.groups == ("staff",)
    assert second.identity.auth_time == first.identity.auth_time
    with pytest.raises(Unauthenticated) as refused:
        provider.refresh(first.refresh_token, first.identity)
    assert refused.value.extra["reason"] == Refusal.ENDED


def test_a_refresh_token_of_somebody_else_is_refused(provider: OpenIdProvider, peer: Any, walk: Walk) -> None:
    alice, bob = walk(provider, peer, "alice"), walk(provider, peer, "bob")
    assert bob.refresh_token
    with pytest.raises(Unauthenticated) as refused:
        provider.refresh(bob.refresh_token, alice.identity)
    assert refused.value.extra["reason"] == Refusal.SUBJECT


def test_signing_out_here_signs_out_there(provider: OpenIdProvider, peer: Any, walk: Walk) -> None:
    signed = walk(provider, peer)
    assert signed.refresh_token
    goodbye = peer.connection().post_logout_redirect_uris[0]
    url = provider.logout_url(signed.identity.id_token, goodbye, "the state")
    assert url
    location = urlsplit(peer.sign_out(url))
    assert f"{location.scheme}://{location.netloc}{location.path}" == goodbye
    assert parse_qs(location.query)["state"] == ["the state"]
    with pytest.raises(Unauthenticated) as refused:
        provider.refresh(signed.refresh_token, signed.identity)
    assert refused.value.extra["reason"] == Refusal.ENDED


def test_what_it_says_of_itself_can_be_looked_at(provider: OpenIdProvider, peer: Any) -> None:
    facts = provider.probe()
    assert facts.issuer == peer.connection().issuer
    assert facts.usable_keys >= 1
    assert "S256" in facts.pkce_methods
    assert facts.names_itself
    assert facts.logout
    assert facts.back_channel_logout
    assert facts.credentials is CredentialAnswer.ACCEPTED
    wrong = OpenIdProvider(peer.connection(client_secret="another"))
    assert wrong.probe().credentials is CredentialAnswer.REFUSED
