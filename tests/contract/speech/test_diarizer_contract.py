"""What every Diarizer promises."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy
import pytest

from auricle.errors import Permanent
from auricle.ports.media import SAMPLE_RATE, TAIL_SECONDS, Clip
from auricle.ports.speech import Diarizer, Span, SpeakerHints, Voices
from builders.conversations import meeting

ANY = SpeakerHints()
SECONDS = 36.0
CUTS = (0.0, 8.11, 21.99, SECONDS)


def listened(diarizer: Diarizer, span: Span, offset: float = 0.0) -> bytes:
    """The chunk's evidence, as if the meeting began at `offset` of the recording."""
    audio = meeting.samples()[round(span.start * SAMPLE_RATE) : round(span.audio_end * SAMPLE_RATE)]
    clips = [
        Clip(max(c.start, span.start) + offset, min(c.end, span.end) + offset)
        for c in meeting.clips()
        if c.end > span.start and c.start < span.end
    ]
    moved = Span(span.index, span.start + offset, span.end + offset, span.audio_end + offset)
    return diarizer.listen(audio, moved, clips, lambda _: None)


@cache
def evidence(diarizer: Diarizer) -> tuple[bytes, ...]:
    """The first part of the meeting in three chunks."""
    spans = [Span(n, a, b, min(b + TAIL_SECONDS, SECONDS)) for n, (a, b) in enumerate(pairwise(CUTS))]
    return tuple(listened(diarizer, span) for span in spans)


@pytest.fixture(scope="session")
def voices(diarizer: Diarizer) -> Voices:
    return diarizer.cluster(evidence(diarizer), ANY)


def test_turns_lie_inside_the_recording_in_time_order(voices: Voices) -> None:
    for turns in (voices.turns, voices.exclusive):
        assert len(turns) > 5
        assert all(0.0 <= turn.start < turn.end <= SECONDS + 0.1 for turn in turns)
        assert all(a.start <= b.start for a, b in pairwise(turns))


def test_exclusive_turns_never_overlap(voices: Voices) -> None:
    assert all(a.end <= b.start for a, b in pairwise(voices.exclusive))


def test_speakers_are_numbered_as_they_appear_and_have_a_voice(voices: Voices) -> None:
    seen = list(dict.fromkeys(turn.speaker for turn in voices.turns))
    assert seen == list(range(len(voices.embeddings)))
    assert {turn.speaker for turn in voices.exclusive} <= set(seen)
    assert numpy.allclose(numpy.linalg.norm(voices.embeddings, axis=1), 1.0)


def test_evidence_is_the_same_bytes_every_time(diarizer: Diarizer) -> None:
    span = Span(0, CUTS[0], CUTS[1], CUTS[1] + TAIL_SECONDS)
    assert listened(diarizer, span) == evidence(diarizer)[0]


def test_evidence_stays_far_below_a_megabyte_per_five_minutes(diarizer: Diarizer) -> None:
    assert sum(map(len, evidence(diarizer))) < 1_000_000 * SECONDS / 300


def test_the_order_of_evidence_does_not_matter(diarizer: Diarizer, voices: Voices) -> None:
    assert diarizer.cluster(evidence(diarizer)[::-1], ANY) == voices


def test_silent_chunks_may_be_missing(diarizer: Diarizer) -> None:
    first, _, last = evidence(diarizer)
    heard = diarizer.cluster([first, last], ANY)
    assert any(turn.start > CUTS[2] for turn in heard.turns)
    assert any(turn.end < CUTS[1] for turn in heard.turns)


def test_silence_has_no_voices(diarizer: Diarizer) -> None:
    told: list[float] = []
    silence = numpy.zeros(12 * SAMPLE_RATE, numpy.float32)
    quiet = diarizer.listen(silence, Span(0, 0.0, 12.0, 12.0), [], told.append)
    assert told[-1] == 1.0
    assert diarizer.cluster([quiet], ANY) == Voices(turns=(), exclusive=(), embeddings=())
    assert diarizer.cluster([], ANY) == Voices(turns=(), exclusive=(), embeddings=())


def test_a_chunk_too_short_for_anything_is_no_trouble(diarizer: Diarizer, voices: Voices) -> None:
    sliver = diarizer.listen(
        numpy.zeros(160, numpy.float32), Span(3, SECONDS, SECONDS + 0.01, SECONDS + 0.01), [], lambda _: None
    )
    assert len(diarizer.cluster([*evidence(diarizer), sliver], ANY).embeddings) == len(voices.embeddings)


def test_turns_are_in_times_of_the_recording(diarizer: Diarizer) -> None:
    span = Span(0, 0.0, CUTS[1], CUTS[1])
    near = diarizer.cluster([listened(diarizer, span)], ANY)
    far = diarizer.cluster([listened(diarizer, span, offset=600.0)], ANY)
    assert numpy.allclose([t.start + 600.0 for t in near.turns], [t.start for t in far.turns], atol=0.1)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_known_number_of_speakers_is_found(diarizer: Diarizer, number: int) -> None:
    assert len(diarizer.cluster(evidence(diarizer), SpeakerHints(num_speakers=number)).embeddings) == number


def test_bounds_on_the_number_of_speakers_are_kept(diarizer: Diarizer) -> None:
    assert len(diarizer.cluster(evidence(diarizer), SpeakerHints(max_speakers=1)).embeddings) == 1
    assert len(diarizer.cluster(evidence(diarizer), SpeakerHints(min_speakers=4)).embeddings) >= 4


def test_progress_rises_to_one(diarizer: Diarizer) -> None:
    told: list[float] = []
    audio = meeting.samples()[: 12 * SAMPLE_RATE]
    diarizer.listen(audio, Span(0, 0.0, 12.0, 12.0), [c for c in meeting.clips() if c.end < 12], told.append)
    assert told == sorted(told)
    assert told[0] == 0.0
    assert told[-1] == 1.0


@pytest.mark.parametrize("broken", [b"", b"no npz", b"PK\x03\x04 cut off"])
def test_broken_evidence_is_refused_in_words(diarizer: Diarizer, broken: bytes) -> None:
    with pytest.raises(Permanent, match="run the diarization again"):
        diarizer.cluster([*evidence(diarizer), broken], ANY)


def test_evidence_of_another_model_is_refused(diarizer: Diarizer) -> None:
    from auricle.adapters.speech.evidence import pack

    with pytest.raises(Permanent, match="run the diarization again with one model"):
        diarizer.cluster([pack("another model", {})], ANY)
