"""Accounts of the vault in a data folder, for whoever holds the folder itself: the way back in when no owner can sign in.

Whoever reads the folder reads everything in it anyway. What is done is written to the audit trail, as the command line's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from auricle.access.model import Principal, PrincipalId
from auricle.access.permissions import Role
from auricle.access.sessions import Limits
from auricle.admin.audit.kinds import ActorKind, Credential
from auricle.admin.audit.trail import Actor, Facts, Trail
from auricle.contract.ids import uuid7
from auricle.errors import NotFound
from auricle.identity.accounts.store import LinkStore
from auricle.identity.factors.store import FactorStore
from auricle.identity.model import Account, AccountState
from auricle.identity.passwords import Passwords, Profile
from auricle.identity.people import actions
from auricle.identity.people.actions import Desk
from auricle.identity.people.model import User, UserQuery
from auricle.identity.people.store import PeopleStore
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.hashing import PasswordHasher
from auricle.runtime.local import hostfile, mounts
from auricle.runtime.local.addresses import driver_named
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.hostfile import Lock
from auricle.runtime.local.keys import Keys
from auricle.runtime.local.migrating import START_SECONDS
from auricle.runtime.local.postgres import Postgres
from auricle.runtime.local.stepwords import DATABASE, LOGINS
from auricle.runtime.settings import Settings
from auricle.runtime.wiring import Wiring

HOST = Principal(id=PrincipalId(uuid7()), name="the host", roles=frozenset({Role.OWNER}))
BY_HAND = Actor(kind=ActorKind.SYSTEM, credential=Credential.COMMAND_LINE)


@dataclass(frozen=True, slots=True)
class HostDesk(Desk):
    """Where whoever holds the data administers: nobody is out of reach."""

    def held(self, id: PrincipalId) -> Account:
        """Anybody who is there, owners too."""
        account = self.store.locked_account(id)
        if account is None or account.state is AccountState.DELETED:
            raise NotFound("There is nobody of that id.")
        return account


class Vault:
    """The accounts of one vault."""

    def __init__(self, wiring: Wiring) -> None:
        """`wiring` knows the database and the store of limits."""
        self._wiring = wiring

    def everybody(self) -> list[User]:
        """All accounts, but for deleted ones."""
        with self._desk() as desk:
            found: list[User] = []
            while page := desk.people.page(UserQuery(), 200, found[-1].id if found else None):
                found += page
            return found

    def details(self, email: str) -> tuple[User, tuple[str, ...], list[Any]]:
        """Somebody, the factors that they can show, and where they are signed in."""
        with self._desk() as desk:
            id = _somebody(desk, email)
            factors = tuple(factor.value for factor in FactorStore(desk.store.db).shown(id))
            return desk.user(id), factors, actions.sessions(desk, self._wiring.provide(Limits), id)

    def new_password(self, email: str) -> str:
        """Another password for somebody, who must change it; their sessions end and they are locked out no more."""
        provide = self._wiring.provide
        with self._desk() as desk:
            id = _somebody(desk, email)
            password = actions.reset_password(desk, provide(PasswordHasher), provide(Profile), provide(Passwords), id, False)
        assert password is not None
        return password

    def reset_factors(self, email: str) -> None:
        """Take somebody's second factors."""
        with self._desk() as desk:
            actions.reset_factors(desk, _somebody(desk, email))

    def unlock(self, email: str) -> None:
        """Let somebody sign in who was locked out."""
        with self._desk() as desk:
            actions.unlock(desk, _somebody(desk, email))

    @contextmanager
    def _desk(self) -> Iterator[Desk]:
        """One unit of work. What it publishes stays in the outbox until the host sends it."""
        with self._wiring.database.work() as db:
            trail = Trail(Facts(), lambda: datetime.now(UTC), str, db, BY_HAND)
            stores = {"store": IdentityStore(db), "people": PeopleStore(db), "links": LinkStore(db)}
            ephemeral = self._wiring.provide(Ephemeral)
            yield HostDesk(who=HOST, ephemeral=ephemeral, trail=trail, bus=self._wiring.bus(db), **stores)  # type: ignore[arg-type]


@contextmanager
def opened(data: Path, given: Settings) -> Iterator[Vault]:
    """The vault in `data`, whether its host runs or not; `given` are the settings that the host was started with."""
    with _database(data, given) as url:
        keys = Keys(data / "secrets.json")
        settings = msgspec.structs.replace(
            given,
            database_url=url,
            event_key=given.event_key or keys["event_key"],
            ephemeral_key=given.ephemeral_key or keys["ephemeral_key"],
            sealing_keys=given.sealing_keys or keys["sealing_keys"],
        )
        wiring = Wiring(settings)
        try:
            yield Vault(wiring)
        finally:
            wiring.database.close()


@contextmanager
def _database(data: Path, given: Settings) -> Iterator[str]:
    if given.database_url:
        yield driver_named(given.database_url)
        return
    if not (data / "secrets.json").exists():
        raise CannotStart(f"There is no vault in {data}. Name its folder with --data.")
    postgres = Postgres(data)
    if hostfile.holder(data) is not None:
        yield postgres.url(LOGINS[0], DATABASE)
        return
    mounts.refuse_unfit(data)
    with Lock(data):
        postgres.prepare()
        with (data / "logs" / "database.log").open("ab") as log:
            process = postgres.spawn(log)
        try:
            until = time.monotonic() + START_SECONDS
            while not postgres.ready(process):
                if process.poll() is not None or time.monotonic() > until:
                    raise CannotStart(f"The database does not start. Its log says why: {data / 'logs' / 'database.log'}")
                time.sleep(0.02)
            yield postgres.url(LOGINS[0], DATABASE)
        finally:
            postgres.stop(process)
            postgres.forget_sockets()


def _somebody(desk: Desk, email: str) -> PrincipalId:
    account = desk.store.by_email(email)
    if account is None:
        raise NotFound(f"Nobody here has the address {email}. `auricle admin inspect --here` lists everybody.")
    return account.id
