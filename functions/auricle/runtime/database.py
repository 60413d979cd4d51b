"""PostgreSQL: one small pool a process, units of work, migrations. SQLAlchemy Core and pg8000, nothing session-wide.

Connections may pass through pgbouncer in transaction mode: no LISTEN, no SET outside a transaction, no session locks.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from traceback import walk_tb
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, create_engine, exc, text
from sqlalchemy.engine import URL, make_url

from auricle.errors import Conflict, Retryable

AWAY = "The database is away. Nothing is lost; try again in a moment."


@cache
def verifying_context() -> ssl.SSLContext:
    """One TLS context for all connections: building one costs 100 ms, and pg8000's own does not verify."""
    return ssl.create_default_context()


def connect_arguments(url: URL) -> dict[str, Any]:
    """TLS unless the server is on this machine's sockets or loopback."""
    local = "unix_sock" in url.query or url.host in (None, "127.0.0.1", "localhost", "::1")
    plain = local or url.query.get("sslmode") == "disable"
    return {"ssl_context": False if plain else verifying_context(), "timeout": None}


def engine_for(address: str, pool: int) -> Engine:
    """A pool of `pool` connections, none above it; each is tried before use, because databases restart."""
    url = make_url(address)
    remember_placeholders()
    return create_engine(
        url.difference_update_query(["sslmode"]),
        connect_args=connect_arguments(url),
        pool_size=pool,
        max_overflow=0,
        pool_timeout=20,
        pool_pre_ping=True,
        json_serializer=lambda value: msgspec.json.encode(value, enc_hook=str).decode(),
        json_deserializer=msgspec.json.decode,
    )


@cache
def remember_placeholders() -> None:
    """Have pg8000 look for the placeholders of a statement once, not at every execution: that costs more than the rest of it.

    It goes through the text letter by letter, in Python. What it makes of `%s` depends on the text alone, and SQLAlchemy gives
    it the same texts again and again.
    """
    from pg8000 import legacy

    scan = legacy.convert_paramstyle
    numbered = lru_cache(maxsize=2048)(lambda query: scan("format", query, ())[0])

    def convert(style: str, query: str, args: Any) -> tuple[str, Any]:
        return (numbered(query), args) if style == "format" else scan(style, query, args)

    legacy.convert_paramstyle = convert


class Database:
    """The one door to the database: `with database.work() as connection` commits or leaves nothing behind."""

    def __init__(self, engine: Engine) -> None:
        """`engine` belongs to this process."""
        self.engine = engine

    @contextmanager
    def work(self) -> Iterator[Connection]:
        """One transaction. A database that is away is `Retryable`; everything else passes as it is."""
        with translated(), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


TRANSIENT = ("40", "53", "57P", "08", "58")
"""SQLSTATE classes: rolled back (deadlock), out of resources (disk full), shut down, connection, system error."""


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five-letter code, or nothing."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    details = cause.args[0] if cause is not None and cause.args else None
    return str(details.get("C", "")) if isinstance(details, dict) else ""


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors that another try may cure into `Retryable`."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise Retryable(AWAY) from error
    except exc.DBAPIError as error:
        if error.connection_invalidated or _transient(error):
            raise Retryable(AWAY) from error
        raise
    except OSError as error:  # pg8000 lets some of the line's own errors pass as they are
        if _from_driver(error):
            raise Retryable(AWAY) from error
        raise


def _from_driver(error: BaseException) -> bool:
    return any(frame.f_globals.get("__name__", "").startswith("pg8000") for frame, _ in walk_tb(error.__traceback__))


def _transient(error: exc.DBAPIError) -> bool:
    return sqlstate(error).startswith(TRANSIENT)


SCHEMA = Path(__file__).parent.parent / "schema"
CONTRACTIONS = SCHEMA / "contractions"


def newest_revision() -> str:
    """The schema that this code's migrations end at."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory(str(SCHEMA)).get_current_head())


def newest_contraction(contractions: Path = CONTRACTIONS) -> str:
    """The last revision that takes something away; empty while there is none."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory(str(SCHEMA), version_locations=[str(contractions)]).get_current_head() or "")


def migrate(address: str) -> str:
    """Bring the database at `address` to the newest schema; returns the revision. Several at once wait for each other.

    It only ever adds: what takes away is `contract`'s (`schema/env.py` has the rule).
    """
    return _upgraded(address, SCHEMA / "versions", "alembic_version")


def contract(address: str, contractions: Path = CONTRACTIONS) -> str:
    """Take away what no release reads any more; returns the revision, empty when there is nothing to take away.

    `Conflict` while the database has not all that this release adds.
    """
    if not any(contractions.glob("*.py")):
        return ""
    newest = newest_revision()
    engine = engine_for(address, 1)
    try:
        with engine.connect() as connection:
            known = connection.execute(text("select to_regclass('alembic_version')")).scalar()
            there = connection.execute(text("select version_num from alembic_version")).scalar() if known else None
    finally:
        engine.dispose()
    if there != newest:
        raise Conflict(f"The database is at revision {there}, this release's is {newest}. Run the job `migrate` first.")
    return _upgraded(address, contractions, "alembic_contractions")


def _upgraded(address: str, revisions: Path, version_table: str) -> str:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCHEMA))
    config.set_main_option("path_separator", "newline")  # one folder, whatever is in its name
    config.set_main_option("version_locations", str(revisions))
    engine = engine_for(address, 1)
    try:
        with engine.begin() as connection:
            config.attributes |= {"connection": connection, "version_table": version_table}
            command.upgrade(config, "head")
            return str(connection.execute(text(f"select version_num from {version_table}")).scalar_one())  # noqa: S608 - ours
    finally:
        engine.dispose()
