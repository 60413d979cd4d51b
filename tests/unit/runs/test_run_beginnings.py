"""How runs begin, on a real database: a file arrives, or somebody asks for a run with steps and options."""

from __future__ import annotations

from uuid import uuid4

import pytest

from auricle.errors import Conflict, Invalid
from auricle.files.events import FileReceived
from auricle.files.model import FileId, Options
from auricle.runs.events import CancelRequested, RunFinished, RunRequested
from auricle.runs.model import RunState, StepName
from builders.conducted_rooms import Room, begin, done, first, states


def test_a_file_that_arrives_is_worked_through(room: Room) -> None:
    id = first(room, room.file(prepared=False))
    released = [(e.work.value, getattr(e, "index", 0)) for e in room.work_off(30, 0, 60)]
    assert released == [
        ("prepare", 0),
        ("transcribe", 0),
        ("transcribe", 2),
        ("diarize", 0),
        ("diarize", 2),
        ("cluster", 0),
        ("assemble", 0),
        ("export", 0),
    ]
    run = room.run(id)
    assert run.state is RunState.SUCCEEDED
    assert set(states(run).values()) == {"succeeded"}
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.started_at <= run.finished_at
    assert all(step.progress == 1 and step.attempts == 1 for step in run.steps)


def test_repeated_news_of_a_file_begin_one_run(room: Room) -> None:
    file_id = room.file(prepared=False)
    id = first(room, file_id)
    first(room, file_id)
    assert len(room.released()) == 1
    assert [row.id for row in room.sql("select id from runs")] == [id]
    room.tell(CancelRequested(run_id=id))
    first(room, file_id)
    assert room.run(id).state is RunState.CANCELLED


def test_news_of_a_file_that_is_worked_on_begin_nothing(room: Room) -> None:
    file_id = room.file(prepared=False)
    room.request(file_id)
    room.bus.published.clear()
    room.tell(FileReceived(file_id=file_id))
    assert room.bus.published == []
    assert room.sql("select count(*) as n from runs")[0].n == 1


def test_news_of_a_file_that_is_gone_begin_nothing(room: Room) -> None:
    room.tell(FileReceived(file_id=FileId(uuid4())))
    assert room.bus.published == []


def test_a_request_is_queued_and_told(room: Room) -> None:
    file_id = room.file(30)
    run = room.request(file_id)
    assert run.state is RunState.QUEUED
    assert set(states(run).values()) == {"waiting"}
    assert room.bus.published == [(f"{run.id}/requested", RunRequested(run_id=run.id, file_id=file_id))]


def test_a_request_told_twice_begins_once(room: Room) -> None:
    run = room.request(room.file(30))
    begin(room, run)
    assert len(room.released()) == 1
    begin(room, run)
    assert room.released() == []


def test_a_second_request_names_the_run_that_is_active(room: Room) -> None:
    file_id = room.file(30)
    active = room.request(file_id)
    with pytest.raises(Conflict) as refused:
        room.request(file_id)
    assert refused.value.extra == {"run_id": active.id}


def test_a_superseding_request_cancels_and_replaces(room: Room) -> None:
    file_id = room.file(30)
    old = room.request(file_id)
    begin(room, old)
    (event,) = room.released()
    new = room.request(file_id, supersede=True)
    assert room.run(old.id).state is RunState.CANCELLED
    assert [f.state for f in room.bus.facts(RunFinished)] == [RunState.CANCELLED]
    begin(room, new)
    room.released()
    room.tell(done(event))
    assert room.released() == []
    assert room.run(old.id).state is RunState.CANCELLED


def test_nobody_else_lists_a_run(room: Room) -> None:
    file_id = room.file(30)
    run = room.request(file_id)
    other = Room(room.database)
    with other.desk() as desk:
        assert desk.runs.page(other.owner, 10, None, file_id, None) == []
        assert [found.id for found in desk.runs.page(room.owner, 10, None, file_id, None)] == [run.id]


def test_steps_of_a_file_that_was_never_prepared_are_refused(room: Room) -> None:
    with pytest.raises(Conflict, match="never prepared"):
        room.request(room.file(prepared=False), StepName.DIARIZE)


@pytest.mark.parametrize(
    "wish",
    [
        {"num_speakers": 0},
        {"min_speakers": 3, "max_speakers": 2},
        {"num_speakers": 2, "max_speakers": 4},
        {"chunk_seconds": 9.9},
        {"chunk_seconds": 1800.1},
        {"chunk_seconds": float("nan")},
        {"language": "English"},
        {"model": "../../etc/passwd"},
        {"vocabulary": (" ",)},
        {"vocabulary": ("a",) * 501},
        {"initial_prompt": "x" * 2001},
        {"audio_track": -1},
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused_and_leave_nothing(room: Room, wish: dict[str, object]) -> None:
    file_id = room.file(30)
    with pytest.raises(Invalid) as refused:
        room.request(file_id, options=Options(**wish))  # type: ignore[arg-type]
    assert str(refused.value).endswith(".")
    assert str(refused.value.extra["field"]).removeprefix("options.") in wish
    assert room.sql("select * from runs") == []


def test_options_at_their_limits_are_taken(room: Room) -> None:
    for wish in ({"chunk_seconds": 10}, {"chunk_seconds": 1800}, {"min_speakers": 2, "max_speakers": 2}, {"language": "yue"}):
        assert room.request(room.file(30), options=Options(**wish)).state is RunState.QUEUED  # type: ignore[arg-type]
