"""What people are told while nobody begins a run's work, and when somebody does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import Connection

from auricle.errors import Conflict, Invalid
from auricle.files.model import Options
from auricle.notifications.store import EventLogStore
from auricle.ports.feed import Happening
from auricle.runs import routes
from auricle.runs.events import CancelRequested, RunRequested, StepProgressed
from auricle.runs.expectations.store import ExpectationStore
from auricle.runs.model import Awaited, Run, RunState, StepName, check_model
from auricle.runs.store import RunStore
from auricle.runs.waiting import NoticingFeed, tell_waiting
from auricle.runs.warming import EVERY_SECONDS, expect
from auricle.speech.events import SpeechExpected
from builders.conducted_rooms import Room, done


def begin(room: Room, *speech: float, steps: tuple[StepName, ...] = (StepName.TRANSCRIBE,)) -> Run:
    run = room.request(room.file(*speech), *steps)
    room.tell(RunRequested(run_id=run.id, file_id=run.file_id))
    return run


def a_minute_passes(room: Room) -> None:
    room.sql("update steps set unattended_since = unattended_since - interval '1 minute'")


def sign_of_life(event: Any) -> StepProgressed:
    return StepProgressed(
        run_id=event.run_id, work=event.work, index=event.index, attempt=event.attempt, fraction=0.0, receipt=event.receipt
    )


def told(room: Room, run: Run) -> list[Any]:
    """What listeners were told the run waits for, entry by entry."""
    rows = room.sql("select data from event_log where type = 'run' and data->>'id' = :id order by seq", id=str(run.id))
    return [row.data["waiting_for"] for row in rows]


def notice(room: Room) -> int:
    with room.database.work() as db:
        return tell_waiting(RunStore(db), EventLogStore(db))


def waiting(room: Room, run: Run) -> tuple[Awaited | None, Awaited | None]:
    """Of the run and of its step, and the list says the same."""
    found = room.run(run.id)
    with room.desk() as desk:
        (listed,) = desk.runs.page(room.owner, 5, None, run.file_id, None)
    assert listed == found
    return found.waiting_for, next(s.waiting_for for s in found.steps if s.name is StepName.TRANSCRIBE)


def test_a_run_that_just_began_does_not_wait(room: Room) -> None:
    assert waiting(room, begin(room, 30, 30)) == (None, None)


def test_after_a_while_without_anybody_it_waits_and_then_goes_on(room: Room) -> None:
    room.pace = msgspec.structs.replace(room.pace, awaited=Awaited.GPU)
    run = begin(room, 30, 30)
    one, two = room.released()
    a_minute_passes(room)
    assert waiting(room, run) == (Awaited.GPU, Awaited.GPU)
    room.tell(sign_of_life(one))
    assert waiting(room, run) == (None, None)
    room.tell(done(one))
    room.tell(done(two))
    room.work_off()
    assert room.run(run.id).state is RunState.SUCCEEDED


def test_between_two_quick_pieces_nobody_waits(room: Room) -> None:
    run = begin(room, 30, 30)
    one, _ = room.released()
    a_minute_passes(room)
    room.tell(done(one))
    assert waiting(room, run) == (None, None)
    a_minute_passes(room)
    assert waiting(room, run) == (Awaited.SPEECH_WORKER, Awaited.SPEECH_WORKER)


def test_being_released_anew_is_still_waiting(room: Room) -> None:
    run = begin(room, 30)
    a_minute_passes(room)
    room.let_deadlines_pass()
    assert room.sweep() == 1
    assert waiting(room, run) == (Awaited.SPEECH_WORKER, Awaited.SPEECH_WORKER)


def test_a_cancelled_run_waits_for_nothing(room: Room) -> None:
    run = begin(room, 30)
    a_minute_passes(room)
    room.tell(CancelRequested(run_id=run.id))
    assert waiting(room, run) == (None, None)
    assert notice(room) == 0


def test_listeners_are_told_once_that_it_waits_and_once_that_it_goes_on(room: Room) -> None:
    run = begin(room, 30, 30)
    one, _ = room.released()
    assert notice(room) == 0
    a_minute_passes(room)
    assert [notice(room), notice(room)] == [1, 0]
    assert told(room, run)[-1] == "speech worker"
    room.tell(sign_of_life(one))
    assert told(room, run)[-1] is None
    room.tell(done(one))
    a_minute_passes(room)
    assert notice(room) == 1


class QuietFeed:
    """Nothing happens."""

    def follow(self, owner: UUID, after: str | None) -> Iterator[Happening | None]:
        for _ in range(3):
            yield None


class Units:
    """Units of work on the room's database, counted."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.count = 0

    def unit(self) -> AbstractContextManager[Connection]:
        self.count += 1
        return self.room.database.work()


