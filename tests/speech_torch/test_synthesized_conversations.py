"""Two dozen synthesized conversations of one to four people, whole and in chunks."""

from __future__ import annotations

from functools import cache, partial

import pytest

from auricle.transcripts.scoring import diarization_error
from auricle_gpu.bench import Conversation, diarization_in_chunks
from auricle_gpu.budget import Device
from auricle_gpu.pool import Pool, SpeechSettings
from builders.conversations.conversation import conversations
from builders.conversations.espeak import installed
from builders.conversations.voices import Pool as People
from builders.conversations.write import wishes

pytestmark = [
    pytest.mark.timeout(400),  # half a minute on a quiet machine
    pytest.mark.torch,  # not for torch: a minute of work belongs into this lane
    pytest.mark.skipif(not installed(), reason="espeak-ng is not on this machine (libespeak-ng1 or espeakng-loader)"),
]

error = partial(diarization_error, collar=0.25)


@cache
def spoken() -> tuple[Conversation, ...]:
    wished = wishes(24, People.HEARD, seconds=60.0)
    return tuple(
        Conversation(
            name=f"{wish.pool}-{wish.speakers}-{wish.seed}",
            samples=made.samples,
            turns=tuple((turn.start, turn.end, turn.speaker) for turn in made.truth.turns),
        )
        for wish, made in zip(wished, conversations(wished), strict=True)
    )


def test_onnx_voices_lose_nothing_to_chunks() -> None:
    diarizer = Pool(SpeechSettings(device=Device.CPU)).diarizer("voices-demo")
    cost = diarization_in_chunks(spoken(), diarizer, error)
    assert len(cost.rows) == 24
    assert {row.speakers for row in cost.rows} == {1, 2, 3, 4}
    assert all(row.chunks >= 3 for row in cost.rows)
    assert cost.points == 0.0
    assert cost.chunked_error < 0.05


def test_chunks_that_find_their_own_speech_cost_at_most_half_a_point() -> None:
    diarizer = Pool(SpeechSettings(device=Device.CPU)).diarizer("voices-demo")
    assert diarization_in_chunks(spoken(), diarizer, error, alone=True).points <= 0.5


def test_pyannote_loses_nothing_to_chunks() -> None:
    pytest.importorskip("pyannote.audio", reason="the gpu extra is not installed (make test-speech)")
    diarizer = Pool(SpeechSettings(device=Device.CPU)).diarizer("pyannote-demo")
    cost = diarization_in_chunks(spoken()[2:3], diarizer, error)
    assert [row.chunked_error for row in cost.rows] == [row.whole_error for row in cost.rows]
