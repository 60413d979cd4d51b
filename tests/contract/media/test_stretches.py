"""Speech found while listening is the speech that faster-whisper finds in the whole file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import faster_whisper.vad
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.adapters.media.pyav import PyAvReader
from auricle.adapters.media.silero import WINDOW, SpeechProbabilities
from auricle.adapters.media.stretches import SpeechFinder
from builders import recordings

from .conftest import read

_OPTIONS = {"min_silence_duration_ms": 160, "speech_pad_ms": 80, "max_speech_duration_s": 8}

runs = st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.95]), st.integers(1, 12))
speeches = st.tuples(st.just(0.9), st.integers(1, 400))
probabilities = st.lists(st.one_of(runs, runs, speeches), max_size=60).map(
    lambda parts: [value for value, count in parts for _ in range(count)]
)


def whole_file(audio: NDArray[numpy.float32]) -> list[tuple[int, int]]:
    found = faster_whisper.vad.get_speech_timestamps(audio, **_OPTIONS)
    return [(stretch["start"], stretch["end"]) for stretch in found]


@settings(deadline=None, max_examples=150)
@given(heard=probabilities, short_by=st.integers(1, WINDOW - 1), sizes=st.lists(st.integers(1, 90), min_size=1, max_size=9))
def test_same_stretches_as_over_the_whole_file(heard: list[float], short_by: int, sizes: list[int]) -> None:
    heard = [*heard, 0.3]
    length = len(heard) * WINDOW - short_by
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faster_whisper.vad, "get_vad_model", lambda: lambda audio: numpy.array(heard))
        expected = whole_file(numpy.zeros(length, numpy.float32))
    assert list(_in_blocks(heard, sizes, length)) == expected


def _in_blocks(heard: list[float], sizes: list[int], length: int) -> Iterable[tuple[int, int]]:
    """Push in blocks; whatever is handed out lies before what is settled by then, and after what was settled before."""
    finder, at, settled, turn = SpeechFinder(), 0, 0, 0
    while at < len(heard):
        found = finder.push(heard[at : at + sizes[turn % len(sizes)]])
        assert all(begin >= settled for begin, _ in found)
        assert all(end <= max(finder.settled, at * WINDOW + len(heard) * WINDOW) for _, end in found)
        assert finder.settled >= settled
        settled = finder.settled
        yield from found
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    rest = finder.finish(length)
    assert all(begin >= settled for begin, _ in rest)
    yield from rest


def test_meeting_has_the_same_clips_as_with_faster_whisper(tmp_path: Path) -> None:
    path = recordings.looped_meeting(tmp_path / "meeting.flac", 120)
    audio = recordings.meeting()[0].astype(numpy.float32) / 32768
    expected = [(begin / 16_000, end / 16_000) for begin, end in whole_file(audio)]
    clips = read(path, reader=PyAvReader(), chunk_seconds=30).clips
    assert clips == [(pytest.approx(begin, abs=0.0051), pytest.approx(end, abs=0.0051)) for begin, end in expected]


def test_block_borders_leave_no_trace() -> None:
    sound = recordings.speech()[0][: 240 * WINDOW]
    whole = SpeechProbabilities()(sound)
    by_block = SpeechProbabilities()
    assert [p for at in range(0, len(sound), 60 * WINDOW) for p in by_block(sound[at : at + 60 * WINDOW])] == whole


@pytest.mark.parametrize(("number", "loud"), [(0, 150), (1, 0), (1, 150)])
def test_sentence_after_a_long_silence_is_noticed_from_its_first_word(number: int, loud: int) -> None:
    """Over the whole file, the network has lost its wits by then."""
    turn = recordings.turns()[number]
    begin, end = float(str(turn["start"])), float(str(turn["end"]))
    quiet = numpy.random.default_rng(2).integers(-loud, loud + 1, 300 * 16_000).astype(numpy.int16)
    sentence = recordings.speech(begin, end - begin)[0]
    sound = numpy.concatenate([recordings.speech()[0], quiet, sentence, quiet[:32_000]])
    listening, finder = SpeechProbabilities(), SpeechFinder()
    found = [
        stretch
        for at in range(0, len(sound), 256 * WINDOW)
        for stretch in finder.push(listening(sound[at : at + 256 * WINDOW]))
    ]
    found += finder.finish(len(sound))
    expected = len(sound) - 32_000 - len(sentence)
    after = [stretch for stretch in found if stretch[1] > expected]
    assert after[0][0] <= expected + 800
    assert after[-1][1] >= len(sound) - 32_000 - 1_600


def test_digital_silence_costs_nothing_and_changes_nothing() -> None:
    sound, silence = recordings.speech()[0][: 256 * WINDOW], numpy.zeros(256 * WINDOW, numpy.int16)
    skipping, plain = SpeechProbabilities(), SpeechProbabilities()
    for block in (sound, silence, silence, silence, silence[:5_000], sound):
        plain._nothing = []  # nothing to answer from: every block is heard
        assert skipping(block) == plain(block)


def test_reader_needs_nothing_of_the_speech_image() -> None:
    code = (
        "import sys; sys.modules.update(faster_whisper=None, ctranslate2=None, tokenizers=None, torch=None)\n"
        "import auricle.adapters.media.pyav\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
