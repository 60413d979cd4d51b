"""What is kept is kept once, by one broker, and is read in small windows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from auricle.runtime.local.broker import ledger as ledger_module
from auricle.runtime.local.broker import lines as lines_module
from auricle.runtime.local.broker import store
from auricle.runtime.local.broker.changes import Change, NewDelivery, NewEvent, Postponed
from auricle.runtime.local.broker.ledger import Ledger
from auricle.runtime.local.broker.lines import Away, Line
from auricle.runtime.local.broker.store import Statements, Superseded
from auricle.runtime.local.errors import CannotStart
from builders.postgres_server import Server


@pytest.fixture
def url(postgres_server: Server) -> str:
    """A fresh database."""
    return postgres_server.owner_url(postgres_server.new_database())


def with_ledger(url: str, story: Callable[[Ledger], Awaitable[None]]) -> None:
    """Run `story` with a ledger that owns the tables."""

    async def run() -> None:
        ledger = Ledger(url)
        try:
            await ledger.take_over()
            await asyncio.wait_for(story(ledger), 30)
        finally:
            ledger.close(5)

    asyncio.run(run())


def arrival(
    ledger: Ledger, subscription: str = "s", *, data: bytes = b"x", wait: float = 0.0, cause: int | None = None
) -> Change:
    """One event for one subscription."""
    event = NewEvent(id=ledger.next_id(), cause=cause, attributes={"id": "ü", "source": "/s", "type": "t"}, trace={}, data=data)
    delivery = NewDelivery(id=ledger.next_id(), event=event.id, cause=cause, subscription=subscription, wait=wait)
    return Change(events=(event,), deliveries=(delivery,), done=() if cause is None else (cause,))


def count(url: str, table: str) -> int:
    """Rows in one of the broker's tables."""
    with store.connector(url)() as connection:
        return int(connection.run(f"select count(*) from broker.{table}")[0][0])


def test_an_event_is_read_as_it_was_written(url: str) -> None:
    async def story(ledger: Ledger) -> None:
        change = arrival(ledger, data=bytes(range(256)))
        await ledger.arrive(change)
        load = await ledger.due("s", [])
        (due,) = load.due
        assert (due.id, due.data, due.attributes) == (change.deliveries[0].id, bytes(range(256)), change.events[0].attributes)
        assert (due.attempt, due.losses, due.dead, load.more, load.next_in) == (0, 0, False, False, None)
        assert (await ledger.due("s", [due.id])).due == ()
        assert (await ledger.due("other", [])).due == ()

    with_ledger(url, story)


def test_finishing_twice_publishes_the_reply_once(url: str) -> None:
    async def story(ledger: Ledger) -> None:
        first = arrival(ledger)
        await ledger.arrive(first)
        reply = arrival(ledger, "next", cause=first.deliveries[0].id)
        await ledger.settle(reply)
        await ledger.settle(reply)  # as after a commit whose answer was lost
        assert len((await ledger.due("next", [])).due) == 1
        assert (await ledger.due("s", [])).due == ()

    with_ledger(url, story)


def test_a_postponed_delivery_is_due_later_with_its_counts(url: str) -> None:
    async def story(ledger: Ledger) -> None:
        change = arrival(ledger)
        await ledger.arrive(change)
        id = change.deliveries[0].id
        await ledger.settle(Change(postponed=(Postponed(id=id, attempt=2, losses=1, wait=30),)))
        load = await ledger.due("s", [])
        assert load.due == ()
        assert load.next_in is not None
        assert 25 < load.next_in <= 30
        await ledger.settle(Change(postponed=(Postponed(id=id, attempt=3, losses=1, wait=0),)))
        (due,) = (await ledger.due("s", [])).due
        assert (due.attempt, due.losses) == (3, 1)
        depth = (await ledger.depths())[0]
        assert (depth.subscription, depth.waiting, depth.later) == ("s", 1, 0)

    with_ledger(url, story)


def test_a_backlog_is_read_in_windows_of_rows_and_bytes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "WINDOW_ROWS", 4)
    monkeypatch.setattr(ledger_module, "WINDOW_BYTES", 1000)

    async def story(ledger: Ledger) -> None:
        changes = [arrival(ledger, data=b"x" * size) for size in (10, 10, 10, 10, 10, 2000, 600, 600)]
        for change in changes:
            await ledger.arrive(change)
        ids = [change.deliveries[0].id for change in changes]
        read: list[int] = []
        windows: list[int] = []
        while (load := await ledger.due("s", read)).due:
            windows.append(len(load.due))
            read += [due.id for due in load.due]
            assert load.more == (len(read) < len(ids))
        assert read == ids
        assert windows == [4, 1, 1, 1, 1]

    with_ledger(url, story)


