"""`ports.ephemeral` on PostgreSQL: the default. Tables of migration 0004.

Each call is one statement, committed by itself, sent as PostgreSQL's simple query: one message, one answer. That is what makes
it cheap enough for every request (a tenth of a millisecond of CPU and one round trip, not six), and safe behind pgbouncer in
transaction mode, where pg8000's statements with parameters are not unless a transaction surrounds them: their parse and their
execution are two messages, between which a pooler may give the server connection to somebody else. Values are therefore written
into the statement, and can be nothing but bytes (as hex) and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isfinite
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import URL, Connection, CursorResult, create_engine, exc

from auricle.adapters.ephemeral.keys import Drawer, Keys
from auricle.errors import Retryable
from auricle.ports.ephemeral import SKEW, Allowance, Changed, Limit, Revocable, Standing

T = TypeVar("T")
AWAY = "Sign-in cannot be checked right now, because the database is away. Try again in a moment."
MOST_TRIES = 200
"""Of one `change`: each failed try is another asker's success, and locked counters are only read."""
SWEPT_AT_ONCE = 5000
"""Rows per statement, so that a sweep never holds many locks."""
_PASSING = ("40", "53", "55", "57", "08", "58", "25006")
"""SQLSTATE classes that another try may cure: deadlock, out of resources, lock or statement timeout, connection, system; and
a standby that does not take writes yet."""

# The conflicting row is locked before `set` and `where` are evaluated, on its newest version: hits on one key form a queue.
_HIT = """
insert into ephemeral_rates as r (key, full_at) values ({key}, statement_timestamp() + {interval} * interval '1 microsecond')
on conflict (key) do update
set full_at = greatest(r.full_at, statement_timestamp()) + {interval} * interval '1 microsecond'
where greatest(r.full_at, statement_timestamp()) + {interval} * interval '1 microsecond'
   <= statement_timestamp() + {room} * interval '1 microsecond'
returning cast(extract(epoch from r.full_at - statement_timestamp()) * 1000000 as bigint)
"""
_AHEAD = """
select cast(extract(epoch from full_at - statement_timestamp()) * 1000000 as bigint) from ephemeral_rates where key = {key}
"""
_ONCE = """
insert into ephemeral_marks as m (key, until) values ({key}, clock_timestamp() + {seconds} * interval '1 second')
on conflict (key) do update set until = excluded.until where m.until <= clock_timestamp()
returning true
"""
_REVOKE = """
insert into ephemeral_marks as m (key, until) values ({key}, to_timestamp({until}))
on conflict (key) do update set until = greatest(m.until, excluded.until)
"""
_REVOKED = "exists (select from ephemeral_marks where key in ({things}) and until > clock_timestamp())"
_STANDING = "select coalesce((select epoch from ephemeral_epochs where key = {user}), 0), "
# By the clock, and never less than one more: an epoch that was forgotten is not handed out again.
_BUMP = """
insert into ephemeral_epochs as e (key, epoch) values ({user}, cast(extract(epoch from clock_timestamp()) * 1000 as bigint))
on conflict (key) do update set epoch = greatest(e.epoch + 1, excluded.epoch)
returning epoch
"""
_PUT = """
insert into ephemeral_secrets (key, sealed, until) values ({key}, {sealed}, clock_timestamp() + {seconds} * interval '1 second')
on conflict (key) do update set sealed = excluded.sealed, until = excluded.until
"""
_TAKE = "delete from ephemeral_secrets where key = {key} returning case when until > clock_timestamp() then sealed end"
_LOOK = """
select extract(epoch from clock_timestamp()),
       (select value from ephemeral_states where key = {key} and until > clock_timestamp())
"""
_BEGIN = """
insert into ephemeral_states as s (key, value, until) values ({key}, {new}, clock_timestamp() + {seconds} * interval '1 second')
on conflict (key) do update set value = excluded.value, until = excluded.until where s.until <= clock_timestamp()
returning true
"""
_REPLACE = """
update ephemeral_states set value = {new}, until = clock_timestamp() + {seconds} * interval '1 second'
where key = {key} and value = {old} and until > clock_timestamp() returning true
"""
_FORGET = "delete from ephemeral_states where key = {key} and value = {old} and until > clock_timestamp() returning true"
_SWEEP = """
delete from {table} where key in (
  select key from {table} where {ends} < clock_timestamp() limit {most} for update skip locked)
"""
_ENDING = {
    "ephemeral_rates": "full_at",
    "ephemeral_marks": "until",
    "ephemeral_secrets": "until",
    "ephemeral_states": "until",
}


_Value = bytes | float | list[bytes]


