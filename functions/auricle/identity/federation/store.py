"""Who people are in other houses, and which of their sessions began there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, DateTime, ForeignKey, Index, LargeBinary, Row, Table, Text, UniqueConstraint, Uuid, func, select
from sqlalchemy.dialects.postgresql import insert

from auricle.access.model import PrincipalId
from auricle.access.sessions import SessionId
from auricle.access.store import sessions
from auricle.contract.store import Store
from auricle.identity.federation.model import IdentityId, LinkedIdentity, Visit
from auricle.identity.methods.model import Way
from auricle.schema import metadata

linked_identities = Table(
    "linked_identities",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("people.principal_id", ondelete="CASCADE"), nullable=False),
    Column("way", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("added_at", DateTime(timezone=True), nullable=False),
    Column("last_seen_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("issuer", "subject", name="linked_identities_subject"),
    Index("linked_identities_by_person", "principal_id"),
)
visits = Table(
    "visits",
    metadata,
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("provider", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sid", Text),
    Column("token", LargeBinary),
    Index("visits_by_subject", "issuer", "subject"),
    Index("visits_by_sid", "issuer", "sid"),
)


class FederationStore(Store):
    """Linked identities and visits."""

    def hold(self, issuer: str, subject: str) -> None:
        """Whoever else comes as the same waits until this unit of work has ended: one account is made, not two."""
        self.db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{issuer}\n{subject}", 7010))))

    def find(self, issuer: str, subject: str) -> LinkedIdentity | None:
        """Who that is here."""
        mine = (linked_identities.c.issuer == issuer, linked_identities.c.subject == subject)
        row = self.db.execute(select(linked_identities).where(*mine)).first()
        return None if row is None else _identity(row)

    def link(self, new: LinkedIdentity) -> bool:
        """Keep it; False when somebody here is that already."""
        values = {name: getattr(new, name) for name in ("id", "provider", "issuer", "subject", "added_at", "last_seen_at")}
        row = insert(linked_identities).values(principal_id=new.person, way=new.way.value, **values)
        return bool(self.db.execute(row.on_conflict_do_nothing()).rowcount)

    def seen(self, id: IdentityId, now: datetime) -> None:
        """Note that somebody came as this."""
        self.db.execute(linked_identities.update().where(linked_identities.c.id == id).values(last_seen_at=now))

    def of(self, person: PrincipalId) -> list[LinkedIdentity]:
        """Somebody's, the newest first."""
        query = select(linked_identities).where(linked_identities.c.principal_id == person)
        return [_identity(row) for row in self.db.execute(query.order_by(linked_identities.c.id.desc()))]

    def unlink(self, person: PrincipalId, id: IdentityId) -> None:
        """Forget it."""
        mine = (linked_identities.c.id == id, linked_identities.c.principal_id == person)
        self.db.execute(linked_identities.delete().where(*mine))

    def forget_issuer(self, issuer: str) -> int:
        """Forget who people are there; how many they were."""
        return int(self.db.execute(linked_identities.delete().where(linked_identities.c.issuer == issuer)).rowcount)

    def began(self, session: SessionId, visit: Visit) -> None:
        """Note where a session's sign-in came from."""
        values = {name: getattr(visit, name) for name in Visit.__struct_fields__}
        self.db.execute(visits.insert().values(session_id=session, **values))

    def moved(self, before: SessionId, after: SessionId) -> None:
        """The session goes on under another id: whoever ends it there ends it still."""
        self.db.execute(visits.update().where(visits.c.session_id == before).values(session_id=after))

    def visit(self, session: SessionId) -> Visit | None:
        """Where a session's sign-in came from; None for one that began here."""
        row = self.db.execute(select(visits).where(visits.c.session_id == session)).first()
        return None if row is None else _visit(row)

    def visiting(self, issuer: str, subject: str | None, sid: str | None) -> list[tuple[SessionId, PrincipalId]]:
        """The living sessions here that are called `sid` there; without one, all of `subject`. With both, both must agree."""
        which = [visits.c.issuer == issuer, sessions.c.ended_at.is_(None)]
        which += [visits.c.sid == sid] if sid is not None else []
        which += [visits.c.subject == subject] if subject is not None else []
        query = select(sessions.c.id, sessions.c.principal_id).join(visits, visits.c.session_id == sessions.c.id)
        rows = self.db.execute(query.where(*which).order_by(sessions.c.id))
        return [(SessionId(row.id), PrincipalId(row.principal_id)) for row in rows]


def _identity(row: Row[Any]) -> LinkedIdentity:
    return LinkedIdentity(
        id=IdentityId(row.id),
        person=PrincipalId(row.principal_id),
        way=Way(row.way),
        provider=row.provider,
        issuer=row.issuer,
        subject=row.subject,
        added_at=row.added_at,
        last_seen_at=row.last_seen_at,
    )


def _visit(row: Row[Any]) -> Visit:
    token = None if row.token is None else bytes(row.token)
    return Visit(provider=row.provider, issuer=row.issuer, subject=row.subject, sid=row.sid, token=token)
