"""From verified claims to a person: what is believed of them, and from which of two sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from auricle.adapters.oidc.tokens import MAX_SUBJECT, text
from auricle.ports.oidc import Connection, ExternalIdentity

MAX_EMAIL = 320
MAX_NAME = 200
MAX_GROUP = 256
MAX_GROUPS = 1000

Claims = Mapping[str, Any]


def identity(connection: Connection, token: Claims, userinfo: Claims | None, raw: str) -> ExternalIdentity:
    """Who a verified ID token is about. What it does not say is taken from `userinfo`, whose subject was compared."""
    email, verified = _email(token, userinfo)
    auth_time = token.get("auth_time")
    amr = token.get("amr")
    return ExternalIdentity(
        issuer=connection.issuer,
        subject=str(token["sub"]),
        email=email,
        email_verified=verified,
        name=_name(token) or _name(userinfo or {}),
        groups=_groups(connection.groups_claim, token, userinfo),
        sid=text(token, "sid", MAX_SUBJECT),
        acr=text(token, "acr", MAX_NAME),
        amr=tuple(method for method in amr if isinstance(method, str)) if isinstance(amr, list) else (),
        auth_time=int(auth_time) if isinstance(auth_time, int | float) and not isinstance(auth_time, bool) else None,
        id_token=raw,
    )


def renewed(
    before: ExternalIdentity, connection: Connection, token: Claims | None, userinfo: Claims | None, raw: str | None
) -> ExternalIdentity:
    """`before` with what may change while somebody stays signed in: address, name and groups.

    How and when they proved themselves stays what it was: refreshing a token proves nobody (Core §12.2).
    """
    sources = [source for source in (token, userinfo) if source is not None]
    if not sources:
        return before
    email, verified = _email(*sources)
    return replace(
        before,
        email=email if email else before.email,
        email_verified=verified if email else before.email_verified,
        name=next((name for name in map(_name, sources) if name), before.name),
        groups=_groups(connection.groups_claim, *sources),
        id_token=raw or before.id_token,
    )


def tells_all(connection: Connection, token: Claims) -> bool:
    """Whether userinfo could add nothing that is used here."""
    return "email" in token and within(token, connection.groups_claim) is not None


def within(claims: Claims, path: str) -> Any:
    """The claim called `path`, else the one at the end of the dotted path; None when there is none."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _email(*sources: Claims | None) -> tuple[str | None, bool]:
    """An address, and whether *the same source* says that it is verified: the two never come from different ones."""
    for source in sources:
        email = text(source, "email", MAX_EMAIL) if source else None
        if source and email:
            return email, source.get("email_verified") is True
    return None, False


def _name(claims: Claims) -> str | None:
    return text(claims, "name", MAX_NAME) or text(claims, "preferred_username", MAX_NAME)


def _groups(path: str, *sources: Claims | None) -> tuple[str, ...]:
    for source in sources:
        found = within(source, path) if source is not None else None
        if found is not None:
            listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
            return tuple(group for group in listed[:MAX_GROUPS] if isinstance(group, str) and 0 < len(group) <= MAX_GROUP)
    return ()
