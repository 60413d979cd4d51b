"""The conductor's mind: one fact at a time, what it means and what goes out next."""

from __future__ import annotations

import pytest

from auricle.files.model import Options
from auricle.runs import conducting
from auricle.runs.conducted import Piece, PieceState
from auricle.runs.events import StepProgressed
from auricle.runs.model import RunState, StepName, StepState, plan_of
from builders.conducted_runs import (
    ATTEMPTS,
    RUN,
    SPEECH,
    WINDOW,
    begun,
    chunks,
    finished,
    go,
    lost,
    names,
    out,
    prepared,
    refused,
    states,
    taken,
    tell,
    work_off,
)


def test_a_whole_run_goes_through_all_steps_in_order() -> None:
    run = begun()
    released = names(work_off(run, of=chunks(10, 20)))
    assert released == [
        (StepName.PREPARE, 0),
        (StepName.TRANSCRIBE, 0),
        (StepName.TRANSCRIBE, 1),
        (StepName.DIARIZE, 0),
        (StepName.DIARIZE, 1),
        (StepName.CLUSTER, 0),
        (StepName.ASSEMBLE, 0),
        (StepName.EXPORT, 0),
    ]
    assert run.state is RunState.SUCCEEDED
    assert set(states(run).values()) == {StepState.SUCCEEDED}
    assert conducting.warnings_of(run) == []


def test_nothing_is_released_before_the_recording_is_prepared() -> None:
    run = begun()
    assert names(go(run, chunks(10))) == [(StepName.PREPARE, 0)]
    assert go(run, chunks(10)) == []
    assert run.speech is None


def test_chunks_without_speech_are_left_out() -> None:
    run = prepared(10, 0, 20)
    assert [p.index for p in run.of(StepName.TRANSCRIBE)] == [0, 2]


def test_a_step_has_at_most_its_window_out() -> None:
    run = prepared(*[10.0] * 9)
    assert len(out(run, StepName.TRANSCRIBE)) == len(out(run, StepName.DIARIZE)) == WINDOW
    tell(run, finished(out(run, StepName.TRANSCRIBE)[2]))
    assert names(go(run)) == [(StepName.TRANSCRIBE, 4)]
    assert len(out(run, StepName.TRANSCRIBE)) == WINDOW


def test_a_recording_without_speech_ends_with_a_warning() -> None:
    run = begun()
    assert StepName.TRANSCRIBE not in [p.step for p in work_off(run, of=chunks(0, 0))]
    assert run.state is RunState.SUCCEEDED
    assert [states(run)[s] for s in SPEECH] == [StepState.SKIPPED] * 3
    assert states(run)[StepName.ASSEMBLE] is StepState.SUCCEEDED
    assert conducting.warnings_of(run) == ["No speech was found."]


def test_without_telling_speakers_apart_those_steps_are_not_there() -> None:
    run = begun(diarize=False)
    work_off(run, of=chunks(10))
    assert run.state is RunState.SUCCEEDED
    assert not {StepName.DIARIZE, StepName.CLUSTER} & set(run.steps)


def test_a_lost_attempt_is_followed_by_another() -> None:
    run = prepared(10)
    (piece,) = out(run, StepName.TRANSCRIBE)
    tell(run, lost(taken(run, piece)))
    assert names(go(run)) == [(StepName.TRANSCRIBE, 0)]
    assert (piece.attempt, piece.releases, piece.fraction) == (2, 1, 0.0)


def test_a_piece_that_is_lost_three_times_becomes_a_gap() -> None:
    run = prepared(10, 20)
    piece = out(run, StepName.TRANSCRIBE)[1]
    for attempt in range(1, ATTEMPTS + 1):
        assert piece.attempt == attempt
        tell(run, lost(taken(run, piece)))
        go(run)
    assert piece.state is PieceState.FAILED
    work_off(run)
    for left in [*out(run, StepName.TRANSCRIBE), *out(run, StepName.DIARIZE)]:
        tell(run, finished(left))
    work_off(run)
    assert run.state is RunState.SUCCEEDED
    assert states(run)[StepName.TRANSCRIBE] is StepState.SUCCEEDED
    assert conducting.warnings_of(run) == ["Minutes 05:00–10:00 could not be transcribed: Nobody managed it."]


def test_a_refused_piece_is_not_tried_again() -> None:
    run = prepared(10, 20)
    tell(run, refused(out(run, StepName.TRANSCRIBE)[0]))
    assert go(run) == []
    assert run.of(StepName.TRANSCRIBE)[0].state is PieceState.FAILED


