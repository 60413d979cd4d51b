"""The demo models on the shipped meeting: what a newcomer sees is good."""

from __future__ import annotations

import jiwer
import pytest
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate

from auricle.ports.media import SAMPLE_RATE
from auricle.ports.speech import Span, SpeakerHints, Transcription, TranscriptionOptions, Voices
from auricle_gpu.bench import labelled
from auricle_gpu.budget import Device
from auricle_gpu.pool import Pool, SpeechSettings
from builders.conversations import meeting

POOL = Pool(SpeechSettings(device=Device.CPU))
SECONDS = len(meeting.samples()) / SAMPLE_RATE


@pytest.fixture(scope="module")
def transcription() -> Transcription:
    transcriber = POOL.transcriber("whisper-demo")
    return transcriber.transcribe(meeting.samples(), 0.0, meeting.clips(), TranscriptionOptions(), lambda _: None)


@pytest.fixture(scope="module")
def voices() -> Voices:
    diarizer = POOL.diarizer("voices-demo")
    span = Span(0, 0.0, SECONDS, SECONDS)
    return diarizer.cluster([diarizer.listen(meeting.samples(), span, meeting.clips(), lambda _: None)], SpeakerHints())


def der(found: list[tuple[float, float, str]], collar: float) -> float:
    """DER with `collar` seconds on each side (pyannote.metrics counts the full width)."""

    def annotation(turns: list[tuple[float, float, str]]) -> Annotation:
        marked = Annotation()
        for number, (start, end, who) in enumerate(turns):
            marked[Segment(start, end), number] = who
        return marked

    truth = [(turn["start"], turn["end"], turn["speaker"]) for turn in meeting.truth()["turns"]]
    return float(DiarizationErrorRate(collar=2 * collar)(annotation(truth), annotation(found)))


def test_fewer_than_eight_words_in_a_hundred_are_wrong(transcription: Transcription) -> None:
    truth = " ".join(turn["text"] for turn in meeting.truth()["turns"])
    assert jiwer.wer(truth, " ".join(passage.text for passage in transcription.passages)) < 0.08


def test_words_begin_when_they_are_spoken(transcription: Transcription) -> None:
    spoken = meeting.truth()["words"]
    heard = [word for passage in transcription.passages for word in passage.words]
    aligned = jiwer.process_words(
        " ".join(word["word"].lower() for word in spoken), " ".join(word.word.lower().strip(".,?") for word in heard)
    ).alignments[0]
    errors = sorted(
        abs(spoken[part.ref_start_idx + n]["start"] - heard[part.hyp_start_idx + n].start)
        for part in aligned
        if part.type == "equal"
        for n in range(part.ref_end_idx - part.ref_start_idx)
    )
    assert errors[len(errors) // 2] < 0.12


def test_three_people_are_told_apart(voices: Voices) -> None:
    assert len(voices.embeddings) == 3
    assert der(labelled(voices), collar=0.25) < 0.05


def test_turns_are_trimmed_to_the_voices(voices: Voices) -> None:
    assert der(labelled(voices), collar=0.0) < 0.09
