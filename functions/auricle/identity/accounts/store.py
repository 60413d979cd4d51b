"""What waits for somebody to follow a link: one-time tokens, invitations, and addresses that are not proved yet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Index, LargeBinary, Row, Table, Text, Uuid, func, select
from sqlalchemy.exc import IntegrityError

from auricle.access.model import PrincipalId
from auricle.access.permissions import Role
from auricle.access.store import people
from auricle.contract.store import Store
from auricle.identity.accounts.model import AddressChange, ChangeId, Coming, Invitation, InvitationId
from auricle.identity.lockout import account_key
from auricle.identity.onetime import OneTime, Purpose, digest
from auricle.schema import metadata

one_time_tokens = Table(
    "one_time_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True)),
    Index("one_time_tokens_by_subject", "subject", "purpose"),
    Index("one_time_tokens_ends", "ends_at"),
)
invitations = Table(
    "invitations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),  # invited, or registered: they asked for it themselves
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("invited_by", Uuid, ForeignKey("principals.id", ondelete="SET NULL")),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("accepted_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("by_house", Boolean, nullable=False, server_default="false"),
    Index("invitations_by_address", "email_key"),
)
address_changes = Table(
    "address_changes",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("people.principal_id", ondelete="CASCADE"), nullable=False),
    Column("email", Text, nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("former", Text),  # the address before, once it is changed
    Index("address_changes_by_person", "principal_id"),
)


class LinkStore(Store):
    """Tokens that were mailed. Only their digests are here."""

    def add(self, token: OneTime) -> None:
        """Keep a new one; the earlier ones to the same end stay good until one of them is used."""
        values = {"digest": token.digest, "purpose": token.purpose.value, "subject": token.subject, "ends_at": token.ends}
        self.db.execute(one_time_tokens.insert().values(values))

    def find(self, purposes: Iterable[Purpose], token: str) -> OneTime | None:
        """What is kept of a token, if it is for one of these purposes."""
        digests = [digest(purpose, token) for purpose in purposes]
        row = self.db.execute(select(one_time_tokens).where(one_time_tokens.c.digest.in_(digests))).first()
        if row is None:
            return None
        return OneTime(
            purpose=Purpose(row.purpose), digest=bytes(row.digest), subject=row.subject, ends=row.ends_at, used_at=row.used_at
        )

    def use_up(self, used: OneTime) -> bool:
        """Whether this use is the first: of two at once, one is. All others for the same subject and purpose are over, too."""
        one = one_time_tokens.update().where(one_time_tokens.c.digest == used.digest, one_time_tokens.c.used_at.is_(None))
        if not self.db.execute(one.values(used_at=used.used_at)).rowcount:
            return False
        self.forget(used.purpose, used.subject)
        return True

    def forget(self, purpose: Purpose, subject: str) -> None:
        """End the tokens for this that were not used."""
        mine = (one_time_tokens.c.subject == subject, one_time_tokens.c.purpose == purpose.value)
        self.db.execute(one_time_tokens.delete().where(*mine, one_time_tokens.c.used_at.is_(None)))

    def sweep(self) -> None:
        """Remove what has ended: tokens and addresses nobody came for after a day, invitations after a month."""
        self.db.execute(one_time_tokens.delete().where(one_time_tokens.c.ends_at < func.now() - timedelta(days=1)))
        self.db.execute(address_changes.delete().where(address_changes.c.ends_at < func.now() - timedelta(days=1)))
        asked = (invitations.c.kind == Coming.REGISTERED.value, invitations.c.ends_at < func.now() - timedelta(days=1))
        self.db.execute(invitations.delete().where(*asked))
        self.db.execute(invitations.delete().where(invitations.c.ends_at < func.now() - timedelta(days=30)))


class InvitationStore(Store):
    """Invitations, and registrations that were not confirmed yet."""

    def add(self, new: Invitation) -> None:
        """Keep a new one; an earlier one of its kind to the same address is over."""
        earlier = (invitations.c.email_key == new.key, invitations.c.kind == new.kind.value)
        self.db.execute(
            invitations.update().where(*earlier, *_OPEN).values(revoked_at=func.now()),
        )
        kept = {"kind": new.kind.value, "email": new.email, "email_key": new.key, "role": new.role.value}
        times = {"created_at": new.created_at, "ends_at": new.ends_at}
        by = {"invited_by": new.invited_by, "by_house": new.by_house}
        self.db.execute(invitations.insert().values(id=new.id, **by, **kept, **times))

    def get(self, id: UUID) -> Invitation | None:
        """One."""
        row = self.db.execute(select(invitations).where(invitations.c.id == id)).first()
        return None if row is None else _invitation(row)

    def open_to(self, email: str) -> Invitation | None:
        """The invitation (not a registration) of an address that can still be accepted."""
        to = (invitations.c.email_key == account_key(email), invitations.c.kind == Coming.INVITED.value)
        row = self.db.execute(select(invitations).where(*to, *_OPEN, invitations.c.ends_at > func.now())).first()
        return None if row is None else _invitation(row)

    def invited(self, limit: int, before: InvitationId | None) -> list[Invitation]:
        """Those that somebody sent, newest first, with what became of them."""
        query = select(invitations).where(invitations.c.kind == Coming.INVITED.value)
        if before is not None:
            query = query.where(invitations.c.id < before)
        return [_invitation(row) for row in self.db.execute(query.order_by(invitations.c.id.desc()).limit(limit))]

    def accept(self, id: InvitationId, now: datetime) -> bool:
        """Whether this is the one time that it is accepted."""
        return self._ended(id, accepted_at=now)

    def revoke(self, id: InvitationId, now: datetime) -> bool:
        """Take it back; False when it is over already."""
        return self._ended(id, revoked_at=now)

    def sent(self, id: UUID) -> None:
        """Note that its letter was handed over."""
        self.db.execute(invitations.update().where(invitations.c.id == id).values(sent_at=func.now()))

    def _ended(self, id: InvitationId, **how: datetime) -> bool:
        statement = invitations.update().where(invitations.c.id == id, *_OPEN).values(**how)
        return bool(self.db.execute(statement).rowcount)


class AddressStore(Store):
    """Addresses that people want to have instead of theirs."""

    def ask(self, change: AddressChange) -> None:
        """Keep what somebody wants; what they wanted before is over."""
        mine = (address_changes.c.principal_id == change.person, address_changes.c.former.is_(None))
        self.db.execute(address_changes.delete().where(*mine))
        values = {"id": change.id, "principal_id": change.person, "email": change.email, "ends_at": change.ends_at}
        self.db.execute(address_changes.insert().values(values))

    def get(self, id: UUID) -> AddressChange | None:
        """One, done or not."""
        row = self.db.execute(select(address_changes).where(address_changes.c.id == id)).first()
        if row is None:
            return None
        return AddressChange(
            id=ChangeId(row.id), person=PrincipalId(row.principal_id), email=row.email, ends_at=row.ends_at, former=row.former
        )

    def apply(self, change: AddressChange, former: str) -> bool:
        """Make the address theirs; False when it has become somebody else's. `former` is kept for the letter to it."""
        with self.db.begin_nested() as savepoint:
            try:
                values = {"email": change.email, "email_key": account_key(change.email)}
                self.db.execute(people.update().where(people.c.principal_id == change.person).values(values))
            except IntegrityError:
                savepoint.rollback()
                return False
        self.db.execute(address_changes.update().where(address_changes.c.id == change.id).values(former=former))
        return True


_OPEN = (invitations.c.accepted_at.is_(None), invitations.c.revoked_at.is_(None))


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(
        id=InvitationId(row.id),
        kind=Coming(row.kind),
        email=row.email,
        role=Role(row.role),
        invited_by=PrincipalId(row.invited_by) if row.invited_by else None,
        created_at=row.created_at,
        ends_at=row.ends_at,
        sent_at=row.sent_at,
        accepted_at=row.accepted_at,
        revoked_at=row.revoked_at,
        by_house=row.by_house,
    )