def test_a_run_fails_when_nothing_has_words_though_there_was_speech() -> None:
    run = prepared(10, 20)
    for number, piece in enumerate(out(run, StepName.TRANSCRIBE)):
        tell(run, refused(piece, f"There is no model {number}."))
        go(run)
    assert run.state is RunState.FAILED
    assert run.error == "There is no model 0."
    assert states(run)[StepName.TRANSCRIBE] is StepState.FAILED
    assert states(run)[StepName.ASSEMBLE] is StepState.CANCELLED


def test_a_run_fails_with_the_sentence_of_a_failed_preparation() -> None:
    run = begun()
    (prepare,) = go(run)
    tell(run, refused(prepare, "This file is empty."))
    assert go(run) == []
    assert (run.state, run.error) == (RunState.FAILED, "This file is empty.")


@pytest.mark.parametrize("step", [StepName.DIARIZE, StepName.CLUSTER])
def test_a_failed_diarization_costs_nobody_the_text(step: StepName) -> None:
    run = begun()
    work_off(run, refusing=step, of=chunks(10, 20))
    assert run.state is RunState.SUCCEEDED
    assert states(run)[step] is StepState.FAILED
    assert states(run)[StepName.ASSEMBLE] is StepState.SUCCEEDED
    (warning,) = conducting.warnings_of(run)
    assert warning.startswith("Speakers could not be told apart: It cannot be heard.")
    assert "run that step again" in warning


def test_clustering_is_pointless_when_no_voice_was_heard() -> None:
    run = begun()
    released = work_off(run, refusing=StepName.DIARIZE, of=chunks(10))
    assert StepName.CLUSTER not in [p.step for p in released]
    assert states(run)[StepName.CLUSTER] is StepState.SKIPPED


def test_failed_documents_are_a_warning() -> None:
    run = begun()
    work_off(run, refusing=StepName.EXPORT, of=chunks(10))
    assert run.state is RunState.SUCCEEDED
    assert conducting.warnings_of(run) == ["The documents could not be written: It cannot be heard."]


def test_warnings_of_the_preparation_are_kept_once() -> None:
    run = begun()
    (prepare,) = go(run)
    tell(run, finished(prepare, "The end is missing.", "The end is missing."))
    assert tell(run, finished(prepare, "The end is missing.")) is False
    assert conducting.warnings_of(run)[:1] == ["The end is missing."]


# What does not count.


def test_a_fact_told_twice_counts_once() -> None:
    run = prepared(10, 20)
    (first, _) = out(run, StepName.TRANSCRIBE)
    assert tell(run, finished(first)) is True
    assert tell(run, finished(first)) is False
    assert tell(run, refused(first)) is False
    assert first.state is PieceState.DONE


def test_a_fact_about_another_attempt_counts_for_nothing() -> None:
    run = prepared(10)
    (piece,) = out(run, StepName.TRANSCRIBE)
    late = finished(piece)
    tell(run, lost(taken(run, piece)))
    go(run)
    assert tell(run, late) is False
    assert piece.state is PieceState.RELEASED


def test_a_fact_about_a_piece_that_is_not_there_counts_for_nothing() -> None:
    run = prepared(10)
    stranger = Piece(StepName.TRANSCRIBE, 77)
    assert tell(run, finished(stranger)) is False


def test_what_comes_back_after_a_cancel_is_dropped() -> None:
    run = prepared(10, 20)
    pieces = out(run, StepName.TRANSCRIBE)
    assert conducting.cancel(run) is True
    assert [tell(run, finished(p)) for p in pieces] == [False, False]
    assert go(run) == []
    assert conducting.cancel(run) is False
    assert run.state is RunState.CANCELLED
    assert states(run)[StepName.PREPARE] is StepState.SUCCEEDED
    assert states(run)[StepName.TRANSCRIBE] is StepState.CANCELLED


# How far it is.


def test_progress_weighs_pieces_by_their_speech() -> None:
    run = prepared(10, 30)
    tell(run, finished(out(run, StepName.TRANSCRIBE)[0]))
    go(run)
    assert run.steps[StepName.TRANSCRIBE].progress == pytest.approx(0.25)
    (second,) = out(run, StepName.TRANSCRIBE)
    told = StepProgressed(run_id=RUN, work=second.step, index=1, attempt=1, fraction=0.5, receipt="r")
    assert tell(run, told) is True
    go(run)
    assert run.steps[StepName.TRANSCRIBE].progress == pytest.approx(0.625)


