"""A lane never delivers twice what it need not, however the tables and the loop overtake each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import cast

import pytest

from auricle.runtime.local.broker import wire
from auricle.runtime.local.broker.changes import Change, Due, Load, NewDelivery
from auricle.runtime.local.broker.client import HttpClient
from auricle.runtime.local.broker.lane import Lane
from auricle.runtime.local.broker.ledger import Ledger
from auricle.runtime.local.plan import Delivery, Pool, Subscription
from auricle.runtime.local.workers import Workers
from builders.subscriber import Reply, Subscriber, subscribing

EVENT = wire.Event(attributes={"id": "1", "source": "/s", "type": "t"})


class Tables:
    """Tables that answer when the test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[Sequence[int], asyncio.Future[Load]]] = asyncio.Queue()

    async def due(self, subscription: str, known: Sequence[int]) -> Load:
        """What the test answers."""
        answer: asyncio.Future[Load] = asyncio.get_running_loop().create_future()
        await self.asked.put((known, answer))
        return await answer


class Desk:
    """A hub that keeps every outcome at once."""

    running = True

    def __init__(self) -> None:
        self.settled: list[Change] = []

    def publication(self, event: wire.Event, cause: int) -> Change:
        """A reply is of no interest here."""
        return Change(done=(cause,))

    def burial(self, event: wire.Event, subscription: str, cause: int) -> Change:
        """Nor is a dead letter."""
        return Change(done=(cause,))

    async def settle(self, change: Change) -> None:
        """Keep it."""
        self.settled.append(change)

    def lost_database(self) -> None:
        """There is one, always."""


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    with subscribing() as running:
        yield running


Story = Callable[[Lane, Tables, Desk], Awaitable[None]]


def play(subscriber: Subscriber, story: Story, **changes: object) -> None:
    """Run `story` with a lane to `subscriber`."""

    async def run() -> None:
        client, tables, desk = HttpClient(), Tables(), Desk()
        given = {"name": "s", "filter": {"type": "t"}, "pool": "p", "path": "/work", "parallelism": 2, **changes}
        pool = Pool(name="p", functions=("work",), url=subscriber.url, concurrency=64)
        workers = Workers([pool], logs=None, client=client, environment={})  # type: ignore[arg-type]  # it starts nothing
        lane = Lane(Subscription(**given), "auricle", desk, cast(Ledger, tables), workers, client)  # type: ignore[arg-type]
        await story(lane, tables, desk)
        await lane.stop(0)
        client.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def row(id: int) -> Due:
    """A delivery as the tables have it."""
    return Due(id=id, attempt=0, losses=0, dead=False, attributes=EVENT.attributes, trace={}, data=b"")


def new(id: int, wait: float = 0.0) -> NewDelivery:
    """A delivery that is being written."""
    return NewDelivery(id=id, event=1, cause=None, subscription="s", wait=wait)


async def settled(desk: Desk, count: int) -> None:
    """Until `count` outcomes are kept."""
    while len(desk.settled) < count:
        await asyncio.sleep(0.005)


def test_what_was_done_while_the_tables_were_read_is_not_done_again(subscriber: Subscriber) -> None:
    async def story(lane: Lane, tables: Tables, desk: Desk) -> None:
        lane.pump()
        known, answer = await tables.asked.get()
        assert known == []
        lane.expect(new(7))
        lane.offer(new(7), EVENT)  # written, offered, delivered and settled before the tables answer
        await settled(desk, 1)
        answer.set_result(Load(due=(row(7), row(8))))  # as they were when 7 was still there
        await settled(desk, 2)
        await asyncio.sleep(0.05)
        assert [change.done for change in desk.settled] == [(7,), (8,)]

    play(subscriber, story)


def test_what_is_being_written_or_delivered_is_not_read(subscriber: Subscriber) -> None:
    async def story(lane: Lane, tables: Tables, desk: Desk) -> None:
        lane.pump()
        _, answer = await tables.asked.get()
        answer.set_result(Load(due=()))
        await asyncio.sleep(0)
        subscriber.script("/work", Reply(delay=0.3))
        lane.offer(new(1), EVENT)
        lane.expect(new(2))
        lane.reload()
        known, answer = await tables.asked.get()
        assert sorted(known) == [1, 2]
        answer.set_result(Load(due=(row(2),)))  # it was kept before the tables were read, and is offered afterwards
        lane.offer(new(2), EVENT)
        await settled(desk, 2)
        await asyncio.sleep(0.05)
        assert sorted(change.done for change in desk.settled) == [(1,), (2,)]

    play(subscriber, story)


def test_what_may_or_may_not_have_been_written_is_looked_for(subscriber: Subscriber) -> None:
    async def story(lane: Lane, tables: Tables, desk: Desk) -> None:
        lane.pump()
        _, answer = await tables.asked.get()
        answer.set_result(Load(due=()))
        await asyncio.sleep(0)
        lane.expect(new(1))
        lane.unexpect(new(1))
        lane.pump()
        known, answer = await tables.asked.get()
        assert known == []
        answer.set_result(Load(due=(row(1),)))
        await settled(desk, 1)

    play(subscriber, story)


def test_a_window_that_was_not_all_is_followed_by_another(subscriber: Subscriber) -> None:
    async def story(lane: Lane, tables: Tables, desk: Desk) -> None:
        lane.pump()
        for id in (1, 2, 3):
            _, answer = await tables.asked.get()
            answer.set_result(Load(due=(row(id),), more=id < 3))
        await settled(desk, 3)
        assert tables.asked.empty()

    play(subscriber, story)


def test_the_earliest_of_several_waits_wakes_the_lane(subscriber: Subscriber) -> None:
    async def story(lane: Lane, tables: Tables, desk: Desk) -> None:
        lane.pump()
        _, answer = await tables.asked.get()
        answer.set_result(Load(due=(), next_in=30.0))
        await asyncio.sleep(0)
        lane.offer(new(1, wait=0.05), EVENT)
        lane.offer(new(2, wait=30.0), EVENT)
        _, answer = await tables.asked.get()
        answer.set_result(Load(due=(row(1),), next_in=0.05))
        await settled(desk, 1)
        await tables.asked.get()

    play(subscriber, story)


def test_retries_stop_at_the_policys_count_and_dead_letters_do_not(subscriber: Subscriber) -> None:
    subscriber.script("/work", Reply(503))

    async def story(lane: Lane, tables: Tables, desk: Desk) -> None:
        lane.pump()
        _, answer = await tables.asked.get()
        first = Due(**{**{name: getattr(row(1), name) for name in Due.__struct_fields__}, "attempt": 1})
        last = Due(**{**{name: getattr(row(2), name) for name in Due.__struct_fields__}, "attempt": 2})
        dead = Due(**{**{name: getattr(row(3), name) for name in Due.__struct_fields__}, "attempt": 99, "dead": True})
        answer.set_result(Load(due=(first, last, dead)))
        await settled(desk, 3)
        outcomes = {id: change for change in desk.settled for id in (*change.done, *(p.id for p in change.postponed))}
        assert (outcomes[1].postponed[0].attempt, outcomes[1].postponed[0].wait) == (2, 1.0)
        assert outcomes[2].done == (2,)
        assert (outcomes[3].postponed[0].attempt, outcomes[3].postponed[0].wait) == (100, 60.0)

    play(subscriber, story, delivery=Delivery(retry=2, delay=0.5))
