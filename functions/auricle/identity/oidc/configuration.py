"""A provider as an administrator sets it up. Its secret goes in, and never comes out again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from auricle.contract.http import Body
from auricle.errors import Conflict, Invalid
from auricle.identity.oidc.admission import Admission, domain_of, role_rules_are_clear
from auricle.ports.oidc import ClientAuthentication, Connection, SigningAlgorithm

MAX_PROVIDERS = 16
MAX_LEEWAY = 120
"""Seconds. Clocks that differ more are broken."""
MASKS = ("*", "•", "●", "·")
CALLBACK = "/api/sign-in/{provider}/callback"
SIGNED_OUT = "/signed-out"


class ProviderConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider without its secret: what is stored in clear, and what administrators see.

    `id` is part of the redirect address and never changes; `name` stands on the button. `ca_pem`: the only authorities trusted
    for it. `leeway` in seconds. See `ports.oidc.Connection` for the rest.
    """

    id: str
    name: str
    issuer: str
    client_id: str
    enabled: bool = True
    authentication: ClientAuthentication = ClientAuthentication.BASIC
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    algorithms: tuple[SigningAlgorithm, ...] = (SigningAlgorithm.ES256, SigningAlgorithm.PS256, SigningAlgorithm.RS256)
    groups_claim: str = "groups"
    ask_userinfo: bool = True
    leeway: int = 60
    ca_pem: str | None = None
    admission: Admission = Admission()


