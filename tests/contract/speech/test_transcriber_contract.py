"""What every Transcriber promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy
import pytest

from auricle.errors import Invalid
from auricle.ports.media import SAMPLE_RATE, Clip
from auricle.ports.speech import Transcriber, Transcription, TranscriptionOptions
from builders.conversations import meeting

SECONDS = 6.0


def hear(transcriber: Transcriber, offset: float = 0.0, clips: list[Clip] | None = None, **wishes: str) -> Transcription:
    """The meeting's first six seconds, as if they began at `offset` of the recording."""
    inside = [c for c in meeting.clips() if c.end < SECONDS] if clips is None else clips
    moved = [Clip(c.start + offset, c.end + offset) for c in inside]
    audio = meeting.samples()[: int(SECONDS * SAMPLE_RATE)]
    return transcriber.transcribe(audio, offset, moved, TranscriptionOptions(**wishes), lambda _: None)


@cache
def usual(transcriber: Transcriber) -> Transcription:
    """The same without any wish, heard once."""
    return hear(transcriber)


def test_words_are_in_time_order_inside_the_clips(transcriber: Transcriber) -> None:
    heard = usual(transcriber)
    words = [word for passage in heard.passages for word in passage.words]
    assert len(words) > 8
    assert all(a.end <= b.start for a, b in pairwise(words))
    for passage in heard.passages:
        clip = next(c for c in meeting.clips() if c.start <= passage.start <= passage.end <= c.end)
        assert all(clip.start <= word.start <= word.end <= clip.end for word in passage.words)


def test_words_carry_no_blanks_and_a_probability(transcriber: Transcriber) -> None:
    heard = usual(transcriber)
    words = [word for passage in heard.passages for word in passage.words]
    assert all(word.word == word.word.strip() != "" for word in words)
    assert all(0.0 <= word.probability <= 1.0 for word in words)
    assert all(" ".join(w.word for w in passage.words) == passage.text for passage in heard.passages)


def test_times_are_times_of_the_recording(transcriber: Transcriber) -> None:
    at_start, later = usual(transcriber), hear(transcriber, offset=3600.0)
    starts = [[w.start for p in heard.passages for w in p.words] for heard in (at_start, later)]
    assert numpy.allclose(numpy.array(starts[0]) + 3600.0, starts[1], atol=0.011)
    assert [p.text for p in at_start.passages] == [p.text for p in later.passages]


def test_the_same_audio_gives_the_same_transcription(transcriber: Transcriber) -> None:
    assert hear(transcriber) == usual(transcriber)


def test_silence_gives_no_passage(transcriber: Transcriber) -> None:
    told: list[float] = []
    silence = numpy.zeros(SAMPLE_RATE, numpy.float32)
    heard = transcriber.transcribe(silence, 10.0, [], TranscriptionOptions(), told.append)
    assert heard.passages == ()
    assert told[-1] == 1.0


def test_clips_outside_the_audio_are_not_heard(transcriber: Transcriber) -> None:
    inside = [c for c in meeting.clips() if c.end < SECONDS]
    heard = hear(transcriber, clips=[*inside, Clip(SECONDS - 0.01, SECONDS + 3.0), Clip(20.0, 22.0)])
    assert heard == usual(transcriber)


def test_progress_rises_to_one(transcriber: Transcriber) -> None:
    told: list[float] = []
    clips = meeting.clips()[:6]
    audio = meeting.samples()[: int(clips[-1].end * SAMPLE_RATE)]
    transcriber.transcribe(audio, 0.0, clips, TranscriptionOptions(), told.append)
    assert told == sorted(told)
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert len(set(told)) > 2


def test_the_language_is_a_primary_tag(transcriber: Transcriber) -> None:
    assert hear(transcriber, language="en-GB").language == "en"
    assert usual(transcriber).language == "en"


def test_a_language_the_model_does_not_know_is_refused(transcriber: Transcriber) -> None:
    with pytest.raises(Invalid, match="choose another model"):
        hear(transcriber, language="de")


def test_threads_may_share_it(transcriber: Transcriber) -> None:
    alone = usual(transcriber)
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda _: hear(transcriber), range(2)))
    assert together == [alone, alone]
