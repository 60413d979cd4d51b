"""What is done with runs that have begun, on a real database: each event its own unit of work."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from auricle.files.model import Options
from auricle.runs.events import CancelRequested, RetryRequested, RunFinished, StepFailed
from auricle.runs.model import Run, RunState, StepName, StepState
from auricle.speech.events import ChunkReleased, VoicesReleased
from builders.conducted_rooms import PACE, SIGNER, Room, begin, done, first, outputs, progress, refused, states

LIFE = PACE.task_seconds + 15 * 60
SPEECH = ("transcribe", "diarize", "cluster")

# What goes out.


def test_chunks_go_out_with_everything_that_is_needed_to_hear_them(room: Room) -> None:
    file_id = room.file(30, language="de", vocabulary=("Auricle", "Ohrmuschel"), initial_prompt="A talk.", model="words-2")
    run = room.request(file_id, StepName.TRANSCRIBE)
    begin(room, run)
    assert room.bus.ids()[:1] == [f"{run.id}/transcribe/0/1/1"]
    (event,) = room.released()
    assert event == ChunkReleased(
        run_id=run.id,
        file_id=file_id,
        work=StepName.TRANSCRIBE,
        index=0,
        attempt=1,
        model="words-2",
        start=0.0,
        end=300.0,
        audio_end=300.0,
        clips=((0.0, 30.0),),
        audio_url=f"get:chunks/{file_id}/0:{LIFE}:pod",
        result_get_url=f"get:work/{file_id}/{run.id}/transcribe/00000.json:{LIFE}:pod",
        result_put_url=f"put:work/{file_id}/{run.id}/transcribe/00000.json:{LIFE}:pod",
        receipt=SIGNER.receipt(run.id, "transcribe", 0, 1),
        language="de",
        hotwords="Auricle, Ohrmuschel",
        initial_prompt="A talk.",
    )


def test_voices_are_heard_with_the_voice_model_whatever_hears_the_words(room: Room) -> None:
    run = room.request(room.transcribed(room.file(30, model="words-2", language="de")), StepName.DIARIZE)
    begin(room, run)
    (event,) = room.released()
    assert (event.model, event.language, event.hotwords) == ("voices-1", None, None)
    assert event.result_put_url.startswith(f"put:work/{run.file_id}/{run.id}/diarize/00000.npz:")


def test_clustering_gets_the_evidence_of_every_chunk_in_order(room: Room) -> None:
    file_id = room.transcribed(room.file(*[30.0] * 5, num_speakers=3))
    run = room.request(file_id, StepName.DIARIZE)
    begin(room, run)
    seen = room.work_off(keep=lambda e: e.work == "cluster")
    (event,) = [e for e in seen if isinstance(e, VoicesReleased)]
    assert (event.num_speakers, event.min_speakers, event.max_speakers, event.model) == (3, None, None, "voices-1")
    manifest = event.manifest_url.split(":")[1]
    assert msgspec.json.decode(room.blobs.kept[manifest]) == [
        f"get:work/{file_id}/{run.id}/diarize/{index:05}.npz:{LIFE}:pod" for index in range(5)
    ]


def test_clustering_alone_uses_what_an_earlier_run_heard(room: Room) -> None:
    file_id = room.file(prepared=False)
    earlier = first(room, file_id)
    room.work_off(30, 30)
    run = room.request(file_id, StepName.CLUSTER, options=Options(num_speakers=2))
    begin(room, run)
    (event,) = room.released()
    urls = msgspec.json.decode(room.blobs.kept[event.manifest_url.split(":")[1]], type=list[str])
    assert [url.split(":")[1] for url in urls] == [f"work/{file_id}/{earlier}/diarize/{i:05}.npz" for i in range(2)]


def test_no_release_is_ever_published_twice_under_one_id(room: Room) -> None:
    id = first(room, room.file(prepared=False))
    published: list[str | None] = []

    def taken() -> list[Any]:
        published.extend(room.bus.ids())
        return room.released()

    (prepare,) = taken()
    room.prepare(prepare.file_id, 30, 30)
    room.tell(done(prepare))
    for _ in range(3):
        taken()
        room.let_deadlines_pass()
        room.sweep()
    taken()
    room.tell(CancelRequested(run_id=id))
    room.tell(RetryRequested(run_id=id))
    taken()
    named = [name for name in published if name is not None]
    assert len(named) > 8
    assert len(named) == len(set(named))


# Coming back.


def test_an_answer_with_a_wrong_receipt_is_not_believed(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    (event,) = room.released()
    for forged in (done(event), refused(event, "Forged."), progress(event, 0.5)):
        room.tell(msgspec.structs.replace(forged, receipt="0" * 32))
    assert room.bus.published == []
    assert states(room.run(run.id))["transcribe"] == "running"
    assert room.run(run.id).steps[0].progress == 0


def test_a_receipt_of_another_piece_is_not_believed(room: Room) -> None:
    run = room.request(room.file(30, 30), StepName.TRANSCRIBE)
    begin(room, run)
    one, two = room.released()
    room.tell(msgspec.structs.replace(done(one), receipt=two.receipt))
    assert room.run(run.id).steps[0].progress == 0


def test_a_fact_about_a_run_that_is_gone_is_dropped(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    (event,) = room.released()
    with room.desk() as desk:
        desk.runs.forget(run.file_id)
    room.tell(done(event))
    assert room.bus.published == []
    assert room.sql("select * from pieces") == []


def test_a_gap_is_told_and_the_rest_is_transcribed(room: Room) -> None:
    id = first(room, room.file(prepared=False, diarize=False))
    seen = room.work_off(30, 30, keep=lambda e: e.work == "transcribe" and e.index == 1)
    (stuck,) = [e for e in seen if e.work == "transcribe" and e.index == 1]
    room.tell(refused(stuck, "The audio is broken."))
    room.work_off()
    run = room.run(id)
    assert run.state is RunState.SUCCEEDED
    assert run.warnings == ("Minutes 05:00–10:00 could not be transcribed: The audio is broken.",)


def test_a_run_without_a_single_word_fails_with_the_reason(room: Room) -> None:
    run = room.request(room.file(30, model="no-such"), StepName.TRANSCRIBE)
    begin(room, run)
    (event,) = room.released()
    room.tell(refused(event, "There is no model no-such."))
    assert (room.run(run.id).state, room.run(run.id).error) == (RunState.FAILED, "There is no model no-such.")
    assert [(f.state, f.error) for f in room.bus.facts(RunFinished)] == [(RunState.FAILED, "There is no model no-such.")]


def test_a_preparation_that_can_never_work_fails_the_run(room: Room) -> None:
    id = first(room, room.file(prepared=False))
    room.tell(StepFailed(run_id=id, work=StepName.PREPARE, attempt=1, error="This file has no sound."))
    run = room.run(id)
    assert (run.state, run.error) == (RunState.FAILED, "This file has no sound.")
    assert run.steps[0].state is StepState.FAILED


def test_a_cancelled_run_releases_nothing_and_drops_what_comes_back(room: Room) -> None:
    id = first(room, room.file(prepared=False))
    seen = room.work_off(30, 30, keep=lambda e: e.work in SPEECH)
    room.tell(CancelRequested(run_id=id))
    assert [f.state for f in room.bus.facts(RunFinished)] == [RunState.CANCELLED]
    room.bus.published.clear()
    for event in seen[1:]:
        room.tell(done(event))
    assert room.bus.published == []
    assert room.run(id).state is RunState.CANCELLED


def test_a_retry_goes_on_where_a_cancelled_run_stopped(room: Room) -> None:
    id = first(room, room.file(prepared=False))
    room.work_off(30, 30, keep=lambda e: e.work in SPEECH and e.index == 1)
    room.tell(CancelRequested(run_id=id))
    room.bus.published.clear()
    room.tell(RetryRequested(run_id=id))
    again = [(e.work.value, getattr(e, "index", 0), e.attempt) for e in room.work_off()]
    assert again == [("transcribe", 1, 2), ("diarize", 1, 2), ("cluster", 0, 1), ("assemble", 0, 1), ("export", 0, 1)]
    run = room.run(id)
    assert (run.state, run.error, run.warnings) == (RunState.SUCCEEDED, None, ())


def test_a_retry_waits_for_nobody_and_pushes_nobody_aside(room: Room) -> None:
    file_id = room.file(prepared=False)
    old = first(room, file_id)
    room.tell(CancelRequested(run_id=old))
    room.request(file_id)
    room.bus.published.clear()
    room.tell(RetryRequested(run_id=old))
    assert room.bus.published == []
    assert room.run(old).state is RunState.CANCELLED


# Sweeping.


def test_a_sweep_with_nothing_due_does_nothing(room: Room) -> None:
    first(room, room.file(prepared=False))
    room.bus.published.clear()
    assert room.sweep() == 0
    assert room.bus.published == []


def test_what_was_never_answered_goes_out_again_with_fresh_urls(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    (old,) = room.released()
    room.let_deadlines_pass()
    assert room.sweep() == 1
    assert room.bus.ids()[:1] == [f"{run.id}/transcribe/0/1/2"]
    (new,) = room.released()
    assert (new.attempt, new.receipt) == (old.attempt, old.receipt)  # either answer is good
    assert (old.release, new.release) == (1, 2)
    assert new.result_put_url == old.result_put_url.replace(f":{LIFE}:", f":{LIFE + PACE.task_seconds}:")
    assert room.sweep() == 0
    room.tell(done(old))
    assert states(room.run(run.id))["transcribe"] == "succeeded"


def test_a_sign_of_life_moves_the_deadline(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    (event,) = room.released()
    room.let_deadlines_pass()
    room.tell(progress(event, 0.3))
    assert room.sweep() == 0


def test_a_run_that_nobody_ever_answers_ends(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    for _ in range(100):
        room.let_deadlines_pass()
        room.sweep()
    assert room.run(run.id).state is RunState.RUNNING  # waiting for a GPU costs nothing
    room.sql("update steps set unattended_since = unattended_since - interval '8 days'")
    room.let_deadlines_pass()
    room.sweep()
    assert room.run(run.id).state is RunState.FAILED
    assert "Nobody took this work for days" in (room.run(run.id).error or "")


# Telling people.


def test_people_are_told_the_whole_run_on_each_visible_change_and_only_then(room: Room) -> None:
    run = room.request(room.file(30), StepName.TRANSCRIBE)
    begin(room, run)
    (event,) = room.released()

    def told() -> list[dict[str, object]]:
        return [
            r.data for r in room.sql("select data from event_log where owner = :o and type = 'run' order by seq", o=room.owner)
        ]

    assert [entry["state"] for entry in told()] == ["queued", "running"]
    room.tell(progress(event, 0.501))
    assert msgspec.convert(told()[-1], Run) == room.run(run.id)
    room.tell(progress(event, 0.502))
    room.tell(progress(event, 0.502))
    assert len(told()) == 3
    assert room.run(run.id).steps[0].progress == pytest.approx(0.502)


# What a transcript is made of.


def test_a_run_that_heard_everything_uses_what_it_heard(room: Room) -> None:
    file_id = room.file(prepared=False)
    id = first(room, file_id)
    room.work_off(30, 0, 30)
    found = outputs(room, id)
    assert found.words == tuple((i, f"work/{file_id}/{id}/transcribe/{i:05}.json") for i in (0, 2))
    assert found.voices == f"work/{file_id}/{id}/voices.json"
    assert (found.gaps, found.silent) == ((), False)


def test_gaps_are_handed_on_with_their_reasons(room: Room) -> None:
    run = room.request(room.file(30, 30), StepName.TRANSCRIBE)
    begin(room, run)
    one, two = room.released()
    room.tell(done(one))
    room.tell(refused(two, "The audio is broken."))
    found = outputs(room, run.id)
    assert [index for index, _ in found.words] == [0]
    assert found.gaps == ((300.0, 600.0, "The audio is broken."),)


def test_diarizing_again_keeps_the_words_and_transcribing_again_the_voices(room: Room) -> None:
    file_id = room.file(prepared=False)
    earlier = first(room, file_id)
    room.work_off(30, 30)
    voices = room.request(file_id, StepName.DIARIZE)
    begin(room, voices)
    room.work_off()
    found = outputs(room, voices.id)
    assert [key for _, key in found.words] == [f"work/{file_id}/{earlier}/transcribe/{i:05}.json" for i in range(2)]
    assert found.voices == f"work/{file_id}/{voices.id}/voices.json"
    words = room.request(file_id, StepName.TRANSCRIBE)
    begin(room, words)
    room.work_off()
    found = outputs(room, words.id)
    assert [key for _, key in found.words] == [f"work/{file_id}/{words.id}/transcribe/{i:05}.json" for i in range(2)]
    assert found.voices == f"work/{file_id}/{voices.id}/voices.json"


def test_a_failed_diarization_leaves_no_voices_and_keeps_the_words(room: Room) -> None:
    id = first(room, room.file(prepared=False))
    seen = room.work_off(30, keep=lambda e: e.work == "cluster")
    room.tell(refused(next(e for e in seen if e.work == "cluster"), "Too many voices."))
    room.work_off()
    run = room.run(id)
    assert run.state is RunState.SUCCEEDED
    assert run.warnings[0].startswith("Speakers could not be told apart: Too many voices.")
    found = outputs(room, id)
    assert (len(found.words), found.voices) == (1, None)


def test_a_silent_recording_has_no_words_and_says_so(room: Room) -> None:
    id = first(room, room.file(prepared=False))
    room.work_off(0, 0)
    found = outputs(room, id)
    assert (found.words, found.voices, found.silent) == ((), None, True)
    assert room.run(id).warnings == ("No speech was found.",)
