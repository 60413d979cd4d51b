"""Principals, the people among them, their sessions and tokens, their groups, and what was granted to them."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from auricle.access.model import LOCAL, SERVICE, SERVICE_PREFIX, Known, Principal, PrincipalId, ThingKind, Token, TokenId
from auricle.access.permissions import Grant, Role
from auricle.access.sessions import Client, Ending, Proof, Session, SessionId, Why
from auricle.contract.store import Store
from auricle.schema import metadata

principals = Table(
    "principals",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),  # local: the installation itself; person: somebody who came later; service
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("role", Text),  # a service account's; people's is in `people`
    Column("ended_at", DateTime(timezone=True)),  # a service account's
    Column("banner", Text),  # digest of the notice that was acknowledged last
)
tokens = Table(
    "tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
)
people = Table(
    "people",
    metadata,
    Column("principal_id", Uuid, ForeignKey("principals.id", ondelete="CASCADE"), primary_key=True),
    Column("email", Text),  # as it was typed; none: another house vouches for them, and for no address
    Column("email_key", Text, unique=True),  # the same for all ways to type it
    Column("display_name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="active"),
    Column("password_hash", Text),  # none: signs in in another way
    Column("changed_at", DateTime(timezone=True)),  # the password
    Column("must_change", Boolean, nullable=False, server_default="false"),
    Column("expires_at", DateTime(timezone=True)),  # the account
    Column("last_seen_at", DateTime(timezone=True)),
    Column("second_factor", Boolean, nullable=False, server_default="false"),  # whether there is one to be shown
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", ondelete="CASCADE"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("proofs", JSONB, nullable=False),
    Column("device", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("ended_why", Text),
    Column("banner", Text),  # digest of the notice that was acknowledged in it
    Index("sessions_by_person", "principal_id", "began_at"),
)
groups = Table(
    "groups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("external", Boolean, nullable=False, server_default="false"),  # its members are another house's to say
)
group_members = Table(
    "group_members",
    metadata,
    Column("group_id", Uuid, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("principal_id", Uuid, ForeignKey("principals.id", ondelete="CASCADE"), primary_key=True),
    Index("group_members_by_person", "principal_id"),
)
grants = Table(
    "grants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("thing", Uuid, nullable=False),
    Column("principal_id", Uuid, ForeignKey("principals.id", ondelete="CASCADE")),
    Column("group_id", Uuid, ForeignKey("groups.id", ondelete="CASCADE")),
    Column("level", SmallInteger, nullable=False),
    Column("given_by", Uuid, ForeignKey("principals.id", ondelete="SET NULL")),
    Column("given_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True)),
    CheckConstraint("(principal_id is null) <> (group_id is null)", name="grants_one_subject"),
    CheckConstraint("level between 1 and 4", name="grants_level"),
    UniqueConstraint("kind", "thing", "principal_id", name="grants_to_a_person"),
    UniqueConstraint("kind", "thing", "group_id", name="grants_to_a_group"),
    Index("grants_of_person", "principal_id", "kind"),
    Index("grants_of_group", "group_id", "kind"),
)

_key = ("key", LargeBinary)
_until = ("until", DateTime(timezone=True))
EPHEMERAL = (
    Table("ephemeral_rates", metadata, Column(*_key, primary_key=True), Column("full_at", _until[1], nullable=False)),
    Table(
        "ephemeral_marks",
        metadata,
        Column(*_key, primary_key=True),
        Column(*_until, nullable=False),
        Index("ephemeral_marks_until", "until"),
    ),
    Table(
        "ephemeral_secrets",
        metadata,
        Column(*_key, primary_key=True),
        Column("sealed", LargeBinary, nullable=False),
        Column(*_until, nullable=False),
    ),
    Table(
        "ephemeral_states",
        metadata,
        Column(*_key, primary_key=True),
        Column("value", LargeBinary, nullable=False),
        Column(*_until, nullable=False),
    ),
    Table("ephemeral_epochs", metadata, Column(*_key, primary_key=True), Column("epoch", BigInteger, nullable=False)),
)
"""What `adapters.ephemeral.postgres` keeps, which says its own SQL: described so that it is compared with the migrations."""
USED_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a write per request would be a lot of writing for nothing."""


class Thing(NamedTuple):
    """What a request names. `named` tells of each `id` its `owner`, and the `file_id` whose grants open it (null: none do)."""

    named: Any
    id: UUID


