"""Whatever order facts come in, however often, whichever are lost and swept up again: the same end."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.contract.event import Fact
from auricle.files.model import Options
from auricle.runs import conducting
from auricle.runs.conducted import ChunkOutline, Conducted, Piece, PieceState
from auricle.runs.events import StepFailed, StepFinished, StepProgressed
from auricle.runs.model import RunId, RunState, StepName, StepState, plan_of
from auricle.speech.events import WorkFailed, WorkHeard

RUN = RunId(UUID(int=1))
ATTEMPTS = 3
SPEECH = (StepName.TRANSCRIBE, StepName.DIARIZE, StepName.CLUSTER)
PLANS = ((), (StepName.DIARIZE,), (StepName.TRANSCRIBE,), (StepName.EXPORT,))
MOST_TURNS = 5000
FORSAKEN_SWEEPS = 60
"""Longer than any of these worlds needs to make good what it lost."""


class World:
    """Workers who answer every released piece, and a broker that delivers the answers as `data` likes.

    `fates` says, per step and piece, how its work goes: 0 well, n > 0 lost n times before it goes well, -1 refused for good.
    What a worker answers depends on the attempt alone, as the real ones' does.
    """

    def __init__(self, run: Conducted, chunks: list[ChunkOutline], fates: dict[tuple[StepName, int], int], window: int) -> None:
        self.run = run
        self.chunks = chunks
        self.fates = fates
        self.window = window
        self.answers: list[Fact] = []
        self.heard: list[Fact] = []
        self.releases: Counter[tuple[StepName, int, int, int]] = Counter()
        self.swept = False
        self.sweeps = 0
        self.go_on()

    def go_on(self) -> None:
        """As the conductor after every fact; what goes out is answered at once, though not yet delivered."""
        if conducting.wants_outline(self.run):
            conducting.outline(self.run, self.chunks)
        for piece in conducting.release(self.run, self.window):
            self.releases[piece.step, piece.index, piece.attempt, piece.releases] += 1
            if not self.swept and not self.fates.get((piece.step, piece.index)):
                assert piece.releases == 1  # else a loss may be told before the sign of life: then it counts as never begun
            self.answers += self.answered(piece)
        for step in self.run.steps:
            assert sum(p.state is PieceState.RELEASED for p in self.run.of(step)) <= self.window

    def answered(self, piece: Piece) -> list[Fact]:
        """What a worker tells of a piece: how far it is, then how it went."""
        of = {"run_id": RUN, "work": piece.step, "attempt": piece.attempt}
        progress = StepProgressed(**of, index=piece.index, fraction=0.5, receipt="r")
        fate = self.fates.get((piece.step, piece.index), 0)
        if fate < 0 and piece.step in SPEECH:
            return [progress, WorkFailed(**of, index=piece.index, receipt="r", error="It cannot be heard.")]
        if fate < 0:
            return [StepFailed(**of, error="It cannot be read.")]
        if piece.attempt <= fate:
            return [progress, StepFailed(**of, index=piece.index, error="It was killed.", permanent=False)]
        if piece.step in SPEECH:
            return [progress, WorkHeard(**of, index=piece.index, receipt="r", sha256=f"{piece.step}{piece.index}", size=1)]
        return [StepFinished(**of, warnings=("A warning.",) if piece.step is StepName.PREPARE else ())]

    def deliver(self, position: int) -> None:
        """One answer, which may be told again later."""
        fact = self.answers.pop(position % len(self.answers))
        self.heard.append(fact)
        conducting.hear(self.run, fact, ATTEMPTS)
        self.go_on()

    def repeat(self, position: int) -> None:
        """An answer that was delivered before."""
        if self.heard:
            conducting.hear(self.run, self.heard[position % len(self.heard)], ATTEMPTS)
            self.go_on()

    def lose(self, position: int) -> None:
        """An answer that never arrives."""
        self.answers.pop(position % len(self.answers))

    def sweep(self) -> None:
        """Every deadline passes."""
        self.swept = True
        self.sweeps += 1
        for step in self.run.steps.values():
            step.forsaken = self.sweeps > FORSAKEN_SWEEPS
        for piece in list(self.run.pieces.values()):
            conducting.expire(self.run, piece.step, piece.index, ATTEMPTS)
        self.go_on()

    def finish(self) -> None:
        """Deliver everything, in order, sweeping what was lost, until the run is over."""
        for _ in range(MOST_TURNS):
            if self.run.state.over:
                return
            if self.answers:
                self.deliver(0)
            else:
                self.sweep()
        raise AssertionError("the run never ends")


def outcome(run: Conducted) -> object:
    """What people and later steps see of a run that is over; attempts may differ, results may not.

    A run that fails cuts off whatever else is under way, so how far that was depends on the order: its reason does not.
    """
    if run.state is RunState.FAILED:
        return run.state, run.error, [name for name in (StepName.PREPARE, *SPEECH[:1]) if _failed(run, name)]
    return (
        run.state,
        run.error,
        conducting.warnings_of(run),
        {name: (step.state, step.error, step.progress) for name, step in run.steps.items()},
        {key: (p.state, p.sha256, p.start, p.end) for key, p in run.pieces.items()},
    )


def _failed(run: Conducted, name: StepName) -> bool:
    return name in run.steps and run.steps[name].state is StepState.FAILED


@st.composite
def recordings(draw: st.DrawFn) -> list[ChunkOutline]:
    speech = draw(st.lists(st.sampled_from([0.0, 5.0, 120.0]), min_size=0, max_size=7))
    return [ChunkOutline(i, i * 300.0, (i + 1) * 300.0, seconds) for i, seconds in enumerate(speech)]


@st.composite
def worlds(draw: st.DrawFn, fates: st.SearchStrategy[int]) -> tuple[World, World]:
    """Two worlds alike: one to be disturbed, one not."""
    chunks = draw(recordings())
    options = Options(diarize=draw(st.booleans()))
    asked = draw(st.sampled_from(PLANS)) if options.diarize else ()
    of = {(step, i): draw(fates) for step in StepName for i in range(len(chunks) if step in conducting.CHUNKED else 1)}
    window = draw(st.integers(1, 4))
    first, second = (World(conducting.begun(options, plan_of(asked, options)), chunks, of, window) for _ in range(2))
    return first, second


# A piece may be lost once or refused for good: with sweeps in between, more losses could use its attempts up.
FATES = st.sampled_from([0, 0, 0, 0, 0, 1, -1])
STEPS = st.lists(
    st.tuples(st.sampled_from(["deliver", "deliver", "deliver", "repeat", "again"]), st.integers(0, 10_000)), max_size=60
)


@settings(max_examples=150, deadline=None)
@given(worlds(FATES), STEPS)
def test_reordered_and_repeated_facts_end_in_the_same_state(both: tuple[World, World], turns: list[tuple[str, int]]) -> None:
    disturbed, calm = both
    for what, position in turns:
        if what == "repeat":
            disturbed.repeat(position)
        elif what == "again":
            disturbed.go_on()
        elif disturbed.answers:
            disturbed.deliver(position)
    for world in both:
        world.finish()
    assert outcome(disturbed.run) == outcome(calm.run)
    if calm.run.state is not RunState.FAILED:
        # The same attempts. A loss that is told before the sign of life counts as never begun: then it goes out once more.
        assert {out[:3] for out in disturbed.releases} == {out[:3] for out in calm.releases}
    assert max(disturbed.releases.values(), default=1) == 1


@settings(max_examples=150, deadline=None)
@given(
    worlds(FATES),
    st.lists(st.tuples(st.sampled_from(["deliver", "deliver", "lose", "sweep"]), st.integers(0, 10_000)), max_size=60),
)
def test_lost_facts_are_made_good_by_the_sweep(both: tuple[World, World], turns: list[tuple[str, int]]) -> None:
    disturbed, calm = both
    sweeps = 0
    for what, position in turns:
        if what == "sweep" and sweeps < 2:  # fewer than use an attempt up, even with those of `finish`
            disturbed.sweep()
            sweeps += 1
        elif disturbed.answers:
            (disturbed.lose if what == "lose" else disturbed.deliver)(position)
    for world in both:
        world.finish()
    assert outcome(disturbed.run) == outcome(calm.run)
    assert max(disturbed.releases.values(), default=1) == 1


@settings(max_examples=150, deadline=None)
@given(worlds(st.integers(-1, 5)), STEPS, st.booleans())
def test_every_run_ends_even_if_nobody_ever_answers(
    both: tuple[World, World], turns: list[tuple[str, int]], silent: bool
) -> None:
    world, _ = both
    for what, position in turns:
        if what == "repeat":
            world.repeat(position)
        elif world.answers:
            world.deliver(position)
    for _ in range(MOST_TURNS):
        if world.run.state.over:
            break
        if silent:
            world.answers.clear()
        if world.answers:
            world.deliver(0)
        else:
            world.sweep()
    assert world.run.state.over
    assert max(world.releases.values(), default=1) == 1


@settings(max_examples=100, deadline=None)
@given(worlds(st.just(0)), STEPS, st.lists(st.integers(0, 10_000), max_size=20))
def test_after_a_cancel_nothing_moves_until_it_is_retried(
    both: tuple[World, World], turns: list[tuple[str, int]], late: list[int]
) -> None:
    disturbed, calm = both
    for what, position in turns:
        if what == "deliver" and disturbed.answers:
            disturbed.deliver(position)
    if conducting.cancel(disturbed.run):
        before, out = outcome(disturbed.run), dict(disturbed.releases)
        for position in late:
            if disturbed.answers:
                disturbed.deliver(position)
        disturbed.sweep()
        assert outcome(disturbed.run) == before
        assert dict(disturbed.releases) == out
        assert conducting.retry(disturbed.run)
        disturbed.go_on()
    for world in both:
        world.finish()
    assert outcome(disturbed.run) == outcome(calm.run)
    assert max(disturbed.releases.values(), default=1) == 1


@settings(max_examples=100, deadline=None)
@given(worlds(FATES))
def test_a_retry_without_faults_leaves_no_fault(both: tuple[World, World]) -> None:
    world, _ = both
    world.finish()
    world.fates = {}
    done = {
        key: p.attempt for key, p in world.run.pieces.items() if p.state is PieceState.DONE and p.step in conducting.CHUNKED
    }
    if conducting.retry(world.run):
        world.go_on()
        world.finish()
    assert all(p.state is PieceState.DONE for p in world.run.pieces.values() if world.run.speech or p.step not in SPEECH)
    assert all(world.run.pieces[key].attempt == attempt for key, attempt in done.items())
    assert max(world.releases.values(), default=1) == 1
