"""Recordings through every stage, in one process: what happens between any two events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import auricle_gpu
from auricle.contract.event import Envelope
from auricle.transcripts.scoring import normalized, score
from builders.house import House, house
from builders.recordings import BAD, BAD_PHRASES, GOOD, HURT, SPEECHLESS, sparse_speech

DEMO = Path(auricle_gpu.__file__).parent / "demo"
STEPS = ("prepare", "transcribe", "diarize", "cluster", "assemble", "export")


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url) as made:
        yield made


@pytest.fixture(scope="module")
def meeting(home: House) -> dict[str, Any]:
    """The demo meeting, put through everything."""
    file = home.upload(DEMO / "meeting.flac", chunk_seconds=30)
    home.settle()
    return file


def words_of(transcript: dict[str, Any]) -> list[str]:
    return [w for s in transcript["segments"] for w in normalized(s["text"])]


def put_through(home: House, path: Path, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    file = home.upload(path, **options)
    home.settle()
    return home.ask("GET", f"/api/files/{file['id']}"), home.runs(file["id"])[0]


def test_a_meeting_becomes_a_transcript_with_speakers(home: House, meeting: dict[str, Any]) -> None:
    (run,) = home.runs(meeting["id"])
    assert run["state"] == "succeeded", run
    assert [(s["name"], s["state"], s["progress"]) for s in run["steps"]] == [(n, "succeeded", 1.0) for n in STEPS]
    assert run["warnings"] == []
    transcript = home.ask("GET", f"/api/files/{meeting['id']}/transcript")
    found = score(json.loads((DEMO / "meeting.json").read_text()), transcript)
    assert found.wer < 0.08
    assert found.speakers_found == 3
    assert found.speaker_word_accuracy > 0.95
    file = home.ask("GET", f"/api/files/{meeting['id']}")
    assert (file["state"], file["has_transcript"], file["language"]) == ("ready", True, "en")
    assert home.dropped == []


def test_every_event_between_functions_with_a_database_is_signed(home: House, meeting: dict[str, Any]) -> None:
    signer = home.bound.wiring.signer
    secretless = {"auricle.speech.work-heard.v1", "auricle.speech.work-failed.v1", "auricle.runs.step-progressed.v1"}
    assert all(signer.signed(e) for e in home.queue.seen if e.type not in secretless)
    assert all("sig" not in e.extensions for e in home.queue.seen if e.type in secretless)


def test_an_answer_with_a_forged_receipt_changes_nothing(home: House, meeting: dict[str, Any]) -> None:
    heard = next(e for e in home.queue.seen if e.type == "auricle.speech.work-heard.v1")
    data = {**json.loads(heard.data), "receipt": "0" * 32}
    before = home.runs(meeting["id"])
    forged = Envelope(
        id="forged", source="/x", type=heard.type, time=heard.time, data=json.dumps(data).encode(), extensions=heard.extensions
    )
    assert home.post_event("advance", forged).status_code == 204
    assert home.runs(meeting["id"]) == before


@pytest.mark.parametrize("form", ["txt", "srt", "vtt", "json", "csv", "md", "rttm"])
def test_every_export_is_served_and_put_beside_the_recording(home: House, meeting: dict[str, Any], form: str) -> None:
    from auricle.ports.blobs import BlobStore

    answer = home.raw("GET", f"/api/files/{meeting['id']}/export?format={form}")
    assert answer.status_code == 200
    assert f"meeting.{form}" in answer.headers["Content-Disposition"]
    stored = home.bound.wiring.provide(BlobStore).open(f"exports/{meeting['id']}/v1/transcript.{form}").read()
    assert stored == answer.get_data()


def test_what_is_not_there_is_said(home: House, meeting: dict[str, Any]) -> None:
    assert "txt, srt" in home.ask("GET", f"/api/files/{meeting['id']}/export?format=docx", status=422)["detail"]
    assert "newest is 1" in home.ask("GET", f"/api/files/{meeting['id']}/transcript?version=9", status=404)["detail"]


def test_playback_peaks_and_ranges(home: House, meeting: dict[str, Any]) -> None:
    import urllib3

    answer = home.raw("GET", f"/api/files/{meeting['id']}/content")
    assert answer.status_code == 302
    part = urllib3.request("GET", answer.headers["Location"], headers={"Range": "bytes=0-3"}, timeout=10)
    assert (part.status, part.data) == (206, b"fLaC")
    peaks = home.ask("GET", f"/api/files/{meeting['id']}/peaks")
    assert len(peaks["peaks"]) / peaks["peaks_per_second"] == pytest.approx(120, abs=1)
    assert home.raw("GET", f"/api/files/{meeting['id']}/poster").status_code == 404


def test_diarizing_again_makes_a_new_version_out_of_the_same_words(home: House, meeting: dict[str, Any]) -> None:
    body = {"steps": ["diarize"], "options": {"num_speakers": 2}}
    run = home.ask("POST", f"/api/files/{meeting['id']}/runs", body, status=201)
    assert [s["name"] for s in run["steps"]] == ["diarize", "cluster", "assemble", "export"]
    home.settle()
    first = home.ask("GET", f"/api/files/{meeting['id']}/transcript?version=1")
    second = home.ask("GET", f"/api/files/{meeting['id']}/transcript")
    assert second["version"] == 2
    assert len(second["speakers"]) == 2
    assert words_of(first) == words_of(second)


def test_transcribing_again_keeps_the_speakers_and_hears_the_vocabulary(home: House, meeting: dict[str, Any]) -> None:
    options = {"vocabulary": ["Berlin", "Oliver"], "initial_prompt": "A meeting."}
    home.ask("POST", f"/api/files/{meeting['id']}/runs", {"steps": ["transcribe"], "options": options}, status=201)
    home.settle()
    released = [json.loads(e.data) for e in home.queue.seen if e.extensions.get("work") == "transcribe"]
    assert released[-1]["hotwords"] == "Berlin, Oliver"
    assert released[-1]["initial_prompt"] == "A meeting."
    transcript = home.ask("GET", f"/api/files/{meeting['id']}/transcript")
    assert (transcript["version"], len(transcript["speakers"])) == (3, 2)


def test_one_run_at_a_time_unless_superseded(home: House, meeting: dict[str, Any]) -> None:
    first = home.ask("POST", f"/api/files/{meeting['id']}/runs", {"steps": ["export"]}, status=201)
    refused = home.ask("POST", f"/api/files/{meeting['id']}/runs", {"steps": ["export"]}, status=409)
    assert refused["run_id"] == first["id"]
    second = home.ask("POST", f"/api/files/{meeting['id']}/runs", {"steps": ["export"], "supersede": True}, status=201)
    home.settle()
    assert home.ask("GET", f"/api/runs/{first['id']}")["state"] == "cancelled"
    assert home.ask("GET", f"/api/runs/{second['id']}")["state"] == "succeeded"


def test_cancelling_releases_nothing_more_and_a_retry_goes_on(home: House) -> None:
    file = home.upload(DEMO / "meeting.flac", chunk_seconds=30, diarize=False)
    while not any(s["name"] == "prepare" and s["state"] == "succeeded" for r in home.runs(file["id"]) for s in r["steps"]):
        home.settle(most=1)
    run = home.runs(file["id"])[0]
    home.ask("POST", f"/api/runs/{run['id']}/cancel", status=202)
    home.settle()
    run = home.ask("GET", f"/api/runs/{run['id']}")
    assert run["state"] == "cancelled"
    assert [s["state"] for s in run["steps"]] == ["succeeded", "cancelled", "cancelled", "cancelled"]
    home.ask("POST", f"/api/runs/{run['id']}/retry", status=202)
    home.settle()
    run = home.ask("GET", f"/api/runs/{run['id']}")
    assert run["state"] == "succeeded", run
    assert home.ask("GET", f"/api/files/{file['id']}/transcript")["speakers"] == []


def test_a_model_that_is_not_there_fails_the_run_in_plain_words(home: House) -> None:
    _, run = put_through(home, DEMO / "meeting.flac", model="whisper-imaginary", diarize=False)
    assert run["state"] == "failed"
    assert "whisper-imaginary" in run["error"]
    step = next(s for s in run["steps"] if s["name"] == "transcribe")
    assert (step["state"], step["error"]) == ("failed", run["error"])


def test_failed_diarization_leaves_the_text_and_can_be_done_again(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from auricle.errors import Permanent
    from auricle.ports.speech import SpeechModels

    models = home.bound.wiring.provide(SpeechModels)
    whole = type(models).diarizer

    def broken(self: Any, model: str) -> Any:
        raise Permanent("The voice model is not here.")

    monkeypatch.setattr(type(models), "diarizer", broken)
    file, run = put_through(home, DEMO / "meeting.flac", chunk_seconds=60)
    assert run["state"] == "succeeded"
    assert [s["state"] for s in run["steps"]] == ["succeeded", "succeeded", "failed", "skipped", "succeeded", "succeeded"]
    assert "Speakers could not be told apart: The voice model is not here." in run["warnings"][0]
    transcript = home.ask("GET", f"/api/files/{file['id']}/transcript")
    assert {s["speaker"] for s in transcript["segments"]} == {None}
    monkeypatch.setattr(type(models), "diarizer", whole)
    home.ask("POST", f"/api/runs/{run['id']}/retry", status=202)
    home.settle()
    again = home.ask("GET", f"/api/runs/{run['id']}")
    assert (again["state"], again["warnings"]) == ("succeeded", [])
    assert len(home.ask("GET", f"/api/files/{file['id']}/transcript")["speakers"]) == 3


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_format_is_transcribed(home: House, tmp_path: Path, name: str) -> None:
    file, run = put_through(home, GOOD[name](tmp_path / name))
    assert run["state"] == "succeeded", run
    words = words_of(home.ask("GET", f"/api/files/{file['id']}/transcript"))
    assert len({"hello", "oliver", "thank", "topic"} & set(words)) >= 3, words  # telephone lines cost a word
    assert file["has_video"] == (name in ("meeting.webm", "meeting.mkv", "meeting.mp4")) or "cover" in name or "track" in name


@pytest.mark.parametrize("name", sorted(HURT))
def test_what_can_be_saved_of_a_damaged_recording_is_transcribed_and_said(home: House, tmp_path: Path, name: str) -> None:
    _, run = put_through(home, HURT[name](tmp_path / name))
    assert run["state"] == "succeeded", run
    assert run["warnings"]


@pytest.mark.parametrize("name", sorted(SPEECHLESS))
def test_silence_is_an_empty_transcript_and_not_an_error(home: House, tmp_path: Path, name: str) -> None:
    file, run = put_through(home, SPEECHLESS[name](tmp_path / name))
    assert run["state"] == "succeeded", run
    assert run["warnings"] == ["No speech was found."]
    assert home.ask("GET", f"/api/files/{file['id']}/transcript")["segments"] == []


@pytest.mark.parametrize("name", sorted(set(BAD) - {"empty.wav"}))
def test_what_cannot_be_heard_ends_with_a_sentence_and_is_kept(home: House, tmp_path: Path, name: str) -> None:
    path = BAD[name](tmp_path / name)
    file, run = put_through(home, path)
    assert run["state"] == "failed"
    assert BAD_PHRASES[name] in run["error"]
    assert (file["state"], file["error"]) == ("unreadable", run["error"])
    import urllib3

    answer = home.raw("GET", f"/api/files/{file['id']}/content")
    assert urllib3.request("GET", answer.headers["Location"], timeout=10).data == path.read_bytes()


def test_an_empty_file_is_refused_at_the_door(home: House) -> None:
    answer = home.ask("POST", "/api/uploads", {"name": "empty.wav", "size": 0}, status=422)
    assert "empty" in answer["detail"]


def test_six_hours_of_silence_with_one_sentence(home: House, tmp_path: Path) -> None:
    file, run = put_through(home, sparse_speech(tmp_path / "night.flac", 6.0, 1))
    assert run["state"] == "succeeded", run
    transcript = home.ask("GET", f"/api/files/{file['id']}/transcript")
    assert transcript["duration"] == pytest.approx(6 * 3600, abs=1)
    assert len(words_of(transcript)) >= 3
    released = [e for e in home.queue.seen if e.extensions.get("work") == "transcribe" and file["id"] in e.data.decode()]
    assert len(released) == 1  # silence is nobody's work


def test_duplicates_and_disorder_change_nothing(postgres_server: Any) -> None:
    server = postgres_server
    seen: list[Any] = []
    for chaos in (None, 1, 2, 3):
        with house(server.owner_url(server.new_database()), chaos=chaos) as home:
            file, run = put_through(home, DEMO / "meeting.flac", chunk_seconds=10)
            assert run["state"] == "succeeded"
            seen.append(home.raw("GET", f"/api/files/{file['id']}/transcript").get_data())
            assert home.ask("GET", "/api/dead-letters")["items"] == []
    assert seen[1:] == seen[:1] * 3
