"""Recordings through every stage, in one process: what happens between any two events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import auricle_gpu
import pytest

from auricle.transcripts.scoring import score
from builders.house import House, house

DEMO = Path(auricle_gpu.__file__).parent / "demo"


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url) as made:
        yield made


def test_a_meeting_becomes_a_transcript_with_speakers(home: House) -> None:
    import json

    file = home.upload(DEMO / "meeting.flac", chunk_seconds=30)
    home.settle()
    (run,) = home.runs(file["id"])
    assert run["state"] == "succeeded", run
    assert [(s["name"], s["state"], s["progress"]) for s in run["steps"]] == [
        (name, "succeeded", 1.0) for name in ("prepare", "transcribe", "diarize", "cluster", "assemble", "export")
    ]
    transcript = home.ask("GET", f"/api/files/{file['id']}/transcript")
    found = score(json.loads((DEMO / "meeting.json").read_text()), transcript)
    assert found.wer < 0.08
    assert found.speakers_found == 3
    assert found.speaker_word_accuracy > 0.95