class ProviderBody(ProviderConfiguration, Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator sends. Without `client_secret` the stored one stays; null forgets it."""

    client_secret: str | UnsetType | None = UNSET


class ProviderView(ProviderConfiguration, frozen=True, kw_only=True):
    """What an administrator is shown: whether there is a secret, never which, nor a mask that could be sent back."""

    has_secret: bool
    redirect_uri: str


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A configured provider with its secret, as it is used. The secret is stored apart, encrypted."""

    configuration: ProviderConfiguration
    secret: str | None = field(default=None, repr=False)


def redirect_uri(provider: str, public_url: str) -> str:
    """Where this provider sends people back: an address of its own, so that no two can be mixed up (RFC 9700 §4.4.2.2)."""
    return public_url.rstrip("/") + CALLBACK.format(provider=provider)


def connection(provider: Provider, public_url: str) -> Connection:
    """How to reach `provider` for a deployment that people see at `public_url`."""
    has = provider.configuration
    return Connection(
        issuer=has.issuer,
        client_id=has.client_id,
        client_secret=provider.secret,
        authentication=has.authentication,
        scopes=has.scopes,
        redirect_uris=(redirect_uri(has.id, public_url),),
        post_logout_redirect_uris=(public_url.rstrip("/") + SIGNED_OUT,),
        algorithms=has.algorithms,
        groups_claim=has.groups_claim,
        ask_userinfo=has.ask_userinfo,
        leeway=has.leeway,
        ca_pem=has.ca_pem,
    )


def view(provider: Provider, public_url: str) -> ProviderView:
    """`provider` as administrators see it."""
    has = {name: getattr(provider.configuration, name) for name in ProviderConfiguration.__struct_fields__}
    has["redirect_uri"] = redirect_uri(provider.configuration.id, public_url)
    return ProviderView(**has, has_secret=provider.secret is not None)


def changed(before: Provider | None, body: ProviderBody) -> Provider:
    """`before` (None: a new one) as `body` wants it; `Invalid` with the field that is not acceptable."""
    wanted = ProviderConfiguration(**{name: getattr(body, name) for name in ProviderConfiguration.__struct_fields__})
    _check(wanted)
    if before is not None and before.configuration.id != wanted.id:
        _invalid(
            "id", "A provider's id stays as it is: it is part of the address that is registered there. Make a new provider."
        )
    secret = _secret(before, wanted, body.client_secret)
    if (secret is None) != (wanted.authentication is ClientAuthentication.NONE):
        _invalid("client_secret", "Give the client secret, or set authentication to none for a public client; not both.")
    return Provider(configuration=wanted, secret=secret)


def together(providers: Iterable[ProviderConfiguration]) -> None:
    """Refuse a set of providers that could be mistaken for each other."""
    seen: dict[str, str] = {}
    listed = list(providers)
    if len(listed) > MAX_PROVIDERS:
        raise Invalid(f"There may be {MAX_PROVIDERS} providers. Remove one first.")
    for provider in listed:
        if provider.id in seen:
            raise Conflict(f"There is a provider {provider.id} already. Change that one, or choose another id.")
        if provider.issuer in seen.values():
            raise Conflict(
                "There is a provider with this issuer already. Change that one: its people would be two persons here."
            )
        seen[provider.id] = provider.issuer


def _secret(before: Provider | None, wanted: ProviderConfiguration, given: str | UnsetType | None) -> str | None:
    """The secret from now on. Whoever moves a provider elsewhere must know it: else it would be sent to a stranger's server."""
    if given is None:
        return None
    if given is not UNSET:
        if not given.strip() or len(given) > 1024 or not given.isprintable():
            _invalid(
                "client_secret", "The client secret is 1 to 1024 printable characters. Leave it out to keep the stored one."
            )
        if len(set(given)) == 1 and given[0] in MASKS:
            _invalid("client_secret", "That is a mask, not a secret. Leave client_secret out to keep the stored one.")
        return given
    if before is None or before.secret is None:
        return None
    was = before.configuration
    if (was.issuer, was.ca_pem) != (wanted.issuer, wanted.ca_pem):
        _invalid(
            "client_secret", "Give the client secret again: it is not sent to another issuer than the one it was given for."
        )
    return before.secret


def _check(wanted: ProviderConfiguration) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", wanted.id):
        _invalid("id", "The id is 1 to 32 characters: a letter, then letters, digits and hyphens, all lower case.")
    if not 0 < len(wanted.name.strip()) <= 60 or not wanted.name.isprintable():
        _invalid("name", "Give the provider a name of 1 to 60 characters: it stands on the button.")
    _check_issuer(wanted.issuer)
    if not 0 < len(wanted.client_id) <= 255 or not wanted.client_id.isascii() or not wanted.client_id.isprintable():
        _invalid("client_id", "The client id is 1 to 255 ASCII characters, as the provider shows it.")
    if "openid" not in wanted.scopes or any(not re.fullmatch(r"[!#-\[\]-~]{1,100}", scope) for scope in wanted.scopes):
        _invalid("scopes", "Scopes are words without blanks, and openid is among them.")
    if not wanted.algorithms:
        _invalid("algorithms", "Name at least one signature algorithm, such as ES256 or RS256.")
    if not 0 < len(wanted.groups_claim) <= 200:
        _invalid("groups_claim", "Name the claim that holds the groups, such as groups or realm_access.roles.")
    if not 0 <= wanted.leeway <= MAX_LEEWAY:
        _invalid("leeway", f"The leeway for clocks is 0 to {MAX_LEEWAY} seconds.")
    if wanted.ca_pem is not None and "-----BEGIN CERTIFICATE-----" not in wanted.ca_pem:
        _invalid("ca_pem", "Give the CA certificates in PEM: they begin with -----BEGIN CERTIFICATE-----.")
    _check_admission(wanted.admission)


def _check_issuer(issuer: str) -> None:
    sentence = "The issuer is an https address without query and fragment, exactly as the provider calls itself."
    try:
        parts = urlsplit(issuer)
        well_formed = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        _invalid("issuer", sentence)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if (
        not (well_formed and (parts.scheme == "https" or local))
        or any(sign in issuer for sign in "?#\\ {}")
        or len(issuer) > 1024
    ):
        _invalid("issuer", sentence)
    if not issuer.isascii() or not issuer.isprintable():
        _invalid("issuer", sentence)


def _check_admission(admission: Admission) -> None:
    for domain in admission.domains:
        if domain_of(f"somebody@{domain}") != domain:
            _invalid("admission", f"{domain!r} is not a domain. Write it in lower case, such as example.org, one by one.")
    groups = (*admission.groups, *admission.required_groups, *(rule.group for rule in admission.roles))
    if any(not group.strip() or len(group) > 256 for group in groups):
        _invalid("admission", "A group's name is 1 to 256 characters, exactly as the provider sends it.")
    if not role_rules_are_clear(admission.roles):
        _invalid("admission", "One group can have one role only. Remove the rules that repeat a group.")


def _invalid(name: str, sentence: str) -> None:
    raise Invalid(sentence, field=name)
