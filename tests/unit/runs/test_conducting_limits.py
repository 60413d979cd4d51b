"""The conductor's mind under limits: nothing goes out, what may not be transcribed fails, and both can go on later."""

from __future__ import annotations

from uuid import UUID

from auricle.files.model import Options
from auricle.runs import conducting
from auricle.runs.conducted import ChunkOutline, Conducted, PieceState, Rest
from auricle.runs.events import StepFailed, StepFinished
from auricle.runs.model import RunId, RunState, StepName, StepState, plan_of

RUN = RunId(UUID(int=1))
CHUNKS = [ChunkOutline(i, i * 300.0, (i + 1) * 300.0, 30.0) for i in range(3)]


def begun(*asked: StepName) -> Conducted:
    return conducting.begun(Options(), plan_of(asked, Options()))


def prepared() -> Conducted:
    """A run whose recording has just been prepared."""
    run = begun()
    conducting.release(run, 4)
    assert conducting.hear(run, StepFinished(run_id=RUN, work=StepName.PREPARE, attempt=1), 3)
    conducting.outline(run, CHUNKS)
    return run


def test_without_a_window_nothing_goes_out_and_nothing_is_lost() -> None:
    run = begun()
    assert conducting.release(run, 0) == []
    assert run.state is RunState.QUEUED
    assert [p.step for p in conducting.release(run, 4)] == [StepName.PREPARE]
    assert run.state is RunState.RUNNING


def test_a_run_that_goes_on_is_in_no_line_any_more() -> None:
    run = begun()
    run.in_line = True
    conducting.release(run, 4)
    assert not run.in_line


def test_a_run_that_is_cancelled_is_in_no_line_any_more() -> None:
    run = begun()
    run.in_line = True
    assert conducting.cancel(run)
    assert not run.in_line


def test_transcription_begins_once_the_recording_is_prepared() -> None:
    run = begun()
    assert conducting.transcribes(run)
    assert not conducting.transcription_begins(run)
    conducting.release(run, 4)
    assert not conducting.transcription_begins(run)
    assert conducting.transcription_begins(prepared())


def test_transcription_has_begun_as_soon_as_a_piece_is_out() -> None:
    run = prepared()
    conducting.release(run, 1)
    assert not conducting.transcription_begins(run)
    assert not conducting.transcribes(run)


def test_transcription_has_begun_when_all_of_it_is_beyond_sight() -> None:
    run = prepared()
    run.pieces = {key: piece for key, piece in run.pieces.items() if key[0] is not StepName.TRANSCRIBE}
    run.rest = {StepName.TRANSCRIBE: Rest(done=3, weight=90.0, worked=90.0, attempts=1)}
    assert not conducting.transcribes(run)


def test_what_is_not_to_be_transcribed_never_begins_to() -> None:
    run = begun(StepName.DIARIZE)
    conducting.outline(run, CHUNKS)
    assert not conducting.transcribes(run)
    assert not conducting.transcription_begins(run)


def test_silence_is_not_transcribed() -> None:
    run = prepared()
    run.speech, run.pieces = False, {k: p for k, p in run.pieces.items() if k[0] not in conducting.CHUNKED}
    assert not conducting.transcription_begins(run)


def test_what_may_not_be_transcribed_fails_with_the_reason_and_nothing_else_goes_out() -> None:
    run = prepared()
    conducting.refuse(run, "Nothing is left.")
    assert (run.state, run.error) == (RunState.FAILED, "Nothing is left.")
    assert conducting.release(run, 4) == []
    assert conducting.warnings_of(run) == []  # one reason, not one per chunk
    assert run.steps[StepName.PREPARE].state is StepState.SUCCEEDED
    assert run.steps[StepName.DIARIZE].state is StepState.CANCELLED


def test_what_was_refused_before_it_was_prepared_is_prepared_when_it_is_tried_again() -> None:
    run = begun()
    conducting.refuse(run, "Nothing is left.")
    assert run.state is RunState.FAILED
    assert conducting.retry(run)
    assert [p.step for p in conducting.release(run, 4)] == [StepName.PREPARE]


def test_what_was_refused_is_transcribed_when_it_is_tried_again() -> None:
    run = prepared()
    conducting.refuse(run, "Nothing is left.")
    assert conducting.retry(run)
    assert run.state is RunState.QUEUED
    assert conducting.transcription_begins(run)
    out = conducting.release(run, 4)
    assert {(p.step, p.attempt) for p in out} == {(StepName.TRANSCRIBE, 1), (StepName.DIARIZE, 1)}


def test_a_retry_of_what_failed_begins_anew() -> None:
    run = prepared()
    for piece in conducting.release(run, 8):
        failed = StepFailed(run_id=RUN, work=piece.step, index=piece.index, attempt=piece.attempt, error="No.")
        assert conducting.hear(run, failed, 3)
    conducting.settle(run)
    assert run.state is RunState.FAILED
    assert conducting.retry(run)
    assert conducting.transcription_begins(run)


def test_a_retry_of_the_rest_goes_on_with_what_has_begun() -> None:
    run = prepared()
    first, *others = [p for p in conducting.release(run, 8) if p.step is StepName.TRANSCRIBE]
    first.state = PieceState.DONE
    for piece in others:
        conducting.fail(piece, "No.", attempts=0)
    assert conducting.cancel(run)
    assert conducting.retry(run)
    assert not conducting.transcribes(run)
