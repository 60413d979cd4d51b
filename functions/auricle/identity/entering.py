"""The seam that every way of signing in goes through once its first factor was right, and what sessions are made with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from auricle.access.accesstokens import Headers, access_claims, pending_claims, signed
from auricle.access.fingerprint import device, fingerprint, same_client
from auricle.access.mfa import MfaPolicy
from auricle.access.model import Asking, PrincipalId, Site
from auricle.access.sameorigin import same_origin_proof
from auricle.access.sessions import (
    SECOND_FACTORS,
    Client,
    Factor,
    Limits,
    Proof,
    Refresh,
    Session,
    SessionId,
    Why,
    admit,
    begin,
    end,
    refresh_secret,
    succeed,
)
from auricle.admin.audit.kinds import ActorKind, EventKind, Method, SubjectKind
from auricle.admin.audit.kinds import Factor as SecondFactor
from auricle.admin.audit.kinds import Reason as AuditReason
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import SYSTEM, Actor, Subject, Trail
from auricle.contract.function import Assembled
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Denied
from auricle.identity.devices import Devices
from auricle.identity.events import LetterWanted
from auricle.identity.factors.store import FactorStore
from auricle.identity.federation.store import FederationStore
from auricle.identity.lockout import LockoutRules, address_key
from auricle.identity.mailtexts import Letter
from auricle.identity.model import Account
from auricle.identity.store import IdentityStore
from auricle.ports.bus import PublishingUnits
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.signing import TokenSigner


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is given: the access token for `seconds`, and the lines that set its cookies, the refresh token's first."""

    account: Account
    session: Session
    access_token: str
    seconds: int
    cookies: tuple[str, ...]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """The first factor was right and a second one is owed: no session, no cookie. `token` opens, for `seconds`, the routes of
    second factors and nothing else. `factors`: what can be shown; `enrol`: there is none yet, and one must be enrolled.

    `id`: the token's, by which whoever takes it up knows the sign-in again.
    """

    id: UUID
    account: Account
    token: str
    seconds: int
    factors: tuple[SecondFactor, ...]
    enrol: bool


@dataclass(frozen=True, slots=True)
class Making(Assembled):
    """What sessions are made with."""

    ephemeral: Ephemeral
    signer: TokenSigner
    site: Site
    limits: Limits
    policy: MfaPolicy
    devices: Devices
    trail: Trail
    post: PublishingUnits
    lockout: LockoutRules

    def from_our_page(self, asking: Asking) -> None:
        """`Denied` when a browser says that another site's page asks; programs say nothing of pages."""
        if not {"origin", "sec-fetch-site"} & asking.headers.keys():
            return
        if not same_origin_proof(asking.method, asking.headers, self.site.origins(asking)):
            self.trail.refused(EventKind.ORIGIN_REFUSED, AuditReason.CROSS_SITE)
            raise Denied("This request did not come from a page of ours. Open the site itself and try again.")

    def begun(
        self, store: IdentityStore, account: Account, proofs: tuple[Proof, ...], asking: Asking, now: datetime, method: Method
    ) -> Issued:
        """A new session with the factors shown. The account's row is locked: sign-ins of one person take turns."""
        epoch, earlier = self.ephemeral.epoch(account.id), store.clients_of(account.id)
        ended = admit(store.sessions_of(account.id), epoch=epoch, limits=self.limits, now=now)
        store.store_sessions(ended)
        trail, who = self.trail.within(store.db), acting(account.id)
        for other in ended:
            trail.record(*ending(other), actor=SYSTEM, behalf_of=account.id)
        id, secret = SessionId(uuid7()), _secret()
        session, refresh = begin(
            id,
            account.id,
            epoch=epoch,
            proofs=proofs,
            client=client_of(asking, id),
            secret=secret,
            limits=self.limits,
            now=now,
        )
        store.add_session(session, refresh)
        trail.record(EventKind.LOGIN, (SubjectKind.USER, account.id), Details(method=method, session=id), actor=who)
        if earlier and not any(_same(client, before, asking) for before, client in earlier):
            trail.record(EventKind.SESSION_NEW_DEVICE, (SubjectKind.SESSION, id), actor=who)
            self.post.publish(store.db, LetterWanted(letter=Letter.NEW_DEVICE, person=account.id, session=id))
        issued = self.issued(account, session, secret, refresh, asking, now)
        known = self.devices.remembered(self.site, asking, account.email)
        return msgspec.structs.replace(issued, cookies=(*issued.cookies, known))

    def succeeded(
        self,
        store: IdentityStore,
        account: Account,
        own: SessionId,
        proof: Proof | None,
        asking: Asking,
        now: datetime,
        epoch: int | None = None,
    ) -> Issued:
        """The session `own` goes on under new tokens, after a step-up, or with a new `epoch` after a change of authority."""
        session = store.locked_session(own)
        if session is None or session.user != account.id:
            raise Conflict("This session has ended. Sign in again.")
        id, secret = SessionId(uuid7()), _secret()
        kept = session.epoch if epoch is None else epoch
        next_ = succeed(session, id, secret=secret, epoch=kept, proof=proof, client=client_of(asking, id), now=now)
        store.store_sessions([next_.ended])
        store.add_session(next_.session, next_.refresh)
        FederationStore(store.db).moved(own, id)
        return self.issued(account, next_.session, secret, next_.refresh, asking, now)

    def issued(
        self, account: Account, session: Session, secret: str, refresh: Refresh, asking: Asking, now: datetime
    ) -> Issued:
        """The tokens of a session."""
        headers = Headers(asking.user_agent, asking.accept_language)
        claims = access_claims(session, issuer=self.site.issuer, jti=uuid7(), client=headers, now=now)
        return Issued(
            account=account,
            session=session,
            access_token=signed(self.signer, claims, now),
            seconds=claims.exp - claims.iat,
            cookies=(self.site.cookie.setting(secret, refresh.ends - now),),
        )

    def owed(
        self, store: IdentityStore, account: Account, factor: Factor, method: Method, asking: Asking, now: datetime
    ) -> Pending:
        """A token that says which factor was shown, and is good for showing the second one alone."""
        id = uuid7()
        claims = pending_claims(
            account.id,
            issuer=self.site.issuer,
            jti=id,
            epoch=self.ephemeral.epoch(account.id),
            factor=factor,
            via=method,
            client=Headers(asking.user_agent, asking.accept_language),
            now=now,
        )
        return Pending(
            id=id,
            account=account,
            token=signed(self.signer, claims, now),
            seconds=claims.exp - claims.iat,
            factors=FactorStore(store.db).shown(account.id),
            enrol=not account.second_factor,
        )


