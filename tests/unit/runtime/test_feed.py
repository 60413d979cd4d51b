"""The event feed on a real database: nothing missed, nothing twice, others' things never seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from auricle.errors import Invalid
from auricle.notifications.store import EventLogStore
from auricle.runtime import feed as feeds
from auricle.runtime.database import Database, engine_for, migrate
from auricle.runtime.feed import DatabaseFeed


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    migrate(database_url)
    made = Database(engine_for(database_url, 8))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "POLL_SECONDS", 0.02)


def append(database: Database, owner: UUID, number: int) -> None:
    with database.work() as db:
        EventLogStore(db).append(owner, uuid4(), "run", {"number": number})


def numbers(database: Database, owner: UUID, after: str, count: int) -> list[bytes]:
    found: list[bytes] = []
    for happening in DatabaseFeed(database).follow(owner, after):
        if happening is not None:
            found.append(bytes(happening.data))
        if len(found) == count:
            return found
    raise AssertionError("the feed ended")


def test_a_listener_gets_its_own_entries_in_order_and_nobody_elses(database: Database) -> None:
    mine, theirs = uuid4(), uuid4()
    for i in range(5):
        append(database, mine, i)
        append(database, theirs, 100 + i)
    assert numbers(database, mine, "0-0", 5) == [b'{"number": %d}' % i for i in range(5)]


def test_what_happens_while_somebody_listens_is_told(database: Database) -> None:
    owner, feed = uuid4(), DatabaseFeed(database)
    line = feed.follow(owner, None)
    timer = threading.Timer(0.2, append, (database, owner, 7))
    timer.start()
    first = next(h for h in line if h is not None)
    assert bytes(first.data) == b'{"number": 7}'
    append(database, owner, 8)
    assert bytes(next(h for h in line if h is not None).data) == b'{"number": 8}'
    line.close()  # type: ignore[attr-defined]


def test_a_listener_resumes_exactly_where_it_was(database: Database) -> None:
    owner, feed = uuid4(), DatabaseFeed(database)
    for i in range(4):
        append(database, owner, i)
    line = feed.follow(owner, "0-0")
    second = [h for h in (next(line), next(line)) if h is not None][1]
    assert numbers(database, owner, second.position, 2) == [b'{"number": 2}', b'{"number": 3}']


def test_an_entry_that_commits_late_is_not_skipped(database: Database) -> None:
    owner = uuid4()
    with database.work() as slow:
        EventLogStore(slow).append(owner, uuid4(), "run", {"number": 1})  # has the earlier place, and is not committed yet
        append(database, owner, 2)
        feed = DatabaseFeed(database)
        assert [e for e in feed._read((0, 0)) if e.owner == owner] == []
    assert numbers(database, owner, "0-0", 2) == [b'{"number": 1}', b'{"number": 2}']


def test_many_listeners_share_one_poller(database: Database) -> None:
    owner, feed = uuid4(), DatabaseFeed(database)
    before = threading.active_count()
    lines = [feed.follow(owner, "0-0") for _ in range(5)]
    append(database, owner, 1)
    assert [bytes(h.data) for line in lines if (h := next(line)) is not None] == [b'{"number": 1}'] * 5
    assert threading.active_count() <= before + 1
    late = feed.follow(owner, "0-0")  # from before what the poller remembers
    assert next(late) is not None


def test_a_foreign_position_is_refused(database: Database) -> None:
    with pytest.raises(Invalid, match="Last-Event-ID"):
        DatabaseFeed(database).follow(uuid4(), "yesterday")