def test_many_at_once_share_commits_and_a_bad_one_fails_alone(url: str) -> None:
    async def story(ledger: Ledger) -> None:
        good = [arrival(ledger) for _ in range(50)]
        twice = Change(events=good[0].events)  # its number is taken
        results = await asyncio.gather(*(ledger.arrive(change) for change in [*good, twice]), return_exceptions=True)
        assert results[:50] == [None] * 50
        assert isinstance(results[50], DatabaseError)

    with_ledger(url, story)
    assert count(url, "deliveries") == 50


def test_who_lost_the_tables_writes_nothing_more(url: str) -> None:
    async def story(ledger: Ledger) -> None:
        kept = arrival(ledger)
        await ledger.arrive(kept)
        other = Ledger(url)
        await other.take_over()
        assert other.next_id() > kept.deliveries[0].id
        for change in (arrival(ledger), Change(done=(kept.deliveries[0].id,))):
            with pytest.raises(Superseded, match="Another broker"):
                await ledger.arrive(change)
        assert len((await other.due("s", [])).due) == 1
        await ledger.trim(0)
        other.close(5)

    with_ledger(url, story)
    assert (count(url, "events"), count(url, "deliveries")) == (1, 1)


def test_finished_events_are_forgotten_and_unfinished_ones_are_not(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "TRIM_ROWS", 2)

    async def story(ledger: Ledger) -> None:
        changes = [arrival(ledger) for _ in range(6)]
        for change in changes:
            await ledger.arrive(change)
        await ledger.settle(Change(done=tuple(change.deliveries[0].id for change in changes[:5])))
        await ledger.trim(3600)
        assert count(url, "events") == 6
        await ledger.trim(0)

    with_ledger(url, story)
    assert (count(url, "events"), count(url, "deliveries")) == (1, 1)


def test_a_timer_is_due_after_its_period_and_its_event_is_kept_with_it(url: str) -> None:
    async def story(ledger: Ledger) -> None:
        assert 1700 < await ledger.timer_wait("t", 30) <= 1800
        assert not await ledger.fire("t", 30, arrival(ledger))
        with store.connector(url)() as connection:
            connection.run("update broker.timers set fired_at = now() - interval '31 minutes'")
        assert await ledger.timer_wait("t", 30) <= 0
        assert await ledger.fire("t", 30, arrival(ledger))
        assert not await ledger.fire("t", 30, arrival(ledger))

    with_ledger(url, story)
    assert count(url, "deliveries") == 1


def test_starting_again_keeps_what_is_there(url: str) -> None:
    with_ledger(url, lambda ledger: ledger.arrive(arrival(ledger)))
    with_ledger(url, lambda ledger: ledger.arrive(arrival(ledger)))
    assert count(url, "deliveries") == 2


def test_a_role_that_may_not_create_is_told_so(postgres_server: Server) -> None:
    url = postgres_server.app_url(postgres_server.new_database())

    async def story() -> None:
        ledger = Ledger(url)
        try:
            with pytest.raises(CannotStart, match="may not create the schema"):
                await ledger.take_over()
        finally:
            ledger.close(5)

    asyncio.run(story())


def test_a_role_that_was_granted_the_tables_uses_them(postgres_server: Server) -> None:
    name = postgres_server.new_database()
    with store.connector(postgres_server.owner_url(name))() as owner:
        store.take_over(owner)
        owner.run("grant usage on schema broker to auricle_app")
        owner.run("grant select, insert, update, delete on all tables in schema broker to auricle_app")
    with_ledger(postgres_server.app_url(name), lambda ledger: ledger.arrive(arrival(ledger)))


def test_a_line_at_rest_gives_its_connection_back_and_gets_another(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "REST", 0.05)

    async def story(ledger: Ledger) -> None:
        await ledger.arrive(arrival(ledger))
        with store.connector(url)() as observer:
            query = (
                "select count(*) from pg_stat_activity where application_name = 'auricle broker' and pid <> pg_backend_pid()"
            )
            while observer.run(query)[0][0]:
                await asyncio.sleep(0.02)
        await ledger.arrive(arrival(ledger))
        assert len((await ledger.due("s", [])).due) == 2

    with_ledger(url, story)


def test_no_database_is_away_and_comes_back() -> None:
    async def story() -> None:
        attempts = 0

        def connect() -> Connection:
            nonlocal attempts
            attempts += 1
            raise ConnectionRefusedError("nobody there")

        def work(_: Statements, jobs: object) -> list[int]:
            raise AssertionError("there is no connection to work with")

        line: Line[int, int] = Line("test", connect, work, lambda _: 1, 10)
        for _ in range(2):
            with pytest.raises(Away, match="nobody there"):
                await line.put(1)
        assert attempts == 2
        line.close(5)

    asyncio.run(story())