def enter(
    store: IdentityStore, making: Making, account: Account, factor: Factor, method: Method, asking: Asking, now: datetime
) -> Issued | Pending:
    """What comes of a first factor that was right: a session, or a token for the second factor that is owed.

    The account is read with its row locked, and is open. A certificate counts as both factors, and so does a passkey whose
    device has checked who uses it.
    """
    if factor not in SECOND_FACTORS and (account.second_factor or making.policy.requires({account.role})):
        return making.owed(store, account, factor, method, asking, now)
    return making.begun(store, account, (Proof(factor, now),), asking, now, method)


def end_others(
    store: IdentityStore, person: PrincipalId, own: SessionId | None, now: datetime, why: Why = Why.AUTHORITY
) -> int:
    """End somebody's other sessions after a change of authority, for their lists; the new epoch does it. How many they were."""
    others = [session for session in store.sessions_of(person) if session.id != own]
    store.store_sessions(end(other, why, now) for other in others)
    return len(others)


def acting(id: UUID) -> Actor:
    """Who has just shown who they are."""
    return Actor(kind=ActorKind.PERSON, id=id)


def ending(session: Session) -> tuple[EventKind, Subject, Details]:
    """What the trail says of a session that ended by itself."""
    crowded = session.ended is not None and session.ended.why is Why.CROWDED
    kind = EventKind.SESSION_LIMIT_EXCEEDED if crowded else EventKind.SESSION_EXPIRED
    return kind, (SubjectKind.SESSION, session.id), Details(reason=AuditReason.TOO_MANY if crowded else AuditReason.EXPIRED)


def client_of(asking: Asking, id: SessionId) -> Client:
    """Where a session is used."""
    return Client(
        device=device(asking.user_agent),
        place=asking.address or "",
        fingerprint=fingerprint(asking.user_agent, asking.accept_language, id),
    )


def _same(client: Client, id: SessionId, asking: Asking) -> bool:
    """Whether a session of before was used by what asks now: by its headers, or as browsers change those with every release,
    by its kind in the same network.
    """
    if same_client(client.fingerprint, asking.user_agent, asking.accept_language, id):
        return True
    near = address_key(client.place) == address_key(asking.address or "")
    return near and client.device == device(asking.user_agent)


def _secret() -> str:
    return refresh_secret(secrets.token_bytes(32))
