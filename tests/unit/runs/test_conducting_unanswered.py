"""The conductor's mind while nobody answers: what expires goes out again, and waiting for a GPU costs nothing."""

from __future__ import annotations

from auricle.runs import conducting
from auricle.runs.conducted import Conducted, PieceState
from auricle.runs.events import StepFailed
from auricle.runs.model import RunState, StepName
from builders.conducted_runs import ATTEMPTS, RUN, WINDOW, begun, finished, go, lost, out, prepared, taken, tell

# What is never answered.


def test_an_expired_piece_goes_out_again_as_the_same_attempt() -> None:
    run = prepared(10)
    assert conducting.expire(run, StepName.TRANSCRIBE, 0, ATTEMPTS) is True
    (piece,) = go(run)
    assert (piece.attempt, piece.releases) == (1, 2)
    assert tell(run, finished(piece)) is True


def test_what_expires_again_and_again_is_an_attempt_lost() -> None:
    run = prepared(10)
    piece = run.of(StepName.TRANSCRIBE)[0]
    for _ in range(conducting.MOST_RELEASES):
        taken(run, piece)
        conducting.expire(run, StepName.TRANSCRIBE, 0, ATTEMPTS)
        go(run)
    assert (piece.attempt, piece.releases) == (2, 1)


def test_what_is_not_out_cannot_expire() -> None:
    run = prepared(*[10.0] * (WINDOW + 1))
    assert conducting.expire(run, StepName.TRANSCRIBE, WINDOW, ATTEMPTS) is False
    assert conducting.expire(run, StepName.EXPORT, 0, ATTEMPTS) is False
    conducting.cancel(run)
    assert conducting.expire(run, StepName.TRANSCRIBE, 0, ATTEMPTS) is False


# Waiting for a GPU.


def test_a_day_without_any_gpu_costs_nothing() -> None:
    """The broker gives up every 90 minutes and deadlines pass in between: the same attempt is still to be done."""
    run = prepared(*[10.0] * 3)
    for hour in range(24):
        for step in (StepName.TRANSCRIBE, StepName.DIARIZE):
            for piece in out(run, step):
                if hour % 3:
                    tell(run, lost(piece, "transcribe answered 504 at the last try."))
                else:
                    conducting.expire(run, step, piece.index, ATTEMPTS)
        go(run)
    pieces = [*run.of(StepName.TRANSCRIBE), *run.of(StepName.DIARIZE)]
    assert {(p.state, p.attempt) for p in pieces} == {(PieceState.RELEASED, 1)}
    assert all(p.releases > 20 for p in pieces)
    work_off_what_is_out(run)
    assert run.state is RunState.SUCCEEDED
    assert conducting.warnings_of(run) == []
    assert {step.attempts for step in run.steps.values()} == {1}


def work_off_what_is_out(run: Conducted) -> None:
    """A GPU is free again."""
    while not run.state.over:
        for piece in [p for p in run.pieces.values() if p.state is PieceState.RELEASED]:
            tell(run, finished(piece))
        go(run)


def test_waiting_again_after_a_loss_costs_no_second_attempt() -> None:
    run = prepared(10)
    (piece,) = out(run, StepName.TRANSCRIBE)
    tell(run, lost(taken(run, piece)))
    go(run)
    for _ in range(20):
        tell(run, lost(piece))
        go(run)
    assert (piece.attempt, piece.state) == (2, PieceState.RELEASED)


def test_who_holds_a_database_is_never_waited_for() -> None:
    run = begun()
    (prepare,) = go(run)
    tell(run, lost(prepare))
    assert prepare.attempt == 2
    assert not conducting.unattended(run, StepName.PREPARE)


def test_a_step_is_unattended_until_somebody_begins_one_of_its_pieces() -> None:
    run = prepared(10, 20)
    one, two = out(run, StepName.TRANSCRIBE)
    assert conducting.unattended(run, StepName.TRANSCRIBE)
    taken(run, one)
    assert not conducting.unattended(run, StepName.TRANSCRIBE)
    tell(run, finished(one))
    assert conducting.unattended(run, StepName.TRANSCRIBE)
    tell(run, finished(two))
    assert not conducting.unattended(run, StepName.TRANSCRIBE)


def test_a_new_release_has_to_be_begun_anew() -> None:
    run = prepared(10)
    (piece,) = out(run, StepName.TRANSCRIBE)
    taken(run, piece)
    conducting.expire(run, StepName.TRANSCRIBE, 0, ATTEMPTS)
    go(run)
    assert (piece.begun, piece.releases) == (False, 2)


def test_the_broker_giving_up_on_an_older_release_says_nothing_of_the_newer_one() -> None:
    run = prepared(10)
    (piece,) = out(run, StepName.TRANSCRIBE)
    conducting.expire(run, StepName.TRANSCRIBE, 0, ATTEMPTS)
    go(run)
    taken(run, piece)
    older = StepFailed(run_id=RUN, work=piece.step, attempt=1, error="504", permanent=False, release=1)
    assert tell(run, older) is False
    assert (piece.state, piece.attempt) == (PieceState.RELEASED, 1)


def test_work_that_nobody_takes_for_days_is_given_up_with_a_reason() -> None:
    run = prepared(10)
    for step in (StepName.TRANSCRIBE, StepName.DIARIZE):
        run.steps[step].forsaken = True
        conducting.expire(run, step, 0, ATTEMPTS)
    go(run)
    assert run.state is RunState.FAILED
    assert run.error == conducting.UNTAKEN
