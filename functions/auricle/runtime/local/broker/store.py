"""The broker's SQL: one connection in, values out. Blocking; `lines` runs it beside the loop."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection, PreparedStatement

from auricle.runtime.local.broker.changes import Change, Depth, Due, Load
from auricle.runtime.local.errors import CannotStart

LOOPBACK = frozenset({None, "", "localhost", "127.0.0.1", "::1"})
TRANSIENT = ("08", "40", "53", "57", "58")
"""SQLSTATE classes that pass: connection, rolled back, out of resources (disk full), shut down or cancelled, system error."""
NOT_PERMITTED = "42501"
PATIENCE = 30
"""Seconds that a statement may take before the server counts as away."""

CHANGE = """
with owner as (select from broker.owner where generation = :generation),
done as (
    delete from broker.deliveries where id = any(cast(:done as bigint[])) and exists (select from owner) returning id),
kept as (
    insert into broker.events (id, attributes, trace, data)
    select e.id, e.attributes, e.trace, decode(e.data, 'base64')
    from json_to_recordset(cast(:events as json)) as e (id bigint, cause bigint, attributes json, trace json, data text)
    where exists (select from owner) and (e.cause is null or e.cause in (select id from done))),
queued as (
    insert into broker.deliveries (id, event, subscription, dead, due_at)
    select d.id, d.event, d.subscription, d.dead, now() + make_interval(secs => d.wait)
    from json_to_recordset(cast(:deliveries as json))
        as d (id bigint, event bigint, cause bigint, subscription text, dead boolean, wait double precision)
    where exists (select from owner) and (d.cause is null or d.cause in (select id from done))),
postponed as (
    update broker.deliveries d
    set attempt = p.attempt, losses = p.losses, due_at = now() + make_interval(secs => p.wait)
    from json_to_recordset(cast(:postponed as json)) as p (id bigint, attempt int, losses int, wait double precision)
    where d.id = p.id and exists (select from owner))
select count(*) from owner
"""
"""A whole `Change` in one statement, so one round trip and one commit. Written twice, it changes nothing the second time:
what a delivery causes is kept only by the statement that finishes the delivery."""

DUE = """
select id, attempt, losses, dead, attributes, trace, data, found from (
    select d.id, d.attempt, d.losses, d.dead, d.due_at, cast(e.attributes as text) as attributes,
        cast(e.trace as text) as trace, e.data,
        count(*) over () as found, row_number() over (order by d.due_at, d.id) as place,
        sum(octet_length(e.data)) over (order by d.due_at, d.id) as bytes
    from (
        select * from broker.deliveries
        where subscription = :subscription and due_at <= now() and id <> all(cast(:except as bigint[]))
        order by due_at, id limit :rows) d
    join broker.events e on e.id = d.event) window_of_it
where place = 1 or bytes <= :bytes
order by due_at, id
"""
NEXT_DUE = """
select cast(extract(epoch from min(due_at) - now()) as double precision) from broker.deliveries
where subscription = :subscription and due_at > now()
"""
DEPTHS = """
select subscription, count(*) filter (where due_at <= now()), count(*) filter (where due_at > now()),
    count(*) filter (where dead), cast(extract(epoch from now() - min(e.accepted_at)) as double precision)
from broker.deliveries d join broker.events e on e.id = d.event group by subscription
"""
TRIM = """
delete from broker.events where id in (
    select e.id from broker.events e
    where accepted_at < now() - make_interval(secs => :keep)
        and not exists (select from broker.deliveries d where d.event = e.id)
    limit :rows) and exists (select from broker.owner where generation = :generation)
"""
TIMER_KNOWN = "insert into broker.timers (name) values (:name) on conflict do nothing"
TIMER_WAIT = """
select cast(extract(epoch from fired_at + make_interval(mins => :minutes) - now()) as double precision)
from broker.timers where name = :name
"""
TIMER_FIRED = """
update broker.timers set fired_at = now()
where name = :name and fired_at <= now() - make_interval(mins => :minutes)
    and exists (select from broker.owner where generation = :generation)
"""


class Superseded(CannotStart):
    """Another broker has taken over the tables."""


def connector(url: str) -> Callable[[], Connection]:
    """What opens connections to the database at a SQLAlchemy address `postgresql+pg8000://…`."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    socket = query["unix_sock"][0] if "unix_sock" in query else None
    plain = socket is not None or parts.hostname in LOOPBACK or query.get("sslmode") == ["disable"]

    def connect() -> Connection:
        return Connection(
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.lstrip("/")),
            host=parts.hostname or "localhost",
            port=parts.port or 5432,
            unix_sock=socket,
            ssl_context=False if plain else _verifying_context(),
            timeout=PATIENCE,
            application_name="auricle broker",
            # The tables are empty most of the time and plans are kept: never keep one that reads a whole table.
            startup_params={"enable_seqscan": "off", "jit": "off", "TimeZone": "UTC"},
        )

    return connect


