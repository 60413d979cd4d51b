"""What is kept of second factors. It is changed with the account's row locked; what may be used once, by its condition."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    LargeBinary,
    Row,
    Table,
    Text,
    Uuid,
    and_,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from auricle.access.model import PrincipalId
from auricle.access.store import people
from auricle.admin.audit.kinds import Factor
from auricle.contract.store import Store
from auricle.identity.backupcodes import BackupCode
from auricle.identity.factors.model import Authenticator, Registered
from auricle.ports.passkeys import Passkey
from auricle.schema import metadata


def _person(name: str = "principal_id", **more: Any) -> Column[UUID]:
    return Column(name, Uuid, ForeignKey("people.principal_id", ondelete="CASCADE"), **more)


authenticators = Table(
    "authenticators",
    metadata,
    _person(primary_key=True),
    Column("sealed", LargeBinary),  # the secret in use; none: nothing was confirmed yet
    Column("confirmed_at", DateTime(timezone=True)),
    Column("last_step", BigInteger),  # of the last code that was accepted
    Column("offered", LargeBinary),  # a secret that waits for its first code
    Column("offered_at", DateTime(timezone=True)),
)
backup_codes = Table(
    "backup_codes",
    metadata,
    _person(primary_key=True),
    Column("sign", Text, primary_key=True),
    Column("hash", Text, nullable=False),
)
passkey_handles = Table(
    "passkey_handles",
    metadata,
    _person(primary_key=True),
    Column("handle", LargeBinary, nullable=False, unique=True),
)
passkeys = Table(
    "passkeys",
    metadata,
    Column("id", Uuid, primary_key=True),
    _person(nullable=False, index=True),
    Column("credential", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("passwordless", Boolean, nullable=False),
    Column("synced", Boolean, nullable=False),
    Column("backed_up", Boolean, nullable=False),
    Column("aaguid", Text, nullable=False),
    Column("transports", ARRAY(Text), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("used_at", DateTime(timezone=True)),
)


class FactorStore(Store):
    """Authenticators, backup codes and passkeys."""

    def shown(self, id: PrincipalId) -> tuple[Factor, ...]:
        """What somebody can show; backup codes stand in for another factor and are none alone."""
        has = self.db.execute(
            select(
                exists().where(authenticators.c.principal_id == id, authenticators.c.confirmed_at.is_not(None)).label("totp"),
                exists().where(passkeys.c.principal_id == id).label("passkey"),
                exists().where(backup_codes.c.principal_id == id).label("backup"),
            )
        ).one()
        factors = ((Factor.TOTP, has.totp), (Factor.PASSKEY, has.passkey), (Factor.BACKUP_CODE, has.backup))
        return tuple(factor for factor, held in factors if held)

    def settle(self, id: PrincipalId) -> bool:
        """Note at the account whether its person has a second factor (the door reads it there); called after every change."""
        confirmed = exists().where(authenticators.c.principal_id == id, authenticators.c.confirmed_at.is_not(None))
        one = or_(confirmed, exists().where(passkeys.c.principal_id == id))
        statement = people.update().where(people.c.principal_id == id).values(second_factor=one)
        return bool(self.db.execute(statement.returning(people.c.second_factor)).scalar())

    def forget(self, id: PrincipalId) -> int:
        """Take all factors away; how many there were, a set of backup codes counting as one."""
        count = len(self.shown(id))
        for table in (authenticators, backup_codes, passkeys):
            self.db.execute(table.delete().where(table.c.principal_id == id))
        self.settle(id)
        return count

    def authenticator(self, id: PrincipalId) -> Authenticator | None:
        """What is kept of an authenticator app."""
        row = self.db.execute(select(authenticators).where(authenticators.c.principal_id == id)).first()
        if row is None:
            return None
        return Authenticator(
            sealed=None if row.sealed is None else bytes(row.sealed),
            confirmed_at=row.confirmed_at,
            last_step=row.last_step,
            offered=None if row.offered is None else bytes(row.offered),
            offered_at=row.offered_at,
        )

    def offer(self, id: PrincipalId, sealed: bytes, now: datetime) -> None:
        """A new secret, which waits for its first code; one that is in use stays in use until then."""
        values = {"offered": sealed, "offered_at": now}
        new = insert(authenticators).values(principal_id=id, **values)
        self.db.execute(new.on_conflict_do_update(index_elements=["principal_id"], set_=values))

    def confirm(self, id: PrincipalId, offered: bytes, step: int, now: datetime) -> bool:
        """The offered secret is the one in use; False when another one was offered meanwhile, or this was confirmed."""
        mine = (authenticators.c.principal_id == id, authenticators.c.offered == offered)
        values = {"sealed": offered, "confirmed_at": now, "last_step": step, "offered": None, "offered_at": None}
        return bool(self.db.execute(authenticators.update().where(*mine).values(values)).rowcount)

    def spend_step(self, id: PrincipalId, sealed: bytes, step: int) -> bool:
        """Use up a code of this secret; False when it, or a later one, was used already."""
        unused = or_(authenticators.c.last_step.is_(None), authenticators.c.last_step < step)
        mine = and_(authenticators.c.principal_id == id, authenticators.c.sealed == sealed)
        return bool(self.db.execute(authenticators.update().where(mine, unused).values(last_step=step)).rowcount)

    def drop_authenticator(self, id: PrincipalId) -> bool:
        """Forget it, and what was offered; False when none was in use."""
        found = self.db.execute(
            authenticators.delete().where(authenticators.c.principal_id == id).returning(authenticators.c.confirmed_at)
        ).first()
        return found is not None and found.confirmed_at is not None

    def backup_codes(self, id: PrincipalId) -> tuple[BackupCode, ...]:
        """Those that were not used yet."""
        rows = self.db.execute(select(backup_codes).where(backup_codes.c.principal_id == id))
        return tuple(BackupCode(row.sign, row.hash) for row in rows)

    def replace_backup_codes(self, id: PrincipalId, codes: Iterable[BackupCode]) -> None:
        """These in place of all others."""
        self.db.execute(backup_codes.delete().where(backup_codes.c.principal_id == id))
        rows = [{"principal_id": id, "sign": code.sign, "hash": code.hash} for code in codes]
        if rows:
            self.db.execute(backup_codes.insert(), rows)

    def spend_backup_code(self, id: PrincipalId, code: BackupCode) -> bool:
        """Use one up; False when somebody was faster."""
        mine = (backup_codes.c.principal_id == id, backup_codes.c.sign == code.sign, backup_codes.c.hash == code.hash)
        return bool(self.db.execute(backup_codes.delete().where(*mine)).rowcount)

    def handle(self, id: PrincipalId, fresh: bytes) -> bytes:
        """What stands for the person on their devices: what was kept, or `fresh` from now on."""
        self.db.execute(insert(passkey_handles).values(principal_id=id, handle=fresh).on_conflict_do_nothing())
        mine = select(passkey_handles.c.handle).where(passkey_handles.c.principal_id == id)
        return bytes(self.db.execute(mine).scalar_one())

    def passkeys(self, id: PrincipalId) -> list[Registered]:
        """Somebody's, the oldest first."""
        return self._passkeys(passkeys.c.principal_id == id)

    def passkey(self, credential: bytes) -> Registered | None:
        """Whoever's has this id."""
        return next(iter(self._passkeys(passkeys.c.credential == credential)), None)

    def add_passkey(self, one: Registered) -> bool:
        """Keep a new one; False when somebody has one of that id."""
        values = {
            "id": one.id,
            "principal_id": one.person,
            "credential": one.passkey.id,
            "public_key": one.passkey.public_key,
            "sign_count": one.passkey.sign_count,
            "passwordless": one.passkey.passwordless,
            "synced": one.passkey.synced,
            "backed_up": one.passkey.backed_up,
            "aaguid": one.passkey.aaguid,
            "transports": list(one.passkey.transports),
            "name": one.name,
            "created_at": one.created_at,
        }
        return bool(self.db.execute(insert(passkeys).values(values).on_conflict_do_nothing()).rowcount)

    def used_passkey(self, one: Registered, after: Passkey, now: datetime) -> bool:
        """Keep what an answer changed; False when another answer, that claims the same count, was first."""
        mine = (passkeys.c.id == one.id, passkeys.c.sign_count == one.passkey.sign_count)
        values = {"sign_count": after.sign_count, "backed_up": after.backed_up, "used_at": now}
        return bool(self.db.execute(passkeys.update().where(*mine).values(values)).rowcount)

    def rename_passkey(self, person: PrincipalId, id: UUID, name: str) -> bool:
        """Call it otherwise; False when the person has none of that id."""
        mine = (passkeys.c.id == id, passkeys.c.principal_id == person)
        return bool(self.db.execute(passkeys.update().where(*mine).values(name=name)).rowcount)

    def drop_passkey(self, person: PrincipalId, id: UUID) -> bool:
        """Forget it; False when the person has none of that id."""
        mine = (passkeys.c.id == id, passkeys.c.principal_id == person)
        return bool(self.db.execute(passkeys.delete().where(*mine)).rowcount)

    def _passkeys(self, which: Any) -> list[Registered]:
        joined = passkeys.join(passkey_handles, passkey_handles.c.principal_id == passkeys.c.principal_id)
        query = select(passkeys, passkey_handles.c.handle).select_from(joined).where(which)
        return [_registered(row) for row in self.db.execute(query.order_by(passkeys.c.created_at, passkeys.c.id))]


def _registered(row: Row[Any]) -> Registered:
    passkey = Passkey(
        id=bytes(row.credential),
        handle=bytes(row.handle),
        public_key=bytes(row.public_key),
        sign_count=row.sign_count,
        passwordless=row.passwordless,
        synced=row.synced,
        backed_up=row.backed_up,
        aaguid=row.aaguid,
        transports=tuple(row.transports),
    )
    return Registered(
        id=row.id,
        person=PrincipalId(row.principal_id),
        name=row.name,
        passkey=passkey,
        created_at=row.created_at,
        used_at=row.used_at,
    )
