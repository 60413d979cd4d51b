"""Only so many runs at once: who waits, who goes next, and that nobody slips through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import msgspec
import pytest

from auricle.contract.event import Fact
from auricle.contract.ids import uuid7
from auricle.files.events import FileReceived
from auricle.runs import actions
from auricle.runs.events import CancelRequested, RetryRequested, RunFinished, RunRequested
from auricle.runs.limits.store import TurnStore
from auricle.runs.model import Awaited, Pace, Run, RunId, RunState, StepName, first_run_id
from auricle.runs.store import RunStore
from builders.conducted_rooms import PACE, Room, done, first, hear_of, refused


def limited(room: Room, **limits: object) -> Room:
    room.pace = msgspec.structs.replace(PACE, **limits)
    return room


def asked(room: Room) -> Run:
    """A run that was asked for, and of which the conductor has heard."""
    return hear_of(room, room.request(room.file(30), StepName.TRANSCRIBE))


def deliver(room: Room) -> None:
    """What the runs say of themselves reaches the conductor; released work is left alone."""
    while mine := room.bus.facts(RunRequested) + room.bus.facts(RunFinished):
        kept = [(id, fact) for id, fact in room.bus.published if fact not in mine]
        room.bus.published[:] = kept
        for fact in mine:
            room.tell(fact)


def states(room: Room, *runs: Run) -> list[RunState]:
    return [room.run(run.id).state for run in runs]


def end(room: Room, run: Run) -> None:
    room.tell(CancelRequested(run_id=run.id))
    deliver(room)


QUEUED, RUNNING, CANCELLED = RunState.QUEUED, RunState.RUNNING, RunState.CANCELLED


def test_without_a_limit_every_run_begins(room: Room) -> None:
    assert {asked(room).state for _ in range(5)} == {RUNNING}


def test_a_run_beyond_the_limit_waits_and_says_for_how_many(room: Room) -> None:
    limited(room, max_runs=2)
    runs = [asked(room) for _ in range(4)]
    assert [run.state for run in runs] == [RUNNING, RUNNING, QUEUED, QUEUED]
    assert [(run.waiting_for, run.waits_for_others) for run in runs[2:]] == [(Awaited.TURN, 2), (Awaited.TURN, 3)]
    assert [(run.waiting_for, run.waits_for_others) for run in runs[:2]] == [(None, None)] * 2
    assert room.sql("select count(*) as n from pieces where state = 'released'")[0].n == 2


def test_that_it_waits_is_told_to_whoever_watches(room: Room) -> None:
    limited(room, max_runs=1)
    asked(room)
    waiting = asked(room)
    told = room.sql("select data from event_log where data->>'id' = :id order by seq", id=str(waiting.id))
    assert [row.data.get("waiting_for") for row in told] == [None, "turn"]


def test_the_first_in_line_goes_on_when_one_ends(room: Room) -> None:
    limited(room, max_runs=1)
    runs = [asked(room) for _ in range(3)]
    end(room, runs[0])
    assert states(room, *runs) == [CANCELLED, RUNNING, QUEUED]
    now = room.run(runs[1].id)
    assert (now.waiting_for, now.waits_for_others) == (None, None)
    assert room.run(runs[2].id).waits_for_others == 1


def test_a_run_that_finishes_calls_the_next(room: Room) -> None:
    limited(room, max_runs=1)
    one, other = asked(room), asked(room)
    (words,) = [e for e in room.released() if e.work == "transcribe"]
    room.tell(done(words))
    while (out := [e for e in room.released() if e.run_id == one.id]) and room.run(one.id).state is RUNNING:
        for event in out:
            room.tell(done(event))
    assert room.run(one.id).state is RunState.SUCCEEDED
    room.sweep()  # what was published with the last answer was thrown away with the rest: as if it were lost
    deliver(room)
    assert room.run(other.id).state is RUNNING


def test_a_newcomer_does_not_overtake_who_was_called(room: Room) -> None:
    limited(room, max_runs=1)
    runs = [asked(room) for _ in range(2)]
    room.tell(CancelRequested(run_id=runs[0].id))  # the place is free, and the next one has not heard of it yet
    newcomer = asked(room)
    assert newcomer.state is QUEUED
    deliver(room)
    assert states(room, runs[1], newcomer) == [RUNNING, QUEUED]


def test_what_is_tried_again_does_not_overtake_who_was_called(room: Room) -> None:
    limited(room, max_runs=1)
    again, second, third = (asked(room) for _ in range(3))
    end(room, again)
    room.tell(CancelRequested(run_id=second.id))  # the place is the third one's, who has not heard of it yet
    room.tell(RetryRequested(run_id=again.id))
    assert states(room, again, third) == [QUEUED, QUEUED]
    deliver(room)
    assert states(room, again, third) == [QUEUED, RUNNING]


def test_whoever_has_fewer_under_way_goes_first(room: Room) -> None:
    limited(room, max_runs=2)
    many = [asked(room) for _ in range(4)]
    other = replace(room, owner=uuid4())
    one = asked(other)
    end(room, many[0])
    assert states(room, many[1], one, *many[2:]) == [RUNNING, RUNNING, QUEUED, QUEUED]
    end(room, many[1])
    assert states(room, one, *many[2:]) == [RUNNING, RUNNING, QUEUED]


def test_places_that_become_free_together_go_to_two_people(room: Room) -> None:
    limited(room, max_runs=2)
    going = [asked(replace(room, owner=uuid4())) for _ in range(2)]
    mine = [asked(room) for _ in range(2)]
    theirs = asked(replace(room, owner=uuid4()))
    for run in going:
        room.tell(CancelRequested(run_id=run.id))
    deliver(room)
    assert states(room, *mine, theirs) == [RUNNING, QUEUED, RUNNING]


def test_who_has_much_is_not_passed_over_for_ever(room: Room) -> None:
    limited(room, max_runs=1)
    first, waiting = asked(room), asked(room)
    others = [asked(replace(room, owner=uuid4())) for _ in range(3)]
    end(room, first)
    assert states(room, waiting, *others) == [RUNNING, QUEUED, QUEUED, QUEUED]


def test_a_run_that_waits_can_be_cancelled(room: Room) -> None:
    limited(room, max_runs=1)
    runs = [asked(room) for _ in range(3)]
    end(room, runs[1])
    found = room.run(runs[1].id)
    assert (found.state, found.waiting_for, found.waits_for_others) == (CANCELLED, None, None)
    end(room, runs[0])
    assert states(room, runs[2]) == [RUNNING]


def test_what_is_tried_again_waits_behind_those_who_were_there(room: Room) -> None:
    limited(room, max_runs=1)
    runs = [asked(room) for _ in range(3)]
    end(room, runs[0])  # the second one is under way
    room.tell(RetryRequested(run_id=runs[0].id))
    again = room.run(runs[0].id)
    assert (again.state, again.waiting_for, again.waits_for_others) == (QUEUED, Awaited.TURN, 2)
    end(room, runs[1])
    assert states(room, runs[0], runs[2]) == [QUEUED, RUNNING]
    end(room, runs[2])
    assert states(room, runs[0]) == [RUNNING]


def test_a_failed_run_makes_room(room: Room) -> None:
    limited(room, max_runs=1)
    one, other = asked(room), asked(room)
    (words,) = [e for e in room.released() if e.work == "transcribe"]
    room.tell(refused(words, "No."))
    deliver(room)
    assert states(room, one, other) == [RunState.FAILED, RUNNING]


def test_an_uploads_first_run_waits_as_well(room: Room) -> None:
    limited(room, max_runs=1)
    asked(room)
    assert room.run(first(room, room.file(prepared=False))).waiting_for is Awaited.TURN


def test_answers_to_runs_under_way_are_heard_although_the_house_is_full(room: Room) -> None:
    limited(room, max_runs=1)
    run = hear_of(room, room.request(room.file(30, 30, 30, 30, 30), StepName.TRANSCRIBE))
    asked(room)
    room.work_off(keep=lambda event: event.run_id != run.id)
    assert room.run(run.id).state is RunState.SUCCEEDED


def test_the_sweep_calls_whom_nobody_called(room: Room) -> None:
    limited(room, max_runs=1)
    runs = [asked(room) for _ in range(2)]
    room.tell(CancelRequested(run_id=runs[0].id))
    room.bus.published.clear()  # the event is lost
    assert room.sweep() == 0
    deliver(room)
    assert states(room, runs[1]) == [RUNNING]


def test_the_sweep_calls_nobody_while_all_places_are_taken(room: Room) -> None:
    limited(room, max_runs=1)
    for _ in range(2):
        asked(room)
    room.bus.published.clear()
    room.sweep()
    assert room.bus.published == []


def test_a_limit_that_is_raised_or_gone_lets_those_who_wait_begin(room: Room) -> None:
    for limit in (3, 0):
        limited(room, max_runs=1)
        runs = [asked(room) for _ in range(3)]
        limited(room, max_runs=limit)
        room.sweep()
        deliver(room)
        assert states(room, *runs) == [RUNNING] * 3
        room.sql("truncate runs cascade")


def test_a_limit_that_is_lowered_ends_nothing(room: Room) -> None:
    limited(room, max_runs=3)
    runs = [asked(room) for _ in range(3)]
    limited(room, max_runs=1)
    waiting = asked(room)
    end(room, runs[0])
    assert states(room, *runs, waiting) == [CANCELLED, RUNNING, RUNNING, QUEUED]
    end(room, runs[1])
    end(room, runs[2])
    assert states(room, waiting) == [RUNNING]


def at_once(*acts: Callable[[], object]) -> None:
    """All of them at the same moment."""
    gate = threading.Barrier(len(acts))
    errors: list[BaseException] = []

    def run(act: Callable[[], object]) -> None:
        gate.wait(20)
        try:
            act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def telling(room: Room, fact: Fact) -> Callable[[], None]:
    return lambda: room.tell(fact)


def under_way(room: Room) -> int:
    return int(room.sql("select count(*) as n from runs where state = 'running'")[0].n)


def test_of_many_who_begin_at_once_no_more_begin_than_may(room: Room) -> None:
    """Asked for, arrived just now (whom nobody else sees yet), and tried again."""
    limited(room, max_runs=2)
    for _ in range(5):
        over = [asked(room) for _ in range(2)]
        for run in over:
            room.tell(CancelRequested(run_id=run.id))
        runs = [room.request(room.file(30), StepName.TRANSCRIBE) for _ in range(2)]
        facts: list[Fact] = [RunRequested(run_id=run.id, file_id=run.file_id) for run in runs]
        facts += [FileReceived(file_id=room.file(prepared=False)) for _ in range(3)]
        facts += [RetryRequested(run_id=run.id) for run in over]
        at_once(*(telling(room, fact) for fact in facts))
        assert under_way(room) <= 2
        deliver(room)
        assert under_way(room) == 2
        room.sql("truncate runs cascade")


def test_of_two_whom_nobody_else_sees_yet_one_begins(room: Room) -> None:
    """Each is made and asks for its turn in one unit of work: the second waits until the first is there to be counted."""
    limited(room, max_runs=1)
    one, other = (room.file(prepared=False) for _ in range(2))
    begun, asking = threading.Event(), threading.Event()

    def first() -> None:
        with room.database.work() as db:
            actions.advance(FileReceived(file_id=one), room.desk_on(db))
            begun.set()
            assert asking.wait(20)
            time.sleep(0.3)

    def second() -> None:
        assert begun.wait(20)
        asking.set()
        room.tell(FileReceived(file_id=other))

    at_once(first, second)
    assert [room.run(first_run_id(file_id)).state for file_id in (one, other)] == [RUNNING, QUEUED]


def test_while_others_end_nobody_slips_through_and_nobody_is_forgotten(room: Room) -> None:
    """Ends, beginnings and retries at the same moment; after each round as many are under way as may be."""
    limited(room, max_runs=2)
    runs = [asked(room) for _ in range(8)]
    over: list[Run] = []
    for _ in range(5):
        going = [run for run in runs if room.run(run.id).state is RUNNING]
        newcomer = room.request(room.file(30), StepName.TRANSCRIBE)
        runs.append(newcomer)
        room.bus.published.clear()
        facts: list[Fact] = [CancelRequested(run_id=run.id) for run in going]
        facts += [RetryRequested(run_id=run.id) for run in over[:1]]
        at_once(*(telling(room, f) for f in (*facts, RunRequested(run_id=newcomer.id, file_id=newcomer.file_id))))
        assert under_way(room) <= 2
        deliver(room)
        assert under_way(room) == 2
        over = going
    while waiting := [run for run in runs if room.run(run.id).state is RUNNING]:
        at_once(*(telling(room, CancelRequested(run_id=run.id)) for run in waiting))
        deliver(room)
        assert under_way(room) <= 2
    assert {room.run(run.id).state for run in runs} == {CANCELLED}


def test_whoever_joins_the_line_while_the_last_place_becomes_free_is_seen(room: Room) -> None:
    """The end of a run is heard while a newcomer, who still saw it under way, has not committed: the caller waits for them."""
    limited(room, max_runs=1)
    one, file_id = asked(room), room.file(prepared=False)
    newcomer = first_run_id(file_id)
    room.bus.published.clear()
    joined, ended = threading.Event(), threading.Event()

    def join() -> None:
        with room.database.work() as db:
            actions.advance(FileReceived(file_id=file_id), room.desk_on(db))
            joined.set()
            assert ended.wait(20)

    def hear_the_end() -> None:
        assert joined.wait(20)
        room.tell(CancelRequested(run_id=one.id))
        (finished,) = room.bus.facts(RunFinished)
        threading.Timer(0.3, ended.set).start()
        room.tell(finished)  # waits until the newcomer stands in line

    at_once(join, hear_the_end)
    assert [fact.run_id for fact in room.bus.facts(RunRequested)] == [newcomer]
    deliver(room)
    assert room.run(newcomer).state is RUNNING


def test_the_line_is_counted_in_the_database_for_runs_that_are_there(room: Room) -> None:
    with room.database.work() as db:
        assert TurnStore(db).takes(RunId(uuid7()), 1) is False


# Suspended.


def test_a_suspended_house_hears_and_releases_nothing(room: Room) -> None:
    run = hear_of(room, room.request(room.file(prepared=False)))
    (prepare,) = room.released()
    limited(room, suspended=True)
    room.prepare(run.file_id, 30, 30)
    room.tell(done(prepare))
    fresh = asked(room)
    assert room.released() == []
    assert states(room, run, fresh) == [RUNNING, QUEUED]
    room.let_deadlines_pass()
    assert room.sweep() == 0
    assert room.bus.published == []


def test_answers_to_what_was_out_are_kept_while_it_is_suspended(room: Room) -> None:
    run = asked(room)
    (words,) = [e for e in room.released() if e.work == "transcribe"]
    limited(room, suspended=True)
    room.tell(done(words))
    assert room.released() == []
    (step,) = [s for s in room.run(run.id).steps if s.name is StepName.TRANSCRIBE]
    assert step.progress == 1.0


@pytest.mark.parametrize("after", [PACE, msgspec.structs.replace(PACE, max_runs=5)], ids=["no limit", "a limit"])
def test_what_waited_goes_on_where_it_was(room: Room, after: Pace) -> None:
    run = hear_of(room, room.request(room.file(prepared=False)))
    (prepare,) = room.released()
    limited(room, suspended=True)
    room.prepare(run.file_id, 30, 30)
    room.tell(done(prepare))
    fresh = asked(room)
    room.released()
    room.pace = after
    room.sweep()
    deliver(room)
    room.work_off(30, 30)
    assert states(room, run, fresh) == [RunState.SUCCEEDED] * 2


def test_a_run_that_is_cancelled_while_it_is_suspended_stays_so(room: Room) -> None:
    limited(room, suspended=True)
    run = asked(room)
    room.tell(CancelRequested(run_id=run.id))
    room.pace = PACE
    room.bus.published.clear()
    room.sweep()
    assert room.bus.published == []
    assert states(room, run) == [CANCELLED]


def test_the_sweep_leaves_runs_alone_of_which_something_is_out(room: Room) -> None:
    asked(room)
    room.bus.published.clear()
    room.sweep()
    assert room.bus.published == []


def test_the_line_forgets_runs_that_are_purged(room: Room) -> None:
    limited(room, max_runs=1)
    one, other = asked(room), asked(room)
    with room.database.work() as db:
        actions.cancel_file(RunStore(db), room.desk_on(db).log, room.bus, one.file_id)
        RunStore(db).forget(one.file_id)
    deliver(room)
    assert states(room, other) == [RUNNING]
