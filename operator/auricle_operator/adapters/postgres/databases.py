"""Makes, opens, shuts, measures and drops tenants' databases: looks, says what is missing, and looks again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection, identifier, literal

from auricle.errors import Retryable
from auricle_operator.adapters.postgres import shape
from auricle_operator.adapters.postgres.names import POOLER, Names, names_of
from auricle_operator.adapters.postgres.sessions import ABSENT, NO_RIGHT, REFUSED, Sessions, sqlstate
from auricle_operator.adapters.postgres.verifiers import holds, verifier_of
from auricle_operator.outside import Login
from auricle_operator.settings import Settings

LOCK = 7003
"""First word of advisory locks: nobody else changes the same tenant's database meanwhile, nor the server's own roles."""
GONE = ("42P01", "3F000", NO_RIGHT)
"""A schema that is not there, or whose rows were not granted yet."""
SETTLED = 0.2
"""Seconds in which a session that was let in just before its role was shut appears in the list of sessions."""
MINUTES = """
select ceil(coalesce(sum(seconds), 0) / 60)::bigint from public.transcriptions
where began_at >= date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'
"""
"""As `auricle.runs.limits` counts them."""


COPIES = """
select distinct d.datname from pg_shdepend s join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.refobjid
where s.refclassid = 'pg_authid'::regclass and r.rolname = any(cast(:roles as text[])) and d.datname like 'before\\_%'
"""
"""What a restore left beside a tenant's database (components/postgres/restore.sh): it is the tenant's, and goes with it."""


class PostgresDatabases:
    """Implements `auricle_operator.outside.Databases` on one server."""

    def __init__(self, settings: Settings) -> None:
        """Connects when first called."""
        self._settings = settings
        self._sessions = Sessions(settings.database_url)
        self._wished = shape.Wished(connections=settings.database_connections, pooled=bool(settings.pooler_password))
        self._measuring = secrets.token_urlsafe(24)  # of the meters; only this process knows it

    async def ensure(self, tenant: str) -> None:
        """See `Databases`."""
        await self._sessions.apart(partial(self._ensure, self._names(tenant)))

    async def admit(self, tenant: str, login: Login, password: str) -> None:
        """See `Databases`. A tenant without a database is `Retryable`."""
        await self._sessions.apart(partial(self._admit, self._names(tenant).login(login), password))

    async def shut(self, tenant: str, login: Login) -> None:
        """See `Databases`."""
        await self._sessions.apart(partial(self._shut, self._names(tenant).login(login)))

    def url(self, tenant: str, login: Login, password: str) -> str:
        """See `Databases`."""
        names = self._names(tenant)
        direct = login is Login.OWNER or not self._settings.pooler_host
        host = self._settings.database_host if direct else self._settings.pooler_host
        who = f"{names.login(login)}:{quote(password, safe='')}"
        return f"postgresql+pg8000://{who}@{host}/{names.database}?sslmode={self._settings.database_sslmode}"

    async def bytes_used(self, tenant: str) -> int | None:
        """See `Databases`."""
        return await self._sessions.apart(partial(self._bytes, self._names(tenant)))

    async def minutes_this_month(self, tenant: str) -> int | None:
        """See `Databases`. A recording counts once for each of its transcriptions, also when it is purged since."""
        return await self._sessions.apart(partial(self._minutes, self._names(tenant)))

    async def drop(self, tenant: str) -> None:
        """See `Databases`."""
        await self._sessions.apart(partial(self._drop, self._names(tenant)))

    def close(self) -> None:
        """Of this process."""
        self._sessions.close()

    def _names(self, tenant: str) -> Names:
        return names_of(tenant, self._settings.database_prefix)

    def _ensure(self, names: Names) -> None:
        with self._turn(names.database) as server:
            roles, database, open_to_all = _seen(server, names)
            if open_to_all or self._wished.pooled:
                self._ensure_server(server, open_to_all)
            for statement in (*shape.roles(roles, names), *shape.database(database, names, self._wished)):
                server.run(statement)
            with self._sessions.open(names.database) as inside:
                inside.run("set search_path = pg_catalog")  # what lies in public is the tenant's
                seen = msgspec.json.decode(_cell(inside, shape.SEE_DATABASE), type=shape.SeenInside)
                for statement in shape.inside(seen, names, self._wished):
                    inside.run(statement)
            for statement in shape.admission(database, names, self._wished):
                server.run(statement)

    def _ensure_server(self, server: Connection, open_to_all: list[str]) -> None:
        """What tenants share: nobody uninvited in the server's own databases, and the pooler's role."""
        for name in open_to_all:
            server.run(f"revoke all on database {identifier(name)} from public")
        if not self._wished.pooled:
            return
        with _locked(server, POOLER):
            found = [role for role in _seen_roles(server, [POOLER]) if role.name == POOLER]
            if not found:
                server.run(f"create role {identifier(POOLER)} nologin {shape.PLAIN}")
                found = _seen_roles(server, [POOLER])
            for statement in shape.role_as(found[0], shape.POOLING):
                server.run(statement)
            _give_password(server, POOLER, self._settings.pooler_password)

    def _admit(self, role: str, password: str) -> None:
        with self._turn(role) as server:
            if not _give_password(server, role, password):
                raise Retryable(f"The database has no role {role} yet: it is made with the tenant's database.")

    def _shut(self, role: str) -> None:
        with self._turn(role) as server:
            self._lock_out(server, role)
            time.sleep(SETTLED)
            _end_sessions(server, role)

    def _lock_out(self, server: Connection, role: str) -> None:
        if _cell(
            server, "select count(*) from pg_authid where rolname = :role and (rolcanlogin or rolpassword is not null)", role
        ):
            server.run(f"alter role {identifier(role)} nologin password null")
        _end_sessions(server, role)

    def _bytes(self, names: Names) -> int | None:
        with self._sessions.open() as server:
            found = server.run("select pg_database_size(oid) from pg_database where datname = :name", name=names.database)
            return int(found[0][0]) if found else None

    def _minutes(self, names: Names) -> int | None:
        """As a role that has nothing but what the tenant has: a table of theirs may be a view that runs their code."""
        try:
            return self._measured(names)
        except DatabaseError as error:
            if not sqlstate(error).startswith(REFUSED):
                raise
        with self._turn(names.database) as server:
            if not _give_password(server, names.meter, self._measuring):
                return None
        return self._measured(names)

    def _measured(self, names: Names) -> int | None:
        try:
            with self._sessions.open(names.database, names.meter, self._measuring) as session:
                return int(_cell(session, MINUTES))
        except DatabaseError as error:
            if sqlstate(error) in (*GONE, ABSENT):
                return None
            raise

    def _drop(self, names: Names) -> None:
        with self._turn(names.database) as server:
            roles, database, _ = _seen(server, names)
            for role in roles:
                self._lock_out(server, role.name)
            if database:
                server.run(f"drop database {identifier(names.database)} with (force)")
            for (copy,) in server.run(COPIES, roles=list(names.roles)):
                server.run(f"drop database {identifier(copy)} with (force)")
            for role in roles:
                server.run(f"drop role {identifier(role.name)}")

    @contextmanager
    def _turn(self, name: str) -> Iterator[Connection]:
        """A session on the server in which nobody else is at work on `name`."""
        with self._sessions.open() as server, _locked(server, name):
            yield server


@contextmanager
def _locked(server: Connection, name: str) -> Iterator[None]:
    """Held until the end of the block, or of the session."""
    server.run("select pg_advisory_lock(:lock, hashtext(:name))", lock=LOCK, name=name)
    yield
    server.run("select pg_advisory_unlock(:lock, hashtext(:name))", lock=LOCK, name=name)


def _seen(server: Connection, names: Names) -> tuple[list[shape.SeenRole], shape.SeenDatabase | None, list[str]]:
    ((roles, database, open_to_all),) = server.run(shape.SEE_SERVER, roles=list(names.roles), database=names.database)
    return (
        msgspec.json.decode(roles, type=list[shape.SeenRole]),
        msgspec.json.decode(database, type=shape.SeenDatabase | None),
        msgspec.json.decode(open_to_all, type=list[str]),
    )


def _seen_roles(server: Connection, roles: list[str]) -> list[shape.SeenRole]:
    ((found, _, _),) = server.run(shape.SEE_SERVER, roles=roles, database="")
    return msgspec.json.decode(found, type=list[shape.SeenRole])


def _cell(session: Connection, query: str, role: str | None = None) -> Any:
    ((value,),) = session.run(query, **({"role": role} if role else {}))
    return value


def _give_password(server: Connection, role: str, password: str) -> bool:
    """`role` logs in with it; nothing is written where it does already. False when there is no such role."""
    found = server.run("select rolcanlogin, rolpassword from pg_authid where rolname = :role", role=role)
    if not found:
        return False
    ((enters, verifier),) = found
    if not enters or not holds(verifier, password):
        server.run(f"alter role {identifier(role)} login password {literal(verifier_of(password))}")
    return True


def _end_sessions(server: Connection, role: str) -> None:
    """Of a role that nobody logs in as any more; each is given five seconds to end."""
    query = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = :role"
    while server.run(query, role=role):
        pass
