"""OpenID Connect: leaving for a provider, coming back, and being signed out from there. Nothing is held while it is asked."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import msgspec

from auricle.access.model import Asking, Principal, PrincipalId
from auricle.access.sessions import Factor, Session, SessionId, Why, over
from auricle.admin.audit.kinds import EventKind, Method, SubjectKind
from auricle.admin.audit.kinds import Reason as AuditReason
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import SYSTEM
from auricle.contract.function import Assembled
from auricle.contract.store import Units
from auricle.errors import AuricleError, Denied, Permanent, Rejected, Retryable, Unauthenticated
from auricle.identity.accounts.model import RegistrationPolicy
from auricle.identity.entering import Issued, Making, Pending
from auricle.identity.federation.actions import come_in, end_sessions, link
from auricle.identity.federation.model import PAGE, Comer, Visit, begun_cookie
from auricle.identity.federation.store import FederationStore
from auricle.identity.methods.model import Way
from auricle.identity.methods.reading import Methods
from auricle.identity.oidc import arrival
from auricle.identity.oidc.arrival import PENDING_LIFE, PendingSignIn
from auricle.identity.oidc.configuration import SIGNED_OUT, Provider, connection, redirect_uri
from auricle.identity.store import IdentityStore
from auricle.ports.oidc import OidcProvider, OidcProviders, Refusal, SignIn
from auricle.ports.sealing import HOUSE, Sealing

MOST_TOKEN = 16 * 1024
"""Characters of an ID token that is kept for signing out there; more would not fit an address anyway."""
REASONS: Mapping[str, AuditReason] = {
    Refusal.STATE: AuditReason.WRONG_STATE,
    Refusal.NONCE: AuditReason.WRONG_STATE,
    Refusal.ISSUER: AuditReason.UNTRUSTED_ISSUER,
    Refusal.AUDIENCE: AuditReason.WRONG_AUDIENCE,
    Refusal.AUTHORIZED_PARTY: AuditReason.WRONG_AUDIENCE,
    Refusal.KEY: AuditReason.WRONG_SIGNATURE,
    Refusal.ALGORITHM: AuditReason.WRONG_SIGNATURE,
    Refusal.SIGNATURE: AuditReason.WRONG_SIGNATURE,
    Refusal.EXPIRED: AuditReason.EXPIRED,
    Refusal.KIND: AuditReason.WRONG_KIND,
    Refusal.PROVIDER_REFUSED: AuditReason.POLICY,
}
"""Which check did not hold → the trail's word; all others are malformed."""


