"""People, their passwords, and their sessions with the refresh tokens that keep them going."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Column, DateTime, ForeignKey, Index, LargeBinary, Row, Table, Text, Uuid, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from auricle.access.model import LOCAL, PERSON, PrincipalId
from auricle.access.permissions import Role
from auricle.access.sessions import Client, Refresh, Session, SessionId, Spent
from auricle.access.store import people, principals, session_of, session_values, sessions
from auricle.contract.ids import uuid7
from auricle.contract.store import Store
from auricle.errors import Conflict
from auricle.identity.lockout import account_key
from auricle.identity.model import Account, AccountState
from auricle.identity.passwords import Kept
from auricle.schema import metadata

SETTING_UP = 7004
"""The lock of the very first account: two who hold the code at once make one owner."""

password_history = Table(
    "password_history",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("people.principal_id", ondelete="CASCADE"), nullable=False),
    Column("hash", Text, nullable=False),
    Column("replaced_at", DateTime(timezone=True), nullable=False),
    Index("password_history_by_person", "principal_id", "id"),
)
refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("spent_at", DateTime(timezone=True)),
    Column("spent_fingerprint", Text),
    Column("salt", LargeBinary),
    Column("successor", LargeBinary),
    Index("refresh_tokens_by_session", "session_id"),
    Index("refresh_tokens_live", "session_id", unique=True, postgresql_where=text("spent_at is null")),
)


class IdentityStore(Store):
    """Accounts and sessions. What is changed is read with its row locked: the `locked_…` methods."""

    def forget_sessions(self, days: int, most: int) -> int:
        """Drop sessions that ended so long ago, with their refresh tokens, `most` at once; returns how many."""
        old = func.now() - timedelta(days=days)
        over = select(sessions.c.id).where(or_(sessions.c.ended_at < old, sessions.c.ends_at < old)).limit(most)
        return int(self.db.execute(sessions.delete().where(sessions.c.id.in_(over))).rowcount)

    def begin_setup(self) -> bool:
        """Whether there is nobody yet; whoever else asks waits until this unit of work has ended."""
        self.db.execute(select(func.pg_advisory_xact_lock(SETTING_UP)))
        return self.nobody_yet()

    def nobody_yet(self) -> bool:
        """Whether nobody has an account."""
        return not self.db.execute(select(exists().select_from(people))).scalar()

    def add_owner(self, account: Account, kept: Kept) -> Account:
        """The first account: the installation's own principal, so that what was uploaded before is its own."""
        local = insert(principals).values(id=account.id, kind=LOCAL, name=LOCAL)
        self.db.execute(local.on_conflict_do_nothing())
        id = self.db.execute(select(principals.c.id).where(principals.c.name == LOCAL)).scalar_one()
        account = msgspec.structs.replace(account, id=PrincipalId(id), role=Role.OWNER)
        self.db.execute(people.insert().values(_values(account, kept)))
        return account

    def add_account(self, account: Account, kept: Kept | None = None) -> Account | None:
        """Somebody new; None when the address is another's already, of which no stranger is told.

        `kept` None: signs in without a password. Of two who come with one address at once, the second waits for the first.
        """
        self.db.execute(principals.insert().values(id=account.id, kind=PERSON, name=str(account.id)))
        new = insert(people).values(_values(account, kept or Kept())).on_conflict_do_nothing(index_elements=["email_key"])
        row = self.db.execute(new.returning(*people.c)).first()
        if row is None:
            self.db.execute(principals.delete().where(principals.c.id == account.id))
            return None
        return _account(row)

    def by_email(self, email: str) -> Account | None:
        """Whose address it is, however it is typed."""
        row = self.db.execute(select(people).where(people.c.email_key == account_key(email))).first()
        return None if row is None else _account(row)

    def account(self, id: PrincipalId) -> Account | None:
        """The account of a principal; None for one that is no person."""
        row = self.db.execute(select(people).where(people.c.principal_id == id)).first()
        return None if row is None else _account(row)

    def locked_account(self, id: PrincipalId) -> Account | None:
        """The account, held until the unit of work ends: sign-ins and changes of one person come one after another."""
        row = self.db.execute(select(people).where(people.c.principal_id == id).with_for_update()).first()
        return None if row is None else _account(row)

    def kept(self, account: Account) -> Kept:
        """Everything that is known of an account's passwords."""
        query = select(password_history.c.hash).where(password_history.c.principal_id == account.id)
        earlier = self.db.execute(query.order_by(password_history.c.id.desc())).scalars()
        current = (account.password_hash,) if account.password_hash else ()
        return Kept(hashes=(*current, *earlier), changed_at=account.changed_at, must_change=account.must_change)

    def rename(self, id: PrincipalId, display_name: str) -> None:
        """What they are called from now on."""
        self.db.execute(people.update().where(people.c.principal_id == id).values(display_name=display_name))

    def rehash(self, id: PrincipalId, hash: str) -> None:
        """The same password, kept under newer parameters."""
        self.db.execute(people.update().where(people.c.principal_id == id).values(password_hash=hash))

    def choose_password(self, account: Account, kept: Kept) -> None:
        """The newest of `kept` becomes the current one; of the others so many stay as `kept` holds."""
        if account.password_hash is not None:
            row = {"id": uuid7(), "principal_id": account.id, "hash": account.password_hash, "replaced_at": kept.changed_at}
            self.db.execute(password_history.insert().values(row))
        mine = password_history.c.principal_id == account.id
        newest = select(password_history.c.id).where(mine).order_by(password_history.c.id.desc()).limit(len(kept.hashes) - 1)
        self.db.execute(password_history.delete().where(mine, password_history.c.id.not_in(newest)))
        changed = {"password_hash": kept.hashes[0], "changed_at": kept.changed_at, "must_change": kept.must_change}
        self.db.execute(people.update().where(people.c.principal_id == account.id).values(changed))

    def signed_in(self, id: PrincipalId, now: datetime, *, must_change: bool) -> None:
        """Note the sign-in, and what the person must do before anything else."""
        values = {"last_seen_at": now, "must_change": must_change}
        self.db.execute(people.update().where(people.c.principal_id == id).values(values))

    def sessions_of(self, id: PrincipalId) -> list[Session]:
        """All that have not ended, the oldest first; some may be over without anybody having noted it."""
        query = select(sessions).where(sessions.c.principal_id == id, sessions.c.ended_at.is_(None))
        return [session_of(row) for row in self.db.execute(query.order_by(sessions.c.began_at, sessions.c.id))]

    def session(self, id: UUID) -> Session | None:
        """One, ended or not."""
        row = self.db.execute(select(sessions).where(sessions.c.id == id)).first()
        return None if row is None else session_of(row)

    def clients_of(self, id: PrincipalId) -> list[tuple[SessionId, Client]]:
        """Where somebody was signed in last, at most a hundred times, in sessions that ended or not."""
        query = select(sessions).where(sessions.c.principal_id == id).order_by(sessions.c.began_at.desc()).limit(100)
        return [(session.id, session.client) for session in map(session_of, self.db.execute(query))]

    def locked_session(self, id: SessionId) -> Session | None:
        """The session, held until the unit of work ends."""
        row = self.db.execute(select(sessions).where(sessions.c.id == id).with_for_update()).first()
        return None if row is None else session_of(row)

    def add_session(self, session: Session, refresh: Refresh) -> None:
        """A new one with its first token."""
        self.db.execute(sessions.insert().values(session_values(session)))
        self._add_refresh(refresh)

    def store_sessions(self, changed: Iterable[Session]) -> None:
        """As they are now; one that has ended stays as it ended."""
        for session in changed:
            mine = (sessions.c.id == session.id, sessions.c.ended_at.is_(None))
            self.db.execute(sessions.update().where(*mine).values(session_values(session)))

    def session_of_refresh(self, digest: bytes) -> SessionId | None:
        """Which session a refresh token belongs to, before either is locked."""
        found = self.db.execute(select(refresh_tokens.c.session_id).where(refresh_tokens.c.digest == digest)).scalar()
        return None if found is None else SessionId(found)

    def refresh(self, digest: bytes) -> Refresh | None:
        """The refresh token; read with its session locked."""
        row = self.db.execute(select(refresh_tokens).where(refresh_tokens.c.digest == digest)).first()
        return None if row is None else _refresh(row)

    def live_refresh(self, session: SessionId) -> Refresh | None:
        """The one token of a session that was not spent yet."""
        live = (refresh_tokens.c.session_id == session, refresh_tokens.c.spent_at.is_(None))
        row = self.db.execute(select(refresh_tokens).where(*live)).first()
        return None if row is None else _refresh(row)

    def rotate(self, spent: Refresh, made: Refresh) -> None:
        """Spend one token for the next. The salts of earlier uses go: nothing needs them any more."""
        if spent.spent is None:
            raise Conflict("A token that is not spent has no successor.")
        earlier = (refresh_tokens.c.session_id == spent.session, refresh_tokens.c.salt.is_not(None))
        self.db.execute(refresh_tokens.update().where(*earlier).values(salt=b""))
        use = {
            "spent_at": spent.spent.at,
            "spent_fingerprint": spent.spent.fingerprint,
            "salt": spent.spent.salt,
            "successor": spent.spent.successor,
        }
        self.db.execute(refresh_tokens.update().where(refresh_tokens.c.digest == spent.digest).values(use))
        self._add_refresh(made)

    def _add_refresh(self, refresh: Refresh) -> None:
        values = {"digest": refresh.digest, "session_id": refresh.session, "ends_at": refresh.ends}
        self.db.execute(refresh_tokens.insert().values(values))