@cache
def _verifying_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def is_away(error: Exception) -> bool:
    """Whether `error` means that the database cannot be used now, and may be later."""
    if isinstance(error, DatabaseError):
        return sqlstate(error).startswith(TRANSIENT)
    return isinstance(error, InterfaceError | OSError)


def sqlstate(error: Exception) -> str:
    """PostgreSQL's five-letter code, or nothing."""
    details = error.args[0] if error.args else None
    return str(details.get("C", "")) if isinstance(details, dict) else ""


def take_over(connection: Connection) -> int:
    """Make the tables where they are missing, and become their owner; the new generation."""
    try:
        connection.run(Path(__file__).with_name("schema.sql").read_text())
    except DatabaseError as error:
        if sqlstate(error) != NOT_PERMITTED:
            raise
        if connection.run("select to_regclass('broker.timers')")[0][0] is None:
            raise CannotStart(
                "The broker's database role may not create the schema 'broker'. Give the plan the address of the role that "
                "owns the database, or have the owner run schema.sql once and grant its tables to this role."
            ) from error
    rows: list[list[Any]] = connection.run("update broker.owner set generation = generation + 1 returning generation")
    return int(rows[0][0])


class Statements:
    """One connection's prepared statements, made on first use."""

    def __init__(self, connection: Connection) -> None:
        """`connection` is theirs alone."""
        self.connection = connection
        self._prepared: dict[str, PreparedStatement] = {}

    def run(self, sql: str, **values: Any) -> list[list[Any]]:
        """Run `sql`; its rows."""
        statement = self._prepared.get(sql)
        if statement is None:
            statement = self._prepared[sql] = self.connection.prepare(sql)
        return statement.run(**values) or []

    @property
    def changed(self) -> int:
        """Rows that `simple` changed."""
        return int(self.connection.row_count)

    def simple(self, sql: str, **values: Any) -> list[list[Any]]:
        """Run a rare statement without keeping its plan."""
        return self.connection.run(sql, **values) or []


def write(statements: Statements, generation: int, change: Change) -> None:
    """Make `change` true; raises `Superseded` when another broker owns the tables by now."""
    rows = statements.run(
        CHANGE,
        generation=generation,
        done=list(change.done),
        events=_json(change.events),
        deliveries=_json(change.deliveries),
        postponed=_json(change.postponed),
    )
    if not rows[0][0]:
        raise Superseded("Another broker has taken over this database; this one stops. Run one broker per database.")


def due(statements: Statements, subscription: str, known: Sequence[int], rows: int, size: int) -> Load:
    """What is due for `subscription` and not `known` already: at most `rows`, and about `size` bytes, oldest first."""
    found = statements.run(DUE, subscription=subscription, **{"except": list(known)}, rows=rows, bytes=size)
    due = tuple(_due(row) for row in found)
    if found and (found[0][-1] == rows or found[0][-1] > len(found)):
        return Load(due=due, more=True)
    return Load(due=due, next_in=statements.run(NEXT_DUE, subscription=subscription)[0][0])


def _due(row: list[Any]) -> Due:
    id, attempt, losses, dead, attributes, trace, data, _ = row
    return Due(
        id=id,
        attempt=attempt,
        losses=losses,
        dead=dead,
        attributes=msgspec.json.decode(attributes, type=dict[str, str]),
        trace=msgspec.json.decode(trace, type=dict[str, str]),
        data=data,
    )


def depths(statements: Statements) -> list[Depth]:
    """How much waits, by subscription."""
    return [
        Depth(subscription=name, waiting=waiting, later=later, dead=dead, oldest_seconds=max(0.0, oldest))
        for name, waiting, later, dead, oldest in statements.run(DEPTHS)
    ]


def trim(statements: Statements, generation: int, keep: float, rows: int) -> int:
    """Forget at most `rows` finished events older than `keep` seconds; how many went."""
    statements.simple(TRIM, keep=keep, rows=rows, generation=generation)
    return statements.changed


def timer_wait(statements: Statements, name: str, minutes: int) -> float:
    """Seconds until the timer is due; not above 0 when it is."""
    rows = statements.simple(TIMER_WAIT, name=name, minutes=minutes)
    if not rows:
        statements.simple(TIMER_KNOWN, name=name)
    return float(rows[0][0]) if rows else minutes * 60.0


def fire(statements: Statements, generation: int, name: str, minutes: int, change: Change) -> bool:
    """Keep a timer's event and move the timer on, both or neither; False when it was not due."""
    statements.simple("begin")
    try:
        statements.simple(TIMER_FIRED, name=name, minutes=minutes, generation=generation)
        fired = statements.changed == 1
        if fired:
            write(statements, generation, change)
        statements.simple("commit")
    except DatabaseError:
        statements.simple("rollback")
        raise
    return fired


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()
