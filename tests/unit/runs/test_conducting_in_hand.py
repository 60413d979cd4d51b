"""A conductor that holds only what is near the piece decides as one that holds the whole run."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings

from auricle.contract.event import Fact
from auricle.runs import conducting
from auricle.runs.conducted import ChunkOutline, Conducted, Piece, PieceState, Rest
from auricle.runs.model import RunState, StepName
from auricle.runs.store import RunStore
from builders.conducted_rooms import Room, done
from unit.runs.test_conducting_in_any_order import ATTEMPTS, FATES, STEPS, World, worlds

FIELDS = tuple(Piece.__dataclass_fields__)


def narrowed(run: Conducted, about: tuple[StepName, int] | None, window: int) -> Conducted:
    """What the database would hand out."""
    pieces: dict[tuple[StepName, int], Piece] = {}
    rest: dict[StepName, Rest] = {}
    for step in run.steps:
        turn, beyond = 0, []
        for piece in run.of(step):
            if conducting.in_hand(piece, turn, about, window):
                pieces[step, piece.index] = copy.copy(piece)
            else:
                beyond.append(piece)
            turn += piece.state is PieceState.WAITING
        if beyond:
            finished = [p for p in beyond if p.state is PieceState.DONE]
            rest[step] = Rest(
                done=len(finished),
                waiting=len(beyond) - len(finished),
                weight=sum(p.weight for p in beyond),
                worked=sum(p.weight * (1.0 if p in finished else p.fraction) for p in beyond),
                attempts=max((p.attempt for p in beyond if p.releases or p in finished), default=0),
            )
    return Conducted(
        run.options,
        copy.deepcopy(run.steps),
        pieces,
        run.state,
        run.error,
        list(run.notes),
        run.speech,
        rest,
    )


class NarrowWorld(World):
    """Every decision is made on a narrowed run first, and must be the whole run's."""

    def deliver(self, position: int) -> None:
        fact = self.answers[position % len(self.answers)]
        narrow = self.told(fact)
        super().deliver(position)
        self.same(narrow)

    def repeat(self, position: int) -> None:
        if self.heard:
            narrow = self.told(self.heard[position % len(self.heard)])
            super().repeat(position)
            self.same(narrow)

    def sweep(self) -> None:
        narrow = narrowed(self.run, None, self.window)
        for step in narrow.steps.values():
            step.forsaken = False
        for piece in list(narrow.pieces.values()):
            conducting.expire(narrow, piece.step, piece.index, ATTEMPTS)
        conducting.release(narrow, self.window)
        super().sweep()
        self.same(narrow)

    def told(self, fact: Fact) -> Conducted:
        """The conductor as it is: takes what is in hand, hears, goes on."""
        of: Any = fact
        narrow = narrowed(self.run, (of.work, getattr(of, "index", 0)), self.window)
        if conducting.hear(narrow, fact, ATTEMPTS):
            if conducting.wants_outline(narrow):
                conducting.outline(narrow, self.chunks)
            conducting.release(narrow, self.window)
        return narrow

    def same(self, narrow: Conducted) -> None:
        whole = self.run
        assert (narrow.state, narrow.error, narrow.speech, narrow.notes) == (
            whole.state,
            whole.error,
            whole.speech,
            whole.notes,
        )
        for key, piece in narrow.pieces.items():
            assert values(piece) == values(whole.pieces[key])
        for name, step in narrow.steps.items():
            other = whole.steps[name]
            assert (step.state, step.attempts, step.error) == (other.state, other.attempts, other.error)
            assert abs(step.progress - other.progress) < 1e-9
            assert conducting.unattended(narrow, name) == conducting.unattended(whole, name)
        assert conducting.warnings_of(narrow) == conducting.warnings_of(whole)


def values(piece: Piece) -> tuple[object, ...]:
    return tuple(getattr(piece, name) for name in FIELDS if name != "renewed")


@settings(max_examples=100, deadline=None)
@given(worlds(FATES), STEPS)
def test_decisions_are_those_about_the_whole_run(both: tuple[World, World], turns: list[tuple[str, int]]) -> None:
    like, _ = both
    world = NarrowWorld(conducting.begun(like.run.options, tuple(like.run.steps)), like.chunks, like.fates, like.window)
    for number, (what, position) in enumerate(turns):
        if what == "repeat":
            world.repeat(position)
        elif what == "again":
            world.sweep() if number % 7 == 0 else world.go_on()
        elif world.answers:
            world.deliver(position)
    world.finish()
    assert world.run.state.over


def test_the_database_hands_out_what_is_in_hand(room: Room) -> None:
    run = room.request(room.file(*[30.0] * 12), StepName.TRANSCRIBE)
    with room.desk() as desk:
        held = desk.runs.hold(run.id)
        assert held is not None
        conducting.outline(held.run, [ChunkOutline(i, i * 300.0, i * 300.0 + 300.0, 10.0 + i) for i in range(12)])
        for index, piece in enumerate(held.run.of(StepName.TRANSCRIBE)):
            piece.state = [PieceState.DONE, PieceState.FAILED, PieceState.RELEASED, PieceState.WAITING][index % 4]
            piece.releases, piece.attempt, piece.fraction = index % 3, 1 + index % 2, (index % 5) / 5
        desk.runs.save(held, [], [], {})
    with room.database.work() as db:
        whole = RunStore(db).peek(run.id)
        about = (StepName.TRANSCRIBE, 0)
        near = RunStore(db).hold(run.id, about, 2)
        assert RunStore(db).done(run.id, StepName.TRANSCRIBE) == {0, 4, 8}
    assert whole is not None
    assert near is not None
    expected = narrowed(whole.run, about, 2)
    assert near.run.pieces == expected.pieces
    assert near.run.rest == expected.rest
    assert near.run.steps == whole.run.steps


def test_a_long_recording_is_conducted_by_few_rows(room: Room) -> None:
    run = room.request(room.file(*[30.0] * 400), StepName.TRANSCRIBE)
    room.tell(requested(run))
    seen = room.work_off(keep=lambda event: event.work == "transcribe" and event.index >= 200)
    assert len([e for e in seen if e.work == "transcribe"]) == 200 + room.pace.window
    with room.database.work() as db:
        held = RunStore(db).hold(run.id, (StepName.TRANSCRIBE, 201), room.pace.window)
    assert held is not None
    assert len(held.run.of(StepName.TRANSCRIBE)) == 2 * room.pace.window
    assert held.run.rest[StepName.TRANSCRIBE].done == 200
    for event in seen:
        if event.work == "transcribe" and event.index >= 200:
            room.tell(done(event))
    room.work_off()
    assert room.run(run.id).state is RunState.SUCCEEDED


def requested(run: Any) -> Fact:
    from auricle.runs.events import RunRequested

    return RunRequested(run_id=run.id, file_id=run.file_id)