class BadLogout(Rejected):
    """A logout token that ends nothing (OpenID Connect Back-Channel Logout 1.0, 2.8)."""

    title = "Not a logout"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Where the browser goes, and the cookie by which it is known again."""

    url: str
    cookie: str


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """Where the browser goes now that it is back, and what it is given."""

    url: str
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Elsewhere(Assembled):
    """What signing in by providers takes."""

    units: Units
    methods: Methods
    providers: OidcProviders
    sealing: Sealing
    policy: RegistrationPolicy
    making: Making

    def begin(self, id: str, return_to: str | None, *, invitation: str | None = None, who: Principal | None = None) -> Sent:
        """Leave for the provider. `who`: a signed-in person, who links what they come back as."""
        site, now = self.making.site, datetime.now(UTC)
        configured = self.methods.provider(id)
        back = redirect_uri(id, site.issuer)
        # Whoever links proves themselves there now: an open session there may be somebody else's, who used this browser.
        max_age = 0 if who is not None else None
        sent = self._asked(configured).begin(back, max_age=max_age)
        kept = arrival.pending(
            id,
            sent,
            back,
            now,
            return_to=return_to,
            linking=who.id if who is not None else None,
            session=who.session_id if who is not None else None,
            invitation=invitation,
            max_age=max_age,
        )
        handle = secrets.token_urlsafe(32)
        self.making.ephemeral.put(_begun(handle), msgspec.json.encode(kept), PENDING_LIFE.total_seconds())
        return Sent(url=sent.url, cookie=begun_cookie(site).setting(handle, PENDING_LIFE))

    def finish(self, id: str, asking: Asking) -> Landed:
        """Back from the provider: signed in, or linked. Only in the browser that left, and once."""
        now, handle = datetime.now(UTC), self._handle(asking)
        configured = self.methods.provider(id)
        kept = self._taken(handle)
        try:
            expected = arrival.expected(kept, id, now, self._linking(kept, now))
            answer = arrival.callback(parse_qsl(asking.query, keep_blank_values=True))
            arrived = self._asked(configured).finish(answer, expected)
        except (Unauthenticated, Denied) as error:
            self._refused(id, error)
        assert kept is not None  # `expected` has refused what is not there
        comer = self._comer(configured, arrived, kept)
        with self.units.unit() as db:
            store = IdentityStore(db)
            if kept.linking is not None:
                link(store, self.making, comer, PrincipalId(kept.linking), now)
                return Landed(url=kept.return_to)
            outcome = come_in(store, self.making, self.policy, comer, asking, now, kept.invitation)
        return self._landed(outcome, kept.return_to, handle)

    def owed(self, asking: Asking) -> Pending | None:
        """What the browser that came back still owes, told once to the page in it."""
        handle = self._handle(asking)
        kept = self.making.ephemeral.take(_owed(handle)) if handle is not None else None
        return msgspec.json.decode(kept, type=Pending) if kept is not None else None

    def signed_out_there(self, id: str, token: str) -> int:
        """End what a provider says has ended; how many sessions. `BadLogout` for whatever it is that does not hold."""
        configured, now = self.methods.provider(id), datetime.now(UTC)
        about = Details(method=Method.OIDC, provider=id)
        try:
            told = self._asked(configured).back_channel(token)
        except Unauthenticated as error:
            self.making.trail.refused(EventKind.BACK_CHANNEL_LOGOUT, _reason(error), details=about)
            raise BadLogout(str(error)) from error
        with self.units.unit() as db:
            ended = FederationStore(db).visiting(told.issuer, told.subject, told.sid)
            end_sessions(IdentityStore(db), (session for session, _ in ended), Why.SIGNED_OUT, now)
            for session, person in ended:
                subject = (SubjectKind.SESSION, session)
                self.making.trail.within(db).record(
                    EventKind.BACK_CHANNEL_LOGOUT, subject, about, actor=SYSTEM, behalf_of=person
                )
            # Within the unit of work: a token that comes again because we failed has ended nothing yet.
            if not self.making.ephemeral.once(f"logout {told.issuer} {told.jti}", max(1, told.expires_at - now.timestamp())):
                self.making.trail.refused(EventKind.BACK_CHANNEL_LOGOUT, AuditReason.REPLAYED, details=about)
                raise BadLogout("This logout was told before.")
        return len(ended)

    def way_out(self, visit: Visit | None) -> str | None:
        """Where to send a browser that signed out here, so that it signs out there; None where there is no such place."""
        if visit is None or visit.token is None:
            return None
        site = self.making.site
        try:
            configured = self.methods.provider(visit.provider)
            if configured.configuration.issuer != visit.issuer:
                return None
            hint = self.sealing.open(HOUSE, _purpose(visit.issuer, visit.subject), visit.token).decode()
            return self._asked(configured).logout_url(hint, site.issuer + SIGNED_OUT, secrets.token_urlsafe(16))
        except (Retryable, Permanent, Rejected):  # they are signed out here in any case
            return None

    def _comer(self, configured: Provider, arrived: SignIn, kept: PendingSignIn) -> Comer:
        token = arrived.identity.id_token
        sealed = None
        if token is not None and len(token) <= MOST_TOKEN and kept.linking is None:
            sealed = self.sealing.seal(HOUSE, _purpose(arrived.identity.issuer, arrived.identity.subject), token.encode())
        return Comer(
            who=arrived.identity,
            rules=configured.configuration.admission,
            provider=configured.configuration.id,
            way=Way.PROVIDER,
            method=Method.OIDC,
            factor=Factor.ELSEWHERE,
            token=sealed,
        )

    def _landed(self, outcome: Issued | Pending, return_to: str, handle: str | None) -> Landed:
        """To the page that was asked for; by the one for second factors, whose token the page fetches and no address holds."""
        if isinstance(outcome, Issued):
            return Landed(url=return_to, cookies=outcome.cookies)
        self.making.ephemeral.put(_owed(handle or ""), msgspec.json.encode(outcome), outcome.seconds)
        return Landed(url=f"{PAGE}?{urlencode({'owed': 'factor', 'next': return_to})}")

    def _asked(self, configured: Provider) -> OidcProvider:
        return self.providers.for_(connection(configured, self.making.site.issuer))

    def _handle(self, asking: Asking) -> str | None:
        return begun_cookie(self.making.site).value_in(asking.headers.get("cookie"))

    def _taken(self, handle: str | None) -> PendingSignIn | None:
        kept = self.making.ephemeral.take(_begun(handle)) if handle is not None else None
        return msgspec.json.decode(kept, type=PendingSignIn) if kept is not None else None

    def _linking(self, kept: PendingSignIn | None, now: datetime) -> UUID | None:
        """Whose session a link was begun in, while that session lives."""
        if kept is None or kept.linking is None or kept.session is None:
            return None
        person = PrincipalId(kept.linking)
        epoch = self.making.ephemeral.epoch(person)
        with self.units.unit() as db:
            session: Session | None = IdentityStore(db).locked_session(SessionId(kept.session))
        if session is None or session.user != person:
            return None
        return person if over(session, epoch=epoch, limits=self.making.limits, now=now) is None else None

    def _refused(self, id: str, error: Unauthenticated | Denied) -> NoReturn:
        about = Details(method=Method.OIDC, provider=id)
        self.making.trail.refused(EventKind.LOGIN, _reason(error), details=about)
        raise error


def _reason(error: AuricleError) -> AuditReason:
    if isinstance(error, Denied):
        return AuditReason.POLICY
    return REASONS.get(str(getattr(error, "extra", {}).get("reason")), AuditReason.MALFORMED)


def _purpose(issuer: str, subject: str) -> str:
    """What an ID token is sealed for, so that it opens as nobody else's."""
    return f"id token {issuer} {subject}"


def _begun(handle: str) -> str:
    return f"sign-in {handle}"


def _owed(handle: str) -> str:
    return f"owed {handle}"