class TokenStore(Store):
    """Credentials."""

    def principal_named(self, id: PrincipalId, kind: str, name: str) -> Principal:
        """The principal of that name, made now if there is none."""
        self.db.execute(insert(principals).values(id=id, kind=kind, name=name).on_conflict_do_nothing())
        row = self.db.execute(_known(None).where(principals.c.name == name)).one()
        return _principal(row)

    def by_digest(self, digest: bytes, thing: Thing | None = None) -> Known | None:
        """Whose token it is, while it is valid, and what they were given on `thing`. One query."""
        row = self.db.execute(_by_token(_named(thing)), {"digest": digest, **_asked(thing)}).first()
        if row is None:
            return None
        credential = {"scopes": frozenset(row.scopes), "token_id": TokenId(row.token_id)}
        principal = msgspec.structs.replace(_principal(row), **credential)
        return Known(principal=principal, grant=_grant(row, thing), unnoted=row.stale, banner=row.banner)

    def used(self, id: TokenId) -> None:
        """Note the use; `Known.unnoted` says when there is something new to note."""
        self.db.execute(tokens.update().where(tokens.c.id == id).values(last_used_at=func.now()))

    def add(self, token: Token, owner: PrincipalId, digest: bytes) -> Token:
        """Keep a new token, by its digest."""
        row = self.db.execute(
            tokens.insert()
            .values(
                id=token.id,
                principal_id=owner,
                name=token.name,
                digest=digest,
                hint=token.hint,
                scopes=list(token.scopes),
                expires_at=token.expires_at,
            )
            .returning(*tokens.c)
        ).one()
        return _token(row)

    def of(self, owner: PrincipalId, limit: int, before: TokenId | None) -> list[Token]:
        """Tokens that are not revoked, newest first."""
        query = select(tokens).where(tokens.c.principal_id == owner, tokens.c.revoked_at.is_(None))
        if before is not None:
            query = query.where(tokens.c.id < before)
        return [_token(row) for row in self.db.execute(query.order_by(tokens.c.id.desc()).limit(limit))]

    def revoke(self, owner: PrincipalId, id: TokenId) -> bool:
        """End it; False when there is no such token."""
        statement = tokens.update().where(tokens.c.id == id, tokens.c.principal_id == owner, tokens.c.revoked_at.is_(None))
        return bool(self.db.execute(statement.values(revoked_at=func.now())).rowcount)


class SessionStore(Store):
    """Sessions, as the door sees them."""

    def of(self, user: PrincipalId, id: SessionId, thing: Thing | None = None) -> tuple[Known, Session] | None:
        """The person as they are now, their session (ended ones, too), and what they were given on `thing`. One query."""
        row = self.db.execute(_by_session(_named(thing)), {"user": user, "session": id, **_asked(thing)}).first()
        if row is None:
            return None
        principal = msgspec.structs.replace(_principal(row), session_id=id)
        known = Known(principal=principal, grant=_grant(row, thing), second_factor=bool(row.second_factor), banner=row.banner)
        return known, session_of(row, "session_")

    def person(self, user: PrincipalId, thing: Thing | None = None) -> Known | None:
        """The person as they are now, who has no session yet."""
        row = self.db.execute(_known(_named(thing)).where(principals.c.id == user), _asked(thing)).first()
        if row is None:
            return None
        return Known(
            principal=_principal(row), grant=_grant(row, thing), second_factor=bool(row.second_factor), banner=row.banner
        )

    def saw(self, id: SessionId, at: datetime) -> None:
        """Note the use; never brings an ended session back."""
        mine = (sessions.c.id == id, sessions.c.ended_at.is_(None), sessions.c.seen_at < at)
        self.db.execute(sessions.update().where(*mine).values(seen_at=at))


def session_of(row: Row[Any], prefix: str = "") -> Session:
    """The session in a row of `sessions`, whose columns may be called with a `prefix`."""
    kept = {column.name: getattr(row, prefix + column.name) for column in sessions.c}
    ended = None if kept["ended_at"] is None else Ending(kept["ended_at"], Why(kept["ended_why"]))
    return Session(
        id=SessionId(kept["id"]),
        user=PrincipalId(kept["principal_id"]),
        epoch=kept["epoch"],
        began=kept["began_at"],
        seen=kept["seen_at"],
        ends=kept["ends_at"],
        proofs=msgspec.convert(kept["proofs"], tuple[Proof, ...]),
        client=Client(device=kept["device"], place=kept["place"], fingerprint=kept["fingerprint"]),
        ended=ended,
        banner=kept["banner"],
    )


