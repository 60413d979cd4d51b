"""Short sessions on a PostgreSQL server, few at once, and its errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection
from sqlalchemy.engine import URL, make_url

from auricle.errors import AuricleError, Permanent, Retryable
from auricle.runtime.database import connect_arguments

SESSIONS = 4
"""At once, of one operator: making a database is the disk's work, and more of them at once are not sooner done."""
SECONDS = 60.0
"""Without a byte from the server end a call; it may have happened all the same, and the next call looks."""
LATER = ("08", "40", "53", "57", "55")
"""SQLSTATE classes: connection, rolled back, out of resources, shut down or timed out, in use or not in a fit state."""
REFUSED = ("28",)
ABSENT = "3D000"
NO_RIGHT = "42501"
NO_FEATURE = ("0A000", "58P01")
Answer = TypeVar("Answer")


class Sessions:
    """Of one server. Sessions are opened for one task each: a superuser's shall not lie about."""

    def __init__(self, address: str) -> None:
        """`address`: `postgresql+pg8000://…` of a superuser."""
        self.url: URL = make_url(address)
        self._threads = ThreadPoolExecutor(SESSIONS, "postgres")

    async def apart(self, act: Callable[[], Answer]) -> Answer:
        """What `act` answers, from a thread. Whoever stops waiting leaves it to end by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _translated, act)

    @contextmanager
    def open(self, database: str | None = None, role: str | None = None, password: str | None = None) -> Iterator[Connection]:
        """A session of the superuser, or of `role`. Each statement is a transaction of its own."""
        session = self._opened(database, role, password)
        try:
            yield session
        finally:
            _quietly(session.close)

    def _opened(self, database: str | None, role: str | None, password: str | None) -> Connection:
        socket = self.url.query.get("unix_sock")
        try:
            return Connection(
                user=role or self.url.username or "postgres",
                password=password if role else self.url.password,
                database=database or self.url.database or "postgres",
                host=self.url.host or "localhost",
                port=self.url.port or 5432,
                unix_sock=socket if isinstance(socket, str) else None,
                application_name="auricle-operator",
                **{**connect_arguments(self.url), "timeout": SECONDS},
            )
        except InterfaceError as error:
            raise refusal_in(error) or error from None

    def close(self) -> None:
        """No more tasks; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def refusal_in(error: BaseException) -> DatabaseError | None:
    """What the server said before the line broke: pg8000 says goodbye to a server that has hung up, and trips over that."""
    before = error.__cause__ or error.__context__
    if before is None or isinstance(before, DatabaseError):
        return before
    return refusal_in(before)


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five letters, or nothing."""
    told = error.args[0] if error.args else None
    return str(told.get("C", "")) if isinstance(told, dict) else ""


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except (OSError, InterfaceError):  # it is gone already
        return


def _translated(act: Callable[[], Answer]) -> Answer:
    """Errors are not chained: a statement may hold a verifier."""
    try:
        return act()
    except DatabaseError as error:
        raise _meaning(error) from None
    except (InterfaceError, OSError) as error:
        raise Retryable(f"The database server cannot be reached ({type(error).__name__}).") from None


def _meaning(error: DatabaseError) -> AuricleError:
    code, told = sqlstate(error), error.args[0]
    words = str(told.get("M", ""))[:200] if isinstance(told, dict) else ""
    if code.startswith(LATER) or code == ABSENT:
        return Retryable(f"The database server is not ready for this: {words}.")
    if code.startswith(REFUSED):
        return Permanent(
            f"The database server does not let the operator in ({words}): correct AURICLE_OPERATOR_DATABASE_URL, or its "
            "pg_hba.conf."
        )
    if code == NO_RIGHT:
        return Permanent(f"The operator may not do this in the database ({words}): its role must be a superuser.")
    if code in NO_FEATURE:
        return Permanent(f"The database server lacks something ({words}): install pgvector on it.")
    return Permanent(f"The database server refuses ({code}: {words}): look at its log, and mend what it names by hand.")
