"""A real Keycloak: what only it can show. The contract of `tests/contract/oidc` runs on it too."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from auricle.adapters.oidc.provider import OpenIdProvider
from auricle.adapters.oidc.providers import OpenIdProviders
from auricle.errors import Denied, Unauthenticated
from auricle.identity.oidc import admission, arrival, configuration
from auricle.identity.oidc.report import Weight, examined
from auricle.ports.oidc import Expected, OidcProvider, Refusal, SignIn
from builders import keycloak_server
from builders.keycloak_server import REDIRECT, SIGNED_OUT, Browser, KeycloakServer

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]
PROMPT_SECONDS = 15.0
"""Keycloak tells of a logout before it answers; this is for a busy machine."""


@pytest.fixture(scope="module")
def keycloak() -> KeycloakServer:
    return keycloak_server.shared()


@pytest.fixture
def ours(keycloak: KeycloakServer) -> OidcProvider:
    return OpenIdProviders().for_(keycloak.connection())


def signed_in(ours: OidcProvider, keycloak: KeycloakServer, person: str = "alice") -> SignIn:
    sent = ours.begin(REDIRECT)
    kept = Expected(state=sent.state, nonce=sent.nonce, code_verifier=sent.code_verifier, redirect_uri=REDIRECT)
    return ours.finish(arrival.callback(keycloak.sign_in(sent.url, person)), kept)


def soon(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PROMPT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_its_answer_names_it(ours: OidcProvider, keycloak: KeycloakServer) -> None:
    back = dict(keycloak.sign_in(ours.begin(REDIRECT).url))
    assert back["iss"] == keycloak.connection().issuer
    assert "code" in back


def test_an_answer_meant_for_another_provider_is_refused(ours: OidcProvider, keycloak: KeycloakServer) -> None:
    sent = ours.begin(REDIRECT)
    kept = Expected(state=sent.state, nonce=sent.nonce, code_verifier=sent.code_verifier, redirect_uri=REDIRECT)
    pairs = [(name, "https://attacker.test" if name == "iss" else value) for name, value in keycloak.sign_in(sent.url)]
    with pytest.raises(Unauthenticated) as refused:
        ours.finish(arrival.callback(pairs), kept)
    assert refused.value.extra["reason"] == Refusal.ISSUER


def test_without_pkce_it_signs_nobody_in(ours: OidcProvider) -> None:
    bare = ours.begin(REDIRECT).url.replace("code_challenge", "no_challenge")
    assert "error=invalid_request" in Browser().ask("GET", bare).headers["Location"]


def test_an_address_that_only_begins_like_ours_is_refused_there(ours: OidcProvider) -> None:
    elsewhere = ours.begin(REDIRECT).url.replace("callback", "callback.attacker")
    assert Browser().ask("GET", elsewhere).status == 400


def test_groups_follow_while_somebody_stays_signed_in(ours: OidcProvider, keycloak: KeycloakServer) -> None:
    before = signed_in(ours, keycloak, "bob")
    assert before.refresh_token
    assert before.identity.groups == ()
    bob, group = keycloak.as_admin("GET", "users?username=bob"), keycloak.as_admin("GET", "groups?search=auditors")
    assert isinstance(bob, list)
    assert isinstance(group, list)
    membership = f"users/{bob[0]['id']}/groups/{group[0]['id']}"
    keycloak.as_admin("PUT", membership)
    try:
        after = ours.refresh(before.refresh_token, before.identity)
    finally:
        keycloak.as_admin("DELETE", membership)
    assert after.identity.groups == ("auditors",)
    rules = admission.Admission(roles=(admission.RoleRule(group="auditors", role=admission.GivenRole.AUDITOR),))
    assert admission.role_for(after.identity.groups, rules) is admission.GivenRole.AUDITOR


def test_only_a_verified_address_opens_an_account_by_its_domain(ours: OidcProvider, keycloak: KeycloakServer) -> None:
    alice, bob = (signed_in(ours, keycloak, person).identity for person in ("alice", "bob"))
    assert (alice.email_verified, bob.email_verified) == (True, False)
    rules = admission.Admission(domains=("example.test",))
    facts = {"known": None, "invitation": None, "email_taken": False, "now": datetime.now(UTC)}
    assert isinstance(admission.enter(alice, rules, **facts), admission.Create)  # type: ignore[arg-type]
    with pytest.raises(Denied):
        admission.enter(bob, rules, **facts)  # type: ignore[arg-type]


def test_leaving_here_is_told_behind_the_browsers_back(ours: OidcProvider, keycloak: KeycloakServer) -> None:
    signed, heard = signed_in(ours, keycloak), len(keycloak.heard)
    url = ours.logout_url(signed.identity.id_token, SIGNED_OUT, "s")
    assert url
    keycloak.sign_out(url)
    soon(lambda: len(keycloak.heard) > heard)
    ended = ours.back_channel(keycloak.heard[-1])
    assert (ended.subject, ended.sid) == (signed.identity.subject, signed.identity.sid)
    assert ended.jti
    assert ended.expires_at > time.time()


def test_an_administrator_there_ends_every_session_here(ours: OidcProvider, keycloak: KeycloakServer) -> None:
    signed, heard = signed_in(ours, keycloak, "bob"), len(keycloak.heard)
    keycloak.as_admin("POST", f"users/{signed.identity.subject}/logout")
    soon(lambda: len(keycloak.heard) > heard)
    assert ours.back_channel(keycloak.heard[-1]).subject == signed.identity.subject
    assert signed.refresh_token
    with pytest.raises(Unauthenticated) as refused:
        ours.refresh(signed.refresh_token, signed.identity)
    assert refused.value.extra["reason"] == Refusal.ENDED


def test_its_id_token_is_no_logout_token(ours: OidcProvider, keycloak: KeycloakServer) -> None:
    signed = signed_in(ours, keycloak)
    assert signed.identity.id_token
    with pytest.raises(Unauthenticated):
        ours.back_channel(signed.identity.id_token)


def test_its_connection_can_be_tested_before_anybody_signs_in(keycloak: KeycloakServer) -> None:
    has = keycloak.connection()
    settings = configuration.ProviderConfiguration(id="keycloak", name="Keycloak", issuer=has.issuer, client_id="auricle")
    good = examined(OpenIdProvider(has), settings)
    assert good.works, good
    wrong = examined(OpenIdProvider(keycloak.connection(client_secret="another")), settings)
    assert not wrong.works
    assert [finding.sentence for finding in wrong.findings if finding.level is Weight.PROBLEM] == [
        "It refuses this client id and secret. Copy both from its settings again."
    ]
    nowhere = examined(OpenIdProvider(keycloak.connection(issuer=f"{keycloak.url}/realms/nobody")), settings)
    assert not nowhere.works