def test_progress_of_a_piece_never_goes_back_and_never_above_one() -> None:
    run = prepared(10)
    (piece,) = out(run, StepName.TRANSCRIBE)
    for fraction in (0.6, 0.2, 7.0):
        tell(run, StepProgressed(run_id=RUN, work=piece.step, index=0, attempt=1, fraction=fraction, receipt="r"))
    assert piece.fraction == 1.0
    assert piece.state is PieceState.RELEASED


# Doing it again.


def test_a_retry_keeps_what_succeeded() -> None:
    run = prepared(10, 20)
    first, second = out(run, StepName.TRANSCRIBE)
    tell(run, finished(first))
    conducting.cancel(run)
    assert conducting.retry(run) is True
    again = names(work_off(run))
    assert (StepName.PREPARE, 0) not in again
    assert (StepName.TRANSCRIBE, 0) not in again
    assert (StepName.TRANSCRIBE, 1) in again
    assert (first.attempt, second.attempt) == (1, 2)
    assert run.state is RunState.SUCCEEDED


def test_retrying_a_gap_joins_the_transcript_anew() -> None:
    run = prepared(10, 20)
    tell(run, refused(out(run, StepName.TRANSCRIBE)[0]))
    for piece in [*out(run, StepName.TRANSCRIBE), *out(run, StepName.DIARIZE)]:
        tell(run, finished(piece))
    work_off(run)
    assert run.state is RunState.SUCCEEDED
    assert conducting.retry(run) is True
    assert names(work_off(run)) == [(StepName.TRANSCRIBE, 0), (StepName.ASSEMBLE, 0), (StepName.EXPORT, 0)]
    assert run.state is RunState.SUCCEEDED
    assert conducting.warnings_of(run) == []


def test_retrying_failed_speakers_leaves_the_words_alone() -> None:
    run = begun()
    work_off(run, refusing=StepName.DIARIZE, of=chunks(10, 20))
    assert conducting.retry(run) is True
    again = [p.step for p in work_off(run)]
    assert again == [StepName.DIARIZE, StepName.DIARIZE, StepName.CLUSTER, StepName.ASSEMBLE, StepName.EXPORT]
    assert run.state is RunState.SUCCEEDED
    assert conducting.warnings_of(run) == []


def test_retrying_a_failed_preparation_does_everything() -> None:
    run = begun()
    work_off(run, refusing=StepName.PREPARE)
    assert conducting.retry(run) is True
    work_off(run, of=chunks(10))
    assert run.state is RunState.SUCCEEDED
    assert run.error is None


def test_there_is_nothing_to_retry_in_a_run_that_did_everything_or_goes_on() -> None:
    run = begun()
    work_off(run, of=chunks(10))
    assert conducting.retry(run) is False
    assert conducting.retry(prepared(10)) is False


# Only some steps.


@pytest.mark.parametrize(
    ("asked", "plan"),
    [
        ((StepName.DIARIZE,), (StepName.DIARIZE, StepName.CLUSTER, StepName.ASSEMBLE, StepName.EXPORT)),
        ((StepName.TRANSCRIBE,), (StepName.TRANSCRIBE, StepName.ASSEMBLE, StepName.EXPORT)),
        ((StepName.CLUSTER,), (StepName.CLUSTER, StepName.ASSEMBLE, StepName.EXPORT)),
        ((StepName.EXPORT,), (StepName.EXPORT,)),
        ((StepName.PREPARE,), tuple(StepName)),
        ((), tuple(StepName)),
    ],
)
def test_what_was_asked_for_implies_what_follows_from_it(asked: tuple[StepName, ...], plan: tuple[StepName, ...]) -> None:
    assert plan_of(asked, Options()) == plan


def test_diarizing_again_hears_voices_only() -> None:
    run = begun(StepName.DIARIZE)
    released = [p.step for p in work_off(run, of=chunks(10, 20))]
    assert released == [StepName.DIARIZE, StepName.DIARIZE, StepName.CLUSTER, StepName.ASSEMBLE, StepName.EXPORT]
    assert run.state is RunState.SUCCEEDED


def test_exporting_again_is_one_piece() -> None:
    run = begun(StepName.EXPORT)
    assert names(work_off(run, of=chunks(10))) == [(StepName.EXPORT, 0)]
    assert run.state is RunState.SUCCEEDED
