"""From somebody whom another house vouches for to a session here: whose it is, in which role, and what joins the two.

Only (issuer, subject) names anybody; an e-mail address never does. Rules: `identity.oidc.admission`.
NIST SP 800-53 AC-2 (accounts by rule), IA-8 (who vouches), AC-12 (sessions that end there end here).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from auricle.access.model import Asking, Principal, PrincipalId
from auricle.access.permissions import Role, assignable
from auricle.access.sessions import SessionId, Why, end
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.kinds import Reason as AuditReason
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import SYSTEM, Trail
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Denied, NotFound
from auricle.identity.accounts.model import Coming, Invitation, InvitationId, RegistrationMode, RegistrationPolicy
from auricle.identity.accounts.store import InvitationStore, LinkStore
from auricle.identity.entering import Issued, Making, Pending, acting, end_others, enter
from auricle.identity.federation.model import Comer, IdentityId, LinkedIdentity, Visit
from auricle.identity.federation.store import FederationStore
from auricle.identity.model import Account
from auricle.identity.oidc import admission
from auricle.identity.oidc.admission import NOT_ADMITTED, Create, Enter, GivenRole, Person
from auricle.identity.onetime import OneTime, Purpose, use
from auricle.identity.people.store import PeopleStore
from auricle.identity.store import IdentityStore

LONGEST_NAME = 200


def come_in(
    store: IdentityStore,
    making: Making,
    policy: RegistrationPolicy,
    comer: Comer,
    asking: Asking,
    now: datetime,
    invitation: str | None = None,
) -> Issued | Pending:
    """A session, or what is still owed, for whom this house's rules let in; `Denied` alike for all others."""
    federation, who = FederationStore(store.db), comer.who
    federation.hold(who.issuer, who.subject)
    linked = federation.find(who.issuer, who.subject)
    account = store.locked_account(linked.person) if linked is not None else None
    closed = policy.mode is RegistrationMode.CLOSED  # to invited people, too
    letter = _Letter.of(store, invitation, now) if not closed else None
    decision = _decided(store, making, comer, account, letter, now)
    if isinstance(decision, Create):
        account = _made(store, making, comer, decision, now)
        if letter is not None and decision.invitation:
            letter.spend(store, account, making.trail, now)
    elif account is not None and linked is not None:
        account = _as_told(store, making, comer, account, decision, now)
        federation.seen(linked.id, now)
    if account is None:
        raise Denied(NOT_ADMITTED)
    store.signed_in(account.id, now, must_change=account.must_change)
    outcome = enter(store, making, account, comer.factor, comer.method, asking, now)
    _joined(federation, making, comer, outcome)
    return outcome


def link(store: IdentityStore, making: Making, comer: Comer, person: PrincipalId, now: datetime) -> LinkedIdentity:
    """Let a signed-in person come in this way, too."""
    federation, who = FederationStore(store.db), comer.who
    federation.hold(who.issuer, who.subject)
    account = store.locked_account(person)
    if account is None or not account.open(now):
        raise Denied("This account cannot be used any more.")
    known = federation.find(who.issuer, who.subject)
    asked, held = _person(account), Person(id=known.person) if known is not None else None
    admission.link(who, comer.rules, asked=asked, known=held)
    if known is not None:
        return known
    return _linked(federation, making, comer, account, now)


def unlink(store: IdentityStore, trail: Trail, who: Principal, id: IdentityId, *, passkeys: bool, now: datetime) -> None:
    """Take a way in away, and end the sessions that began by it; never the last. `passkeys`: one of theirs signs in alone."""
    federation, account = FederationStore(store.db), store.locked_account(who.id)
    identities = federation.of(who.id)
    gone = next((one for one in identities if one.id == id), None)
    if account is None or gone is None:
        raise NotFound("You have no such account of another house.")
    if len(identities) == 1 and account.password_hash is None and not passkeys:
        raise Conflict("This is your only way to sign in. Choose a password or add a passkey first.")
    federation.unlink(who.id, id)
    others = (one for one, _ in federation.visiting(gone.issuer, gone.subject, None) if one != who.session_id)
    count = end_sessions(store, others, Why.AUTHORITY, now)
    trail.record(EventKind.ACCOUNT_UNLINKED, (SubjectKind.USER, who.id), Details(provider=gone.provider, count=count))


def end_sessions(store: IdentityStore, ids: Iterable[SessionId], why: Why, now: datetime) -> int:
    """End these sessions; how many there were."""
    found = [session for id in ids if (session := store.locked_session(id)) is not None]
    store.store_sessions(end(session, why, now) for session in found)
    return len(found)


class _Letter(msgspec.Struct, frozen=True):
    """An invitation that somebody brought along."""

    token: OneTime
    invitation: admission.Invitation
    id: InvitationId

    @classmethod
    def of(cls, store: IdentityStore, token: str | None, now: datetime) -> _Letter | None:
        """The invitation that `token` stands for, if it is open; whatever else it is counts as none."""
        kept = LinkStore(store.db).find([Purpose.INVITATION], token) if token else None
        found = InvitationStore(store.db).get(UUID(kept.subject)) if kept is not None else None
        if token is None or kept is None or found is None or not found.open(now) or kept.used_at is not None:
            return None
        if not _still_given(store, found, now) or now >= kept.ends:
            return None
        role = GivenRole(found.role.value)
        rules = admission.Invitation(email=found.email, role=role, expires_at=found.ends_at)
        return cls(use(kept, Purpose.INVITATION, token, now), rules, found.id)

    def spend(self, store: IdentityStore, account: Account, trail: Trail, now: datetime) -> None:
        """It has brought somebody in, and brings in nobody else."""
        links, invitations = LinkStore(store.db), InvitationStore(store.db)
        if not (links.use_up(self.token) and invitations.accept(self.id, now)):
            raise Denied(NOT_ADMITTED)
        about = (SubjectKind.INVITATION, self.id)
        trail.within(store.db).record(EventKind.INVITATION_ACCEPTED, about, actor=acting(account.id))


