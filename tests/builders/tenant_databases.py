"""Servers that hold a database per tenant, and clients that try to enter."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection

from auricle_operator.adapters.postgres import PostgresDatabases
from auricle_operator.adapters.postgres.names import names_of
from auricle_operator.adapters.postgres.sessions import refusal_in, sqlstate
from auricle_operator.outside import Databases, Login
from auricle_operator.settings import Settings
from builders.operator_outside import MemoryDatabases
from builders.postgres_server import Server

POOLER_PASSWORD = "what the pooler knows"
Answer = TypeVar("Answer")


class Site(Protocol):
    """A server under contract."""

    databases: Databases

    def enters(self, tenant: str, login: Login, password: str, database: str | None = None) -> bool:
        """Whether a client gets in as `login` of `tenant`, into its database or that of the tenant `database`."""
        ...


class MemorySite:
    """In memory."""

    def __init__(self) -> None:
        self.databases = MemoryDatabases()
        self.enters = self.databases.enters


class PostgresSite:
    """On a real server."""

    def __init__(self, server: Server, **settings: Any) -> None:
        self.server = server
        self.settings = Settings(database_url=server.postgres.superuser_url, **{"pooler_password": POOLER_PASSWORD, **settings})
        self.databases = PostgresDatabases(self.settings)

    def enters(self, tenant: str, login: Login, password: str, database: str | None = None) -> bool:
        try:
            with self.session(tenant, login, password, database):
                return True
        except DatabaseError as error:
            if sqlstate(error) in ("28P01", "28000", "42501", "3D000"):
                return False
            raise

    @contextmanager
    def session(
        self, tenant: str, login: Login, password: str, database: str | None = None, *, raw: str | None = None
    ) -> Iterator[Connection]:
        """As `login` of `tenant`; in the tenant `database`'s database, or in the one whose name is `raw`."""
        name = raw or names_of(database or tenant, self.settings.database_prefix).database
        with self.as_role(names_of(tenant, self.settings.database_prefix).login(login), password, name) as session:
            yield session

    @contextmanager
    def as_role(self, role: str, password: str, database: str) -> Iterator[Connection]:
        """Any role, in any database."""
        socket = str(self.server.postgres.sockets / ".s.PGSQL.5432")
        try:
            session = Connection(role, password=password, database=database, unix_sock=socket, timeout=20)
        except InterfaceError as error:
            raise refusal_in(error) or error from None
        try:
            yield session
        finally:
            with suppress(OSError, InterfaceError):
                session.close()

    @contextmanager
    def superuser(self, database: str = "postgres") -> Iterator[Connection]:
        """Who sees everything."""
        with self.as_role("postgres", self.server.postgres.keys["postgres"], database) as session:
            yield session

    def owner_url(self, tenant: str, password: str) -> str:
        """As jobs would have it, by the socket."""
        names = names_of(tenant, self.settings.database_prefix)
        socket = self.server.postgres.sockets / ".s.PGSQL.5432"
        return f"postgresql+pg8000://{names.owner}:{password}@/{names.database}?unix_sock={socket}"


def run(call: Coroutine[Any, Any, Answer]) -> Answer:
    """One call of a port."""
    return asyncio.run(call)
