"""What testing a connection showed, in sentences that an administrator can act on."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from auricle.errors import AuricleError
from auricle.identity.oidc.configuration import ProviderConfiguration
from auricle.ports.oidc import CredentialAnswer, OidcProvider, ProviderFacts


class Weight(StrEnum):
    """How much a finding matters."""

    FINE = "fine"
    NOTE = "note"  # works, with less
    PROBLEM = "problem"  # nobody can sign in


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    level: Weight
    sentence: str


class ConnectionReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to testing a connection: `works` when nothing that was found prevents a sign-in."""

    works: bool
    findings: tuple[Finding, ...]


def examined(provider: OidcProvider, configuration: ProviderConfiguration) -> ConnectionReport:
    """Try `provider` and tell what was seen; a failure is a finding, not an error."""
    try:
        facts = provider.probe()
    except AuricleError as error:
        return ConnectionReport(works=False, findings=(_problem(str(error)),))
    return report(facts, configuration)


def report(facts: ProviderFacts, wants: ProviderConfiguration) -> ConnectionReport:
    """What `facts` mean for a provider that is configured like this."""
    found = (
        Finding(level=Weight.FINE, sentence=f"The provider answers, and calls itself {facts.issuer}."),
        _keys(facts),
        _signatures(facts, wants),
        _credentials(facts, wants),
        _scopes(facts, wants),
        _pkce(facts),
        _either(facts.names_itself, "It names itself in its answers (RFC 9207).", "It does not name itself in its answers."),
        _either(facts.logout, "Signing out here signs out there.", "It offers no logout: people stay signed in there."),
        _either(
            facts.back_channel_logout,
            "It tells when somebody signed out there (back-channel logout).",
            "It does not tell when somebody signed out there: sessions here last until they end by themselves.",
        ),
    )
    return ConnectionReport(works=all(finding.level is not Weight.PROBLEM for finding in found), findings=found)


def _keys(facts: ProviderFacts) -> Finding:
    if not facts.usable_keys:
        return _problem("It publishes no key that could be used: RSA of 2048 bits or more, EC or Ed25519, for signatures.")
    return Finding(level=Weight.FINE, sentence=f"It publishes {facts.usable_keys} usable keys.")


def _signatures(facts: ProviderFacts, wants: ProviderConfiguration) -> Finding:
    allowed = [str(algorithm) for algorithm in wants.algorithms]
    shared = [name for name in facts.signs_with if name in allowed]
    if shared:
        return Finding(level=Weight.FINE, sentence=f"It can sign with {', '.join(shared)}, which is allowed here.")
    if not facts.signs_with:
        return _note("It does not say how it signs.")
    return _problem(f"It signs with none of {', '.join(allowed)}. Allow another algorithm here, or set one of these there.")


def _credentials(facts: ProviderFacts, wants: ProviderConfiguration) -> Finding:
    method = wants.authentication.value
    if facts.credentials is CredentialAnswer.REFUSED:
        return _problem("It refuses this client id and secret. Copy both from its settings again.")
    if facts.authentication_methods and method not in facts.authentication_methods and method != "none":
        return _problem(
            f"It does not accept client authentication by {method}. It accepts {', '.join(facts.authentication_methods)}."
        )
    if facts.credentials is CredentialAnswer.ACCEPTED:
        return Finding(level=Weight.FINE, sentence="It accepts this client id and secret.")
    return _note("It does not show, without a person, whether it accepts this client id and secret.")


def _scopes(facts: ProviderFacts, wants: ProviderConfiguration) -> Finding:
    unknown = [scope for scope in wants.scopes if scope not in facts.scopes]
    if facts.scopes and unknown:
        return _note(f"It does not list the scopes {', '.join(unknown)}; it may refuse them or leave them out.")
    return Finding(level=Weight.FINE, sentence="It knows the scopes that are asked for, or does not list any.")


def _pkce(facts: ProviderFacts) -> Finding:
    return _either(
        "S256" in facts.pkce_methods, "It supports PKCE (S256).", "It does not say that it supports PKCE; it is sent anyhow."
    )


def _either(good: bool, fine: str, note: str) -> Finding:
    return Finding(level=Weight.FINE, sentence=fine) if good else _note(note)


def _note(sentence: str) -> Finding:
    return Finding(level=Weight.NOTE, sentence=sentence)


def _problem(sentence: str) -> Finding:
    return Finding(level=Weight.PROBLEM, sentence=sentence)