def _values(account: Account, kept: Kept) -> dict[str, Any]:
    return {
        "principal_id": account.id,
        "email": account.email or None,
        "email_key": account_key(account.email) or None,
        "display_name": account.display_name,
        "role": account.role.value,
        "state": account.state.value,
        "password_hash": kept.hashes[0] if kept.hashes else None,
        "changed_at": kept.changed_at,
        "must_change": kept.must_change,
        "expires_at": account.expires_at,
    }


def _account(row: Row[Any]) -> Account:
    return Account(
        id=PrincipalId(row.principal_id),
        email=row.email or "",
        display_name=row.display_name,
        role=Role(row.role),
        state=AccountState(row.state),
        password_hash=row.password_hash,
        changed_at=row.changed_at,
        must_change=row.must_change,
        expires_at=row.expires_at,
        last_seen_at=row.last_seen_at,
        second_factor=row.second_factor,
    )


def _refresh(row: Row[Any]) -> Refresh:
    spent = None
    if row.spent_at is not None:
        salt, successor = bytes(row.salt or b""), bytes(row.successor or b"")
        spent = Spent(at=row.spent_at, fingerprint=row.spent_fingerprint or "", salt=salt, successor=successor)
    return Refresh(digest=bytes(row.digest), session=SessionId(row.session_id), ends=row.ends_at, spent=spent)