class PostgresEphemeral:
    """The store in the deployment's own database.

    It has connections of its own, one is enough: a request that holds a connection of the other pool for its unit of work can
    always count an attempt, since whoever holds this one waits for nobody. (Taken from the same pool of two, two requests in a
    unit of work would wait for each other.)
    """

    def __init__(self, url: str | URL, key: bytes, *, connect: Mapping[str, Any], connections: int = 1) -> None:
        """`url`: `postgresql+pg8000://`; `key`: 32 bytes or more, the deployment's own; `connect`: what else pg8000 is given:
        TLS and a `timeout` in seconds, so that a silent network ends in `Retryable` too. Nothing is connected yet."""
        self._keys = Keys(key)
        self._engine = create_engine(
            url,
            connect_args=dict(connect),
            isolation_level="AUTOCOMMIT",
            pool_size=connections,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
        )

    def hit(self, key: str, limit: Limit) -> Allowance:
        """As the port says: one statement, and a second one to tell how long to wait."""
        name = self._keys.hashed(Drawer.RATE, key)
        ahead = self._one(_HIT, key=name, interval=limit.interval, room=limit.room)
        if ahead is not None:
            return limit.allowance(ahead, allowed=True)
        return limit.allowance(self._one(_AHEAD, key=name) or 0, allowed=False)

    def once(self, key: str, seconds: float) -> bool:
        """As the port says: the row is the lock."""
        return bool(self._one(_ONCE, key=self._keys.hashed(Drawer.ONCE, key), seconds=seconds))

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """As the port says."""
        self._run(_PUT, key=self._keys.hashed(Drawer.SECRET, key), sealed=self._keys.seal(key, value), seconds=seconds)

    def take(self, key: str) -> bytes | None:
        """As the port says: whoever deletes the row has it."""
        sealed = self._one(_TAKE, key=self._keys.hashed(Drawer.SECRET, key))
        return None if sealed is None else self._keys.open(key, bytes(sealed))

    def revoke(self, kind: Revocable, id: str, until: datetime) -> None:
        """As the port says; a shorter revocation never replaces a longer one."""
        self._run(_REVOKE, key=self._keys.hashed(Drawer.REVOKED, kind, id), until=(until + SKEW).timestamp())

    def revoked(self, kind: Revocable, id: str) -> bool:
        """As the port says."""
        return bool(self._one(f"select {_REVOKED}", things=[self._keys.hashed(Drawer.REVOKED, kind, id)]))

    def bump(self, user: UUID) -> int:
        """As the port says."""
        return int(self._one(_BUMP, user=self._user(user)))

    def epoch(self, user: UUID) -> int:
        """As the port says."""
        return self.standing(user, ()).epoch

    def standing(self, user: UUID, things: Sequence[tuple[Revocable, str]]) -> Standing:
        """As the port says. The tables are logged: nothing is forgotten, `since` is None."""
        names = [self._keys.hashed(Drawer.REVOKED, kind, id) for kind, id in things]
        found = self._run(_STANDING + (_REVOKED if names else "false"), user=self._user(user), things=names)
        epoch, revoked = found[0]
        return Standing(epoch=epoch, revoked=revoked)

    def change(self, key: str, rule: Callable[[datetime, bytes | None], Changed[T]]) -> T:
        """As the port says: compare and swap, again until nobody came between."""
        name = self._keys.hashed(Drawer.STATE, key)
        for _ in range(MOST_TRIES):
            now, kept = self._run(_LOOK, key=name)[0]
            value = None if kept is None else bytes(kept)
            changed = rule(datetime.fromtimestamp(float(now), UTC), value)
            if changed.value == value or self._swap(name, value, changed):
                return changed.answer
        raise Retryable("Too many requests want the same answer at once. Try again in a moment.", delay=1)

    def sweep(self) -> int:
        """As the port says, in short transactions; skips what somebody is using."""
        return sum(self._swept(table, ends) for table, ends in _ENDING.items())

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _swap(self, name: bytes, old: bytes | None, changed: Changed[Any]) -> bool:
        if old is None:
            return bool(self._one(_BEGIN, key=name, new=changed.value or b"", seconds=changed.seconds))
        if changed.value is None:
            return bool(self._one(_FORGET, key=name, old=old))
        return bool(self._one(_REPLACE, key=name, old=old, new=changed.value, seconds=changed.seconds))

    def _swept(self, table: str, ends: str) -> int:
        total = 0
        while True:
            with self._connected() as connection:
                found = connection.exec_driver_sql(_SWEEP.format(table=table, ends=ends, most=SWEPT_AT_ONCE)).rowcount
            total += found
            if found < SWEPT_AT_ONCE:
                return total

    def _user(self, user: UUID) -> bytes:
        return self._keys.hashed(Drawer.EPOCH, str(user))

    def _one(self, statement: str, **values: _Value) -> Any:
        """The first value of the first row; None: no row."""
        rows = self._run(statement, **values)
        return rows[0][0] if rows else None

    def _run(self, statement: str, **values: _Value) -> Sequence[Any]:
        with self._connected() as connection:
            found: CursorResult[Any] = connection.exec_driver_sql(
                statement.format(**{name: _literal(value) for name, value in values.items()})
            )
            return found.all() if found.returns_rows else ()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self._connection() as connection:
                try:
                    yield connection
                except OSError:  # pg8000 lets a socket's timeout through as it is: nobody may use that connection again
                    connection.invalidate()
                    raise
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, OSError) as error:
            raise Retryable(AWAY) from error
        except exc.DBAPIError as error:
            if error.connection_invalidated or _sqlstate(error).startswith(_PASSING):
                raise Retryable(AWAY) from error
            raise

    def _connection(self) -> Connection:
        try:
            return self._engine.connect()
        except ConnectionError:
            # A server that restarted. pg8000 lets this through as it is, so that the pool's own try before use does not see
            # what it means; nothing was asked yet.
            self._engine.dispose()
            return self._engine.connect()


def _literal(value: _Value) -> str:
    """The value as SQL. Text cannot be one, so nothing that a caller chose is ever read as SQL."""
    if isinstance(value, bytes):
        return f"decode('{value.hex()}', 'hex')"
    if isinstance(value, list):
        return ", ".join(_literal(one) for one in value)
    if isinstance(value, int | float) and isfinite(value):
        return f"cast({value!r} as double precision)"
    raise TypeError(f"{type(value).__name__} is no value for a statement.")


def _sqlstate(error: exc.DBAPIError) -> str:
    """PostgreSQL's five-letter code, or nothing."""
    details = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return str(details.get("C", "")) if isinstance(details, dict) else ""