def _still_given(store: IdentityStore, found: Invitation, now: datetime) -> bool:
    """Whether somebody who may give this role still stands behind the invitation; an owner is made here, never from outside."""
    inviter = store.account(found.invited_by) if found.kind is Coming.INVITED and found.invited_by is not None else None
    may = assignable({inviter.role}) if inviter is not None and inviter.open(now) else frozenset()
    return found.role in may and found.role in {role.value for role in GivenRole}


def _decided(
    store: IdentityStore, making: Making, comer: Comer, account: Account | None, letter: _Letter | None, now: datetime
) -> Enter | Create:
    """What the rules say; every refusal is told to the trail, and to nobody else."""
    who = comer.who
    verified = who.email if who.email and admission.verified_domain(who) else None
    taken = verified is not None and store.by_email(verified) is not None
    invitation = letter.invitation if letter is not None else None
    known = _person(account) if account is not None else None
    try:
        decision = admission.enter(who, comer.rules, known=known, invitation=invitation, email_taken=taken, now=now)
        if account is not None and not account.open(now):
            raise Denied(NOT_ADMITTED)
    except Denied:
        reason = AuditReason.NOT_INVITED if account is None else AuditReason.POLICY
        if account is not None and not account.open(now):
            reason = AuditReason.DISABLED
        subject = (SubjectKind.USER, account.id) if account is not None else None
        about = Details(method=comer.method, provider=comer.provider)
        making.trail.refused(EventKind.LOGIN, reason, subject, account=_name(comer), details=about)
        raise
    return decision


def _made(store: IdentityStore, making: Making, comer: Comer, decision: Create, now: datetime) -> Account:
    """A new account without a password, which this identity opens."""
    new = Account(
        id=PrincipalId(uuid7()),
        email=decision.email or "",
        display_name=_shown(decision.name) or decision.email or _shown(comer.who.subject) or comer.provider,
        role=Role(decision.role.value),
    )
    account = store.add_account(new)
    if account is None:  # somebody took the address just now
        raise Denied(NOT_ADMITTED)
    trail, about = making.trail.within(store.db), Details(method=comer.method, provider=comer.provider)
    about = msgspec.structs.replace(about, role_after=account.role.value)
    trail.record(EventKind.ACCOUNT_REGISTERED, (SubjectKind.USER, account.id), about, actor=acting(account.id))
    _linked(FederationStore(store.db), making, comer, account, now)
    return account


def _linked(federation: FederationStore, making: Making, comer: Comer, account: Account, now: datetime) -> LinkedIdentity:
    new = LinkedIdentity(
        id=IdentityId(uuid7()),
        person=account.id,
        way=comer.way,
        provider=comer.provider,
        issuer=comer.who.issuer,
        subject=comer.who.subject,
        added_at=now,
        last_seen_at=now,
    )
    if not federation.link(new):
        raise Conflict("That account was linked just now. Look at your settings.")
    about = Details(method=comer.method, provider=comer.provider)
    trail = making.trail.within(federation.db)
    trail.record(EventKind.ACCOUNT_LINKED, (SubjectKind.USER, account.id), about, actor=acting(account.id))
    return new


def _as_told(store: IdentityStore, making: Making, comer: Comer, account: Account, decision: Enter, now: datetime) -> Account:
    """The account with the role that its groups give there; all its sessions end when that is another one than before."""
    role = Role(decision.role.value) if decision.role is not None else account.role
    if role is account.role:
        return account
    PeopleStore(store.db).change(account.id, role=role.value)
    count = end_others(store, account.id, None, now)
    about = Details(provider=comer.provider, role_before=account.role.value, role_after=role.value, count=count)
    trail = making.trail.within(store.db)
    trail.record(EventKind.ROLE_CHANGED, (SubjectKind.USER, account.id), about, actor=SYSTEM, behalf_of=account.id)
    making.ephemeral.bump(account.id)  # last: a failure before it has ended nothing
    return msgspec.structs.replace(account, role=role)


def _joined(federation: FederationStore, making: Making, comer: Comer, outcome: Issued | Pending) -> None:
    """Keep where the session came from, also over the second factor that is still owed."""
    who = comer.who
    visit = Visit(provider=comer.provider, issuer=who.issuer, subject=who.subject, sid=who.sid, token=comer.token)
    if isinstance(outcome, Issued):
        federation.began(outcome.session.id, visit)
    else:
        making.ephemeral.put(_waiting(outcome.id), msgspec.json.encode(visit), outcome.seconds)


def take_up(store: IdentityStore, making: Making, pending: UUID, session: SessionId) -> None:
    """The second factor was shown, and the session began: join it to where its sign-in came from."""
    kept = making.ephemeral.take(_waiting(pending))
    if kept is not None:
        FederationStore(store.db).began(session, msgspec.json.decode(kept, type=Visit))


def _waiting(pending: UUID) -> str:
    return f"visit {pending}"


def _person(account: Account) -> Person:
    return Person(id=account.id, local_only=account.role is Role.OWNER)


def _name(comer: Comer) -> str:
    return f"{comer.who.issuer} {comer.who.subject}"


def _shown(name: str | None) -> str | None:
    """A name as we keep names: one line, and not too long."""
    text = " ".join((name or "").split())[:LONGEST_NAME]
    return text if text and text.isprintable() else None
