"""What becomes of refused requests: the trail hears of them, and whoever only guesses is told to wait.

Entries are cheap to cause and dear to keep, so strangers are counted: beyond `Guarded.REFUSED` they are answered 429, and of
each reason and caller one entry a minute says that a limit was reached.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address

from flask import Request

from auricle.access import permissions
from auricle.access.model import Asking, Principal
from auricle.admin.audit.kinds import ActorKind, Credential, EventKind, Reason
from auricle.admin.audit.model import account_tag
from auricle.admin.audit.trail import Actor, Facts, Trail
from auricle.contract.choices import Guarded
from auricle.contract.function import Route
from auricle.errors import AuricleError, Denied, NotFound, Retryable, TooMany, Unauthenticated
from auricle.identity import ratelimits
from auricle.identity.ratelimits import Caller
from auricle.ports import signing
from auricle.ports.ephemeral import Ephemeral
from auricle.runtime.telemetry import trace_id
from auricle.runtime.wiring import Wiring

log = logging.getLogger(__name__)
TOLD_EVERY = 60.0
"""Seconds between two entries that say the same caller reached the same limit."""

REASONS: dict[str, Reason] = {
    **dict.fromkeys(signing.Refusal, Reason.MALFORMED),
    signing.Refusal.ALGORITHM: Reason.WRONG_SIGNATURE,
    signing.Refusal.KEY: Reason.WRONG_SIGNATURE,
    signing.Refusal.SIGNATURE: Reason.WRONG_SIGNATURE,
    signing.Refusal.KIND: Reason.WRONG_KIND,
    signing.Refusal.ISSUER: Reason.UNTRUSTED_ISSUER,
    signing.Refusal.AUDIENCE: Reason.WRONG_AUDIENCE,
    signing.Refusal.EXPIRED: Reason.EXPIRED,
    signing.Refusal.CLIENT: Reason.WRONG_FINGERPRINT,
    signing.Refusal.ENDED: Reason.REVOKED,
    permissions.Reason.NO_CREDENTIAL: Reason.NO_CREDENTIAL,
    permissions.Reason.MFA_PENDING: Reason.FACTOR_REQUIRED,
    permissions.Reason.ROLE: Reason.MISSING_ROLE,
    permissions.Reason.GRANT: Reason.MISSING_GRANT,
    permissions.Reason.HIDDEN: Reason.NOT_FOUND,
    permissions.Reason.NO_TOKENS: Reason.WRONG_KIND,
    permissions.Reason.SCOPE: Reason.MISSING_SCOPE,
    permissions.Reason.FACTOR: Reason.STEP_UP_REQUIRED,
    **{reason.value: reason for reason in (Reason.CROSS_SITE, Reason.BANNER_REQUIRED, Reason.MUST_CHANGE_PASSWORD)},
}
"""What errors say of themselves (`why`) → the trail's word."""


class Refusals:
    """Of one process."""

    def __init__(self, wiring: Wiring) -> None:
        """`wiring` gives what counts and what keeps the trail."""
        self._wiring = wiring

    def trail(self, route: Route, asking: Asking, now: Callable[[], datetime]) -> Trail:
        """The trail of one request, by nobody yet."""
        facts = Facts(
            function=route.function,
            route=f"{route.method} {route.path}",
            address=_address(asking.address),
            user_agent=asking.user_agent or None,
            trace_id=trace_id(),
        )
        return Trail(facts, now, self._tag)

    def answered(self, error: AuricleError, trail: Trail | None, request: Request, told: dict[str, str]) -> AuricleError:
        """What the caller is told of `error`, after it is noted."""
        if trail is None:
            return error
        if isinstance(error, TooMany):
            self._limited(trail)
            return error
        hidden = isinstance(error, NotFound) and error.why == permissions.Reason.HIDDEN
        if not (hidden or isinstance(error, Unauthenticated | Denied)):
            return error
        wait = self._guessing(trail, request, told) if isinstance(error, Unauthenticated) else None
        if wait is not None:
            self._limited(trail)
            return TooMany(f"Too many credentials that are not good came from there. Try again in {wait} s.", retry_after=wait)
        if not trail.has_refusals:
            trail.refused(EventKind.ACCESS_DENIED, _reason(error, request))
        return error

    def _guessing(self, trail: Trail, request: Request, told: dict[str, str]) -> int | None:
        """Seconds to wait, for who has shown too many credentials that were none. Nothing shown is nothing guessed."""
        if "Authorization" not in request.headers:
            return None
        try:
            spent = ratelimits.spend(self._wiring.provide(Ephemeral), Guarded.REFUSED, Caller(address=trail.facts.address))
        except Retryable:
            return None  # nobody got in anyway
        told.update(ratelimits.headers(spent))
        return ratelimits.refused(spent)

    def _limited(self, trail: Trail) -> None:
        """One entry a minute for each caller and route: a flood of requests is no flood of entries."""
        who = str(trail.actor.id or trail.facts.address)
        try:
            first = self._wiring.provide(Ephemeral).once(f"limited {trail.facts.route} {who}", TOLD_EVERY)
        except Retryable:
            return
        if first:
            trail.refused(EventKind.RATE_LIMITED, Reason.TOO_MANY)

    def _tag(self, name: str) -> str:
        return account_tag(
            hmac.digest(bytes.fromhex(self._wiring.settings.event_key), b"auricle audit account", "sha256"), name
        )


def actor_of(principal: Principal) -> Actor:
    """Who asks, as the trail names them."""
    kind = ActorKind.SERVICE if principal.service else ActorKind.PERSON
    if principal.token_id is not None:
        return Actor(kind=kind, id=principal.id, credential=Credential.API_TOKEN, credential_id=principal.token_id)
    return Actor(kind=kind, id=principal.id, credential=Credential.SESSION, credential_id=principal.session_id)


def _reason(error: AuricleError, request: Request) -> Reason:
    """The trail's word for it: the error's own, or what sort it is."""
    word = REASONS.get(getattr(error, "why", None) or "")
    if word is not None:
        return word
    if isinstance(error, Unauthenticated):
        return Reason.MALFORMED if "Authorization" in request.headers else Reason.NO_CREDENTIAL
    return Reason.POLICY


def _address(given: str | None) -> str | None:
    """An address that is one; a gateway on a Unix socket has none."""
    try:
        return str(ip_address(given.partition("%")[0])) if given else None
    except ValueError:
        return None