def session_values(session: Session) -> dict[str, Any]:
    """The row that `session_of` reads."""
    return {
        "id": session.id,
        "principal_id": session.user,
        "epoch": session.epoch,
        "began_at": session.began,
        "seen_at": session.seen,
        "ends_at": session.ends,
        "proofs": msgspec.to_builtins(session.proofs),
        "device": session.client.device,
        "place": session.client.place,
        "fingerprint": session.client.fingerprint,
        "ended_at": session.ended.at if session.ended else None,
        "ended_why": session.ended.why.value if session.ended else None,
        "banner": session.banner,
    }


def living() -> Any:
    """That a row of `grants` has not expired."""
    return or_(grants.c.expires_at.is_(None), grants.c.expires_at > func.now())


def held_by(who: Any) -> Any:
    """That a row of `grants` is `who`'s, their own or as a member of a group."""
    theirs = select(group_members.c.group_id).where(group_members.c.principal_id == who).correlate(principals)
    return or_(grants.c.principal_id == who, grants.c.group_id.in_(theirs))


@cache
def _by_session(named: Any) -> Any:
    """`SessionStore.of`, made once: every request asks it, and building and hashing it costs more than running it."""
    query = _known(named, *(column.label(f"session_{column.name}") for column in sessions.c))
    query = query.join(sessions, sessions.c.principal_id == principals.c.id)
    return query.where(principals.c.id == bindparam("user"), sessions.c.id == bindparam("session"))


@cache
def _by_token(named: Any) -> Any:
    """`TokenStore.by_digest`, made once."""
    stale = or_(tokens.c.last_used_at.is_(None), tokens.c.last_used_at < func.now() - USED_EVERY)
    query = _known(named, tokens.c.id.label("token_id"), tokens.c.scopes, stale.label("stale"))
    query = query.join(tokens, tokens.c.principal_id == principals.c.id).where(tokens.c.digest == bindparam("digest"))
    return query.where(tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > func.now()))


def _named(thing: Thing | None) -> Any:
    return None if thing is None else thing.named


def _asked(thing: Thing | None) -> dict[str, UUID]:
    """The value of the parameter that `_level` has."""
    return {} if thing is None else {"thing": thing.id}


def _known(named: Any, *more: Any) -> Any:
    """A query for principals, the people that they are, and the highest grant that each holds on the `thing` among `named`."""
    is_open = and_(people.c.state == "active", or_(people.c.expires_at.is_(None), people.c.expires_at > func.now()))
    person = (people.c.display_name, people.c.role, people.c.must_change, people.c.second_factor, is_open.label("is_open"))
    service = (principals.c.role.label("service_role"), principals.c.ended_at)
    level = literal(None) if named is None else _level(named)
    columns = (
        principals.c.id,
        principals.c.kind,
        principals.c.name,
        principals.c.banner,
        *person,
        *service,
        level.label("level"),
        *more,
    )
    return select(*columns).select_from(principals).outerjoin(people, people.c.principal_id == principals.c.id)


def _level(named: Any) -> Any:
    """The principal's level on the `thing`; null when there is no such thing."""
    of_file = (grants.c.kind == ThingKind.FILE, grants.c.thing == named.c.file_id)
    shared = select(func.max(grants.c.level)).where(*of_file, living(), held_by(principals.c.id))
    given = func.coalesce(shared.correlate(principals, named).scalar_subquery(), int(Grant.NOTHING))
    level = case((named.c.owner == principals.c.id, int(Grant.OWNER)), else_=given)
    return select(level).where(named.c.id == bindparam("thing")).correlate(principals).scalar_subquery()


def _grant(row: Row[Any], thing: Thing | None) -> Grant | None:
    """What does not exist was given to nobody: it is refused like everything hidden."""
    return None if thing is None else Grant(row.level or 0)


def _principal(row: Row[Any]) -> Principal:
    """Without roles when the account is closed; the installation itself is an owner until it becomes a person."""
    if row.role is not None:
        roles = frozenset({Role(row.role)}) if row.is_open else frozenset()
    elif row.kind == SERVICE and row.ended_at is None:
        roles = frozenset({Role(row.service_role)})
    else:
        roles = frozenset({Role.OWNER}) if row.kind == LOCAL else frozenset()
    return Principal(
        id=row.id,
        name=row.display_name or row.name.removeprefix(SERVICE_PREFIX),
        roles=roles,
        must_change=bool(row.must_change),
        service=row.kind == SERVICE,
        installation=row.kind == LOCAL and row.role is None,
    )


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
