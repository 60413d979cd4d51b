"""Minutes a month: counted when transcription begins, refused with a reason, and never counted twice."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import msgspec
import pytest

from auricle.contract.ids import uuid7
from auricle.files.model import Options
from auricle.runs.events import CancelRequested, RetryRequested
from auricle.runs.limits.model import Month, refusal
from auricle.runs.limits.store import MinutesStore
from auricle.runs.model import Run, RunId, RunState, StepName, StepState
from builders.conducted_rooms import PACE, Room, done, hear_of


@pytest.fixture(autouse=True)
def nothing_counted(room: Room) -> None:
    room.sql("truncate transcriptions")


def limited(room: Room, minutes: int | None) -> Room:
    room.pace = msgspec.structs.replace(PACE, minutes_per_month=minutes)
    return room


def seconds(room: Room) -> float:
    with room.database.work() as db:
        return MinutesStore(db).month().seconds


def again(room: Room, run: Run) -> Run:
    room.tell(RetryRequested(run_id=run.id))
    return room.run(run.id)


def test_minutes_are_counted_when_transcription_begins_and_not_before(room: Room) -> None:
    run = room.request(room.file(prepared=False))
    hear_of(room, run)
    (prepare,) = room.released()
    assert seconds(room) == 0
    room.prepare(run.file_id, 30, 30)
    room.tell(done(prepare))
    assert seconds(room) == 600
    room.work_off(30, 30)
    assert seconds(room) == 600


def test_every_run_that_transcribes_is_counted_and_no_other(room: Room) -> None:
    file_id = room.file(30)
    for steps, counted in (((StepName.TRANSCRIBE,), 300), ((StepName.DIARIZE,), 300), ((), 600)):
        run = room.request(file_id, *steps)
        hear_of(room, run)
        room.work_off(30)
        assert room.run(run.id).state is RunState.SUCCEEDED
        assert seconds(room) == counted, steps


def test_silence_costs_nothing(room: Room) -> None:
    limited(room, 1)
    run = room.request(room.file(prepared=False))
    hear_of(room, run)
    room.work_off(0, 0)
    assert room.run(run.id).state is RunState.SUCCEEDED
    assert seconds(room) == 0


def test_a_new_recording_that_does_not_fit_is_prepared_and_fails_with_the_reason(room: Room) -> None:
    limited(room, 9)
    run = room.request(room.file(prepared=False))
    hear_of(room, run)
    seen = room.work_off(30, 30)  # ten minutes
    found = room.run(run.id)
    assert [e.work for e in seen] == ["prepare"]
    assert found.state is RunState.FAILED
    assert found.error is not None
    assert found.error.startswith("This recording has 10.0 minutes, and of this month's 9 only 9 are left.")
    assert found.warnings == ()
    assert {s.name: s.state for s in found.steps}[StepName.PREPARE] is StepState.SUCCEEDED
    assert seconds(room) == 0


def test_a_recording_of_known_length_that_does_not_fit_is_not_even_prepared(room: Room) -> None:
    limited(room, 4)
    found = hear_of(room, room.request(room.file(30)))
    assert found.state is RunState.FAILED
    assert room.released() == []


def test_what_fits_exactly_is_transcribed(room: Room) -> None:
    limited(room, 10)
    assert hear_of(room, room.request(room.file(30, 30), StepName.TRANSCRIBE)).state is RunState.RUNNING
    assert hear_of(room, room.request(room.file(30), StepName.TRANSCRIBE)).state is RunState.FAILED


def test_a_vault_of_no_minutes_transcribes_nothing_and_says_so(room: Room) -> None:
    limited(room, 0)
    found = hear_of(room, room.request(room.file(30), StepName.TRANSCRIBE))
    assert found.error == "This vault transcribes nothing: it is allowed 0 minutes a month. Its administrator can change that."


def test_other_steps_need_no_minutes(room: Room) -> None:
    file_id = room.transcribed(room.file(30))
    limited(room, 0)
    assert hear_of(room, room.request(file_id, StepName.DIARIZE)).state is RunState.RUNNING


def test_what_was_refused_can_be_tried_again_next_month(room: Room) -> None:
    limited(room, 5)
    hear_of(room, room.request(room.file(30), StepName.TRANSCRIBE))
    refused = hear_of(room, room.request(room.file(30), StepName.TRANSCRIBE))
    assert again(room, refused).state is RunState.FAILED
    room.sql("update transcriptions set began_at = began_at - interval '1 month'")
    room.released()
    assert again(room, refused).state is RunState.RUNNING
    room.work_off()
    assert room.run(refused.id).state is RunState.SUCCEEDED


def test_a_retry_is_part_of_what_was_counted(room: Room) -> None:
    limited(room, 5)
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    hear_of(room, run)
    room.tell(CancelRequested(run_id=run.id))
    assert again(room, run).state is RunState.RUNNING
    assert seconds(room) == 300


def test_a_new_run_counts_anew(room: Room) -> None:
    limited(room, 5)
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    hear_of(room, run)
    room.tell(CancelRequested(run_id=run.id))
    another = room.request(run.file_id, StepName.TRANSCRIBE, options=Options(language="de"))
    assert hear_of(room, another).state is RunState.FAILED


def test_what_was_counted_stays_counted_when_its_file_is_purged(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    hear_of(room, run)
    with room.desk() as desk:
        desk.runs.forget(run.file_id)
    assert seconds(room) == 300


def test_a_month_begins_at_midnight_utc(room: Room) -> None:
    with room.database.work() as db:
        found = MinutesStore(db).month()
    began = found.renews_at.replace(
        year=found.renews_at.year - (found.renews_at.month == 1), month=(found.renews_at.month - 2) % 12 + 1
    )
    assert (found.renews_at.day, found.renews_at.hour, found.renews_at.minute, found.renews_at.tzinfo) == (1, 0, 0, UTC)
    for at, counted in ((began, 60.0), (began.replace(microsecond=1), 120.0)):
        room.sql("insert into transcriptions values (:id, 60, :at)", id=uuid7(), at=at)
        assert seconds(room) == counted
    room.sql(
        "insert into transcriptions values (:id, 60, cast(:at as timestamptz) - interval '1 second')", id=uuid7(), at=began
    )
    assert seconds(room) == 120.0


def test_a_month_is_utc_s_whatever_the_session_s_time_zone(room: Room) -> None:
    with room.database.work() as db:
        here = MinutesStore(db).month().renews_at
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"):
            db.exec_driver_sql(f"set local time zone '{zone}'")
            assert MinutesStore(db).month().renews_at == here


def test_of_two_that_begin_at_once_only_what_fits_begins(room: Room) -> None:
    limited(room, 5)
    for _ in range(8):
        room.sql("truncate transcriptions")
        runs = [room.request(room.file(30), StepName.TRANSCRIBE) for _ in range(4)]
        gate = threading.Barrier(len(runs))

        def begin(run: Run, gate: threading.Barrier = gate) -> None:
            gate.wait(20)
            hear_of(room, run)

        threads = [threading.Thread(target=begin, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(room.run(run.id).state for run in runs) == ["failed", "failed", "failed", "running"]
        assert seconds(room) == 300


def test_what_is_counted_is_counted_once(room: Room) -> None:
    id = RunId(uuid7())
    for _ in range(2):
        with room.database.work() as db:
            MinutesStore(db).count(id, 60)
            assert MinutesStore(db).counted(id)
    assert seconds(room) == 60


RENEWS = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(("used", "length", "fits"), [(0, 3600, True), (1, 3600, False), (3600, 0, True), (7200, 1, False)])
def test_a_recording_fits_or_not(used: float, length: float, fits: bool) -> None:
    assert (refusal(Month(seconds=used, renews_at=RENEWS), 60, length) is None) is fits


def test_a_refusal_says_what_is_left_and_when_there_is_more() -> None:
    assert refusal(Month(seconds=3400, renews_at=RENEWS), 60, 754) == (
        "This recording has 12.6 minutes, and of this month's 60 only 3.3 are left. "
        "They renew on 1 November 2026 (UTC): try again then, or ask your administrator for more."
    )


def test_of_a_limit_that_was_lowered_nothing_is_left_rather_than_less() -> None:
    assert Month(seconds=7200, renews_at=RENEWS).left(60) == 0.0
