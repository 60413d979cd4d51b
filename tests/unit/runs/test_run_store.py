"""Runs in the database: pages, the one active run of a file, and how little is written per event."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import exc

from auricle.contract.cursors import uuid_cursor
from auricle.contract.http import PageQuery
from auricle.contract.ids import uuid7
from auricle.files.events import FileReceived
from auricle.files.model import FileId, Options
from auricle.runs import conducting
from auricle.runs.conducted import Conducted
from auricle.runs.events import CancelRequested, RunRequested
from auricle.runs.model import RunId, RunState, StepName, first_run_id, plan_of
from auricle.runs.store import RunStore
from builders.conducted_rooms import Room, done


def begun() -> Conducted:
    return conducting.begun(Options(), plan_of((), Options()))


def test_the_database_refuses_a_second_active_run_of_a_file(room: Room) -> None:
    file_id = room.file(30)
    room.request(file_id)
    with pytest.raises(exc.DatabaseError), room.database.work() as db:
        RunStore(db).create(RunId(uuid7()), file_id, room.owner, begun())
    assert room.sql("select count(*) as n from runs")[0].n == 1


def test_a_run_is_created_once(room: Room) -> None:
    id, file_id = RunId(uuid7()), FileId(uuid7())
    for expected in (True, False):
        with room.database.work() as db:
            assert RunStore(db).create(id, file_id, room.owner, begun()) is expected
    assert room.sql("select count(*) as n from steps")[0].n == 6


def test_runs_are_listed_newest_first_page_by_page(room: Room) -> None:
    made: list[RunId] = []
    for _ in range(5):
        file_id = room.file(prepared=False)
        room.tell(FileReceived(file_id=file_id))  # ids of first runs are not in the order of time
        made.append(first_run_id(file_id))
    found: list[RunId] = []
    cursor: str | None = None
    while True:
        with room.desk() as desk:
            store = desk.runs
            page = uuid_cursor(
                PageQuery(limit=2, cursor=cursor),
                lambda limit, before, store=store: store.page(room.owner, limit, RunId(before) if before else None, None, None),
            )
        assert len(page.items) <= 2
        found += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert found == made[::-1]


def test_pages_are_narrowed_by_file_and_state(room: Room) -> None:
    one, two = room.file(30), room.file(30)
    cancelled = room.request(one)
    room.tell(CancelRequested(run_id=cancelled.id))
    active, other = room.request(one), room.request(two)
    with room.desk() as desk:
        page = desk.runs.page
        assert [r.id for r in page(room.owner, 9, None, one, None)] == [active.id, cancelled.id]
        assert [r.id for r in page(room.owner, 9, None, None, RunState.QUEUED)] == [other.id, active.id]
        assert [r.id for r in page(room.owner, 9, None, one, RunState.CANCELLED)] == [cancelled.id]
        assert page(room.owner, 9, None, one, RunState.FAILED) == []


def test_an_answer_writes_the_rows_it_is_about_and_no_others(room: Room) -> None:
    run = room.request(room.file(*[30.0] * 40))
    room.tell(RunRequested(run_id=run.id, file_id=run.file_id))
    (prepare,) = room.released()
    room.tell(done(prepare))
    event = room.released()[0]

    def versions() -> dict[tuple[str, int], str]:
        return {(r.step, r.index): r.xmin for r in room.sql("select step, index, xmin::text as xmin from pieces")}

    before = versions()
    room.tell(done(event))
    after = versions()
    assert len(before) == 84
    (next_one,) = room.released()
    assert {key for key in before if before[key] != after[key]} == {(event.work, event.index), (next_one.work, next_one.index)}


def test_a_unit_of_work_that_breaks_leaves_nothing_behind(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    room.tell(RunRequested(run_id=run.id, file_id=run.file_id))
    (event,) = room.released()
    room.blobs.sign_get = _away  # type: ignore[method-assign]
    other = room.request(room.file(30), StepName.TRANSCRIBE)
    with pytest.raises(ConnectionError):
        room.tell(RunRequested(run_id=other.id, file_id=other.file_id))
    assert room.run(other.id).state is RunState.QUEUED
    assert room.sql("select state from pieces where run_id = :id and step = 'transcribe'", id=other.id) == []
    assert event.run_id == run.id


def _away(*_: object, **__: object) -> str:
    raise ConnectionError("away")


def test_events_of_one_run_wait_for_each_other(room: Room) -> None:
    """Every answer comes at the same moment, each on its own connection: none is lost, nothing goes out twice."""
    run = room.request(room.file(*[30.0] * 12), StepName.TRANSCRIBE)
    room.tell(RunRequested(run_id=run.id, file_id=run.file_id))
    published: list[str | None] = []
    for _ in range(20):
        published += [i for i in room.bus.ids() if i is not None]
        events = [e for e in room.released() if e.work == "transcribe"]
        if not events:
            break
        threads = [threading.Thread(target=room.tell, args=(done(event),)) for event in events]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert {r.state for r in room.sql("select state from pieces where step = 'transcribe'")} == {"done"}
    assert len(published) == len(set(published))
    assert sum("/transcribe/" in str(name) for name in published) == 12