@pytest.mark.parametrize(("seconds", "looks"), [(0.0, 3), (60.0, 1)])
def test_whoever_listens_looks_now_and_then(room: Room, seconds: float, looks: int) -> None:
    run = begin(room, 30)
    a_minute_passes(room)
    units = Units(room)
    feed = NoticingFeed(QuietFeed(), units, seconds)
    assert list(feed.follow(uuid4(), None)) == [None] * 3
    assert units.count == looks
    assert told(room, run)[-1] == "speech worker"


# Trying again.


def test_a_retry_of_a_run_whose_file_was_cut_anew_is_refused(room: Room) -> None:
    run = begin(room, 30, 30)
    room.tell(CancelRequested(run_id=run.id))
    with room.desk() as desk:
        assert routes.retry_run(run.id, desk.runs, desk.chunks, desk.bus).status == 202
    room.bus.published.clear()
    room.prepare(run.file_id, 60, length=120.0)
    with room.desk() as desk, pytest.raises(Conflict, match="prepared anew"):
        routes.retry_run(run.id, desk.runs, desk.chunks, desk.bus)
    assert room.bus.published == []


# Waking the speech functions.


def announce(room: Room, options: Options | None = None) -> list[tuple[str, str]]:
    room.bus.published.clear()
    with room.database.work() as db:
        expect(options or Options(), ExpectationStore(db), room.bus, room.pace)
    return [(str(f.work), f.model) for f in room.bus.facts(SpeechExpected)]


@pytest.fixture
def quiet(room: Room) -> Room:
    room.sql("truncate speech_expected")
    return room


def test_an_upload_wakes_those_who_will_hear_it(quiet: Room) -> None:
    assert announce(quiet) == [("transcribe", "words-1"), ("diarize", "voices-1")]


def test_a_batch_of_uploads_wakes_them_once_a_minute(quiet: Room) -> None:
    assert [len(announce(quiet)) for _ in range(5)] == [2, 0, 0, 0, 0]
    quiet.sql(
        "update speech_expected set told_at = told_at - make_interval(secs => :s) where work = 'diarize'", s=EVERY_SECONDS
    )
    assert announce(quiet) == [("diarize", "voices-1")]


def test_nobody_is_woken_for_voices_that_are_not_wanted_or_models_that_are_not_served(quiet: Room) -> None:
    assert announce(quiet, Options(diarize=False, model="no-such-model")) == []
    quiet.pace = msgspec.structs.replace(quiet.pace, offered=("words-2",))
    assert announce(quiet, Options(diarize=False, model="words-2")) == [("transcribe", "words-2")]


def test_a_setting_turns_it_off(quiet: Room) -> None:
    quiet.pace = msgspec.structs.replace(quiet.pace, prewarm=False)
    assert announce(quiet) == []


def test_models_that_no_service_serves_are_refused_at_once(room: Room) -> None:
    pinned = msgspec.structs.replace(room.pace, offered=("words-1", "words-2"))
    for model in (None, "words-1", "words-2"):
        check_model(Options(model=model), pinned)
    with pytest.raises(Invalid, match="words-1, words-2"):
        check_model(Options(model="words-3"), pinned)
    check_model(Options(model="words-3"), room.pace)
