"""Who somebody is in another house, and a visit from there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NewType
from uuid import UUID

import msgspec

from auricle.access.model import PrincipalId, Site
from auricle.access.sameorigin import Cookie
from auricle.access.sessions import Factor
from auricle.admin.audit.kinds import Method
from auricle.identity.methods.model import Way
from auricle.identity.oidc.admission import Admission
from auricle.ports.oidc import ExternalIdentity

IdentityId = NewType("IdentityId", UUID)
PAGE = "/sign-in"
"""The page that goes on when a second factor is owed."""
_COOKIE = "auricle_sign_in"


class LinkedIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody here is `subject` at `issuer`. `provider`: what the way is called in the settings, when it was linked."""

    id: IdentityId
    person: PrincipalId
    way: Way
    provider: str
    issuer: str
    subject: str
    added_at: datetime
    last_seen_at: datetime


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """What joins a session here to one there. `token`: sealed, for signing out there; `sid`: what they call the session."""

    provider: str
    issuer: str
    subject: str
    sid: str | None = None
    token: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Comer:
    """Somebody whom another house vouches for, and the rules for whoever comes from there."""

    who: ExternalIdentity
    rules: Admission
    provider: str
    way: Way
    method: Method
    factor: Factor
    token: bytes | None = None


def begun_cookie(site: Site) -> Cookie:
    """Ties a sign-in that has left for a provider to the browser that it left from.

    `Lax`, since it comes back from another site; it opens nothing, and what it names works once.
    """
    secure = site.cookie.secure
    return Cookie(name=f"__Host-{_COOKIE}" if secure else _COOKIE, path="/", secure=secure, same_site="Lax")
