"""Diarizing in chunks costs nothing, on conversations cut from the demo meeting (the bench takes synthesized ones)."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy
import pytest

from auricle.ports.media import TAIL_SECONDS
from auricle.transcripts.scoring import diarization_error
from auricle_gpu.bench import (
    ChunkingCost,
    diarization_in_chunks,
    find_speech,
    raw_whisper,
    read_conversations,
    spans_of,
)
from auricle_gpu.budget import Device
from auricle_gpu.models import DEMO
from auricle_gpu.pool import Pool, SpeechSettings
from builders.conversations import meeting
from builders.conversations.conversation import Conversation as Spoken
from builders.conversations.conversation import SpokenTurn, Truth
from builders.conversations.write import write

error = partial(diarization_error, collar=0.25)


@pytest.fixture(scope="module")
def cost() -> ChunkingCost:
    diarizer = Pool(SpeechSettings(device=Device.CPU)).diarizer("voices-demo")
    wished = [meeting.rearranged(seed, speakers=1 + seed % 3) for seed in range(6)]
    return diarization_in_chunks(wished, diarizer, error, chunks=3)


def test_chunks_of_one_reading_cost_nothing(cost: ChunkingCost) -> None:
    assert [row.chunked_error for row in cost.rows] == [row.whole_error for row in cost.rows]
    assert cost.points == 0.0
    assert cost.whole_error < 0.05


def test_chunks_that_find_their_own_speech_cost_less_than_half_a_point() -> None:
    diarizer = Pool(SpeechSettings(device=Device.CPU)).diarizer("voices-demo")
    wished = [meeting.rearranged(seed, speakers=3) for seed in (10, 11)]
    assert diarization_in_chunks(wished, diarizer, error, chunks=3, alone=True).points <= 0.5


def test_the_right_number_of_people_is_found_whole_and_in_chunks(cost: ChunkingCost) -> None:
    assert [(row.whole_speakers, row.chunked_speakers) for row in cost.rows] == [(row.speakers,) * 2 for row in cost.rows]


def test_every_conversation_was_really_cut(cost: ChunkingCost) -> None:
    assert all(row.chunks == 3 for row in cost.rows)


def test_chunks_are_cut_in_silence_and_leave_no_gap() -> None:
    clips = find_speech(meeting.samples())
    spans = spans_of(clips, 120.0, 4)
    assert [span.index for span in spans] == [0, 1, 2, 3]
    assert spans[0].start == 0.0
    assert spans[-1].end == spans[-1].audio_end == 120.0
    assert all(a.end == b.start for a, b in pairwise(spans))
    assert all(span.audio_end == min(span.end + TAIL_SECONDS, 120.0) for span in spans)
    assert not any(clip.start < span.end < clip.end for clip in clips for span in spans)


def test_plain_whisper_is_timed_on_the_given_clips() -> None:
    timing = raw_whisper(DEMO / "whisper-demo", meeting.samples(), meeting.clips()[:4], threads=2)
    assert timing.words > 10
    assert timing.seconds > 0
    assert timing.speech_seconds == pytest.approx(sum(c.end - c.start for c in meeting.clips()[:4]))


def test_conversations_are_written_and_read_back(tmp_path: Path) -> None:
    turns = (SpokenTurn(0.5, 1.5, "S1", "Thank you Ben."),)
    truth = Truth(seconds=2.0, seed=1, turns=turns, words=())
    samples = (numpy.sin(numpy.arange(32_000) / 20) * 0.5).astype(numpy.float32)
    write(tmp_path, [("one", Spoken(samples, truth))])
    (read,) = read_conversations(tmp_path)
    assert read.turns == ((0.5, 1.5, "S1"),)
    assert numpy.abs(read.samples - samples).max() < 1e-4
    assert json.loads((tmp_path / "one.json").read_text())["turns"][0]["text"] == "Thank you Ben."
