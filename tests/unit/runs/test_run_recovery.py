"""What must hold when runs are cancelled, superseded, done again, or answered late."""

from __future__ import annotations

import threading

import pytest

from auricle.contract.event import failure_of
from auricle.errors import Conflict
from auricle.runs import actions
from auricle.runs.events import CancelRequested, RetryRequested, StepProgressed
from auricle.runs.model import RunState, StepName
from auricle.speech.events import ChunkReleased, WorkFailed
from builders.conducted_rooms import Room, begin, done, first, outputs


def refused(event: ChunkReleased, error: str) -> WorkFailed:
    fact = failure_of(WorkFailed, event, error)  # as the event door answers
    assert isinstance(fact, WorkFailed)
    return fact


def test_what_a_cancelled_run_had_out_is_never_due(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    room.tell(CancelRequested(run_id=run.id))
    room.let_deadlines_pass()
    assert room.sweep() == 0


def test_what_a_failed_run_had_out_is_never_due(room: Room) -> None:
    run = room.request(room.file(prepared=False))
    begin(room, run)
    seen = room.work_off(30, keep=lambda e: e.work in ("transcribe", "diarize"))
    (words,) = [e for e in seen if e.work == "transcribe"]
    room.tell(refused(words, "There is no such model."))
    assert room.run(run.id).state is RunState.FAILED
    room.let_deadlines_pass()
    assert room.sweep() == 0


def test_many_cancelled_runs_do_not_keep_the_sweep_from_a_living_one(room: Room) -> None:
    for _ in range(20):
        run = room.request(room.file(30, 30, 30), StepName.TRANSCRIBE)
        begin(room, run)
        room.tell(CancelRequested(run_id=run.id))
    living = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, living)
    room.released()
    room.let_deadlines_pass()
    room.sql("update pieces set deadline = now() - interval '1 day' where run_id <> :id and state = 'released'", id=living.id)
    room.sweep()
    assert [e.run_id for e in room.released()] == [living.id]


def test_two_sweeps_at_once_release_what_is_due_once(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    room.released()
    room.let_deadlines_pass()
    second = threading.Thread(target=room.sweep)
    with room.desk() as desk:
        actions.sweep(desk)
        second.start()  # reads what is due before this one has committed
        second.join(1)
    second.join(20)
    assert room.bus.ids() == [f"{run.id}/transcribe/0/1/2"]


def test_a_sweep_believes_a_sign_of_life_that_comes_in_between(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    (event,) = room.released()
    room.let_deadlines_pass()
    sweep = threading.Thread(target=room.sweep)
    alive = StepProgressed(run_id=run.id, work=event.work, index=0, attempt=1, fraction=0.5, receipt=event.receipt)
    with room.desk() as desk:
        actions.advance(alive, desk)
        sweep.start()
        sweep.join(1)
    sweep.join(20)
    assert room.bus.ids() == []


def test_a_sign_of_life_without_any_progress_moves_the_deadline_too(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    (event,) = room.released()
    alive = StepProgressed(run_id=run.id, work=event.work, index=0, attempt=1, fraction=0.5, receipt=event.receipt)
    room.tell(alive)
    room.let_deadlines_pass()
    room.tell(alive)
    assert room.sweep() == 0


def test_an_old_release_whose_links_have_expired_costs_no_words(room: Room) -> None:
    """Queued for longer than its links live, the first release is refused; the second, with fresh ones, is still to come."""
    run = room.request(room.file(30, 30), StepName.TRANSCRIBE)
    begin(room, run)
    one, two = room.released()
    room.tell(done(two))
    room.let_deadlines_pass()
    room.sweep()
    room.released()
    room.tell(refused(one, "The object store refused the link (status 403): it has expired or is not for this."))
    room.work_off()
    room.tell(done(one))
    assert room.run(run.id).warnings == ()


def test_diarizing_again_uses_the_newest_whole_words_not_those_of_a_cancelled_run(room: Room) -> None:
    file_id = room.file(prepared=False)
    whole = first(room, file_id)
    room.work_off(30, 30, 30)
    broken = room.request(file_id, StepName.TRANSCRIBE)
    begin(room, broken)
    room.work_off(keep=lambda e: e.work == "transcribe" and e.index > 0)
    room.tell(CancelRequested(run_id=broken.id))
    voices = room.request(file_id, StepName.DIARIZE)
    begin(room, voices)
    room.work_off()
    assert [key for _, key in outputs(room, voices.id).words] == [
        f"work/{file_id}/{whole}/transcribe/{index:05}.json" for index in range(3)
    ]


def test_a_failed_diarizing_again_keeps_the_speakers_that_were_known(room: Room) -> None:
    file_id = room.file(prepared=False)
    earlier = first(room, file_id)
    room.work_off(30)
    again = room.request(file_id, StepName.DIARIZE)
    begin(room, again)
    (event,) = room.released()
    room.tell(refused(event, "It cannot be heard."))
    assert outputs(room, again.id).voices == f"work/{file_id}/{earlier}/voices.json"


def test_speakers_alone_are_refused_when_there_are_no_words(room: Room) -> None:
    file_id = room.file(prepared=False)
    first(room, file_id)
    seen = room.work_off(30, keep=lambda e: e.work == "transcribe")
    (words,) = [e for e in seen if e.work == "transcribe"]
    room.tell(refused(words, "There is no such model."))
    for step in (StepName.DIARIZE, StepName.CLUSTER, StepName.EXPORT):
        with pytest.raises(Conflict):
            room.request(file_id, step)


def test_a_run_whose_chunks_were_cut_anew_is_not_retried(room: Room) -> None:
    file_id = room.file(prepared=False)
    old = first(room, file_id)
    room.work_off(30, 30, 30, keep=lambda e: e.work == "transcribe" and e.index == 2)
    room.tell(CancelRequested(run_id=old))
    new = room.request(file_id)
    begin(room, new)
    room.work_off(60)
    assert room.run(new.id).state is RunState.SUCCEEDED
    room.bus.published.clear()
    room.tell(RetryRequested(run_id=old))
    assert room.released() == []
    assert room.run(old).state is RunState.CANCELLED
