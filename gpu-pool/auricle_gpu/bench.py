"""What the speech half costs and what cutting into chunks costs, measured: `auricle bench` prints these."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy

from auricle.ports.media import SAMPLE_RATE, TAIL_SECONDS, Clip
from auricle.ports.speech import Diarizer, Samples, Span, SpeakerHints, Voices

Labelled = tuple[float, float, str]
DiarizationError = Callable[[list[Labelled], list[Labelled]], float]
"""(truth, found) → DER as a share of the true speech; both as (start, end, speaker)."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A recording whose truth is known. `turns` as (start, end, speaker)."""

    name: str
    samples: Samples
    turns: tuple[Labelled, ...]

    @property
    def speakers(self) -> int:
        return len({speaker for _, _, speaker in self.turns})


class ChunkingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation, diarized whole and in chunks."""

    name: str
    speakers: int
    chunks: int
    whole_error: float
    chunked_error: float
    whole_speakers: int
    chunked_speakers: int


class ChunkingCost(msgspec.Struct, frozen=True, kw_only=True):
    """What cutting costs: mean DER over the conversations, each conversation counting the same."""

    rows: tuple[ChunkingRow, ...]

    @property
    def whole_error(self) -> float:
        return sum(row.whole_error for row in self.rows) / max(1, len(self.rows))

    @property
    def chunked_error(self) -> float:
        return sum(row.chunked_error for row in self.rows) / max(1, len(self.rows))

    @property
    def points(self) -> float:
        """Percentage points of DER that chunks cost; negative when they help."""
        return 100 * (self.chunked_error - self.whole_error)


class WhisperTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Plain faster-whisper on clips that somebody else found. Times in seconds of wall clock."""

    load_seconds: float
    seconds: float
    speech_seconds: float
    words: int


def read_conversations(folder: Path) -> Iterator[Conversation]:
    """The conversations of a folder, by name: `NAME.flac` beside `NAME.json` with its `turns`."""
    from faster_whisper.audio import decode_audio

    for truth in sorted(folder.glob("*.json")):
        turns = json.loads(truth.read_text())["turns"]
        samples = decode_audio(str(truth.with_suffix(".flac")), sampling_rate=SAMPLE_RATE)
        yield Conversation(
            name=truth.stem,
            samples=numpy.asarray(samples, dtype=numpy.float32),
            turns=tuple((float(turn["start"]), float(turn["end"]), str(turn["speaker"])) for turn in turns),
        )


def diarization_in_chunks(
    conversations: Iterable[Conversation], diarizer: Diarizer, error: DiarizationError, chunks: int = 3, alone: bool = False
) -> ChunkingCost:
    """Diarize each conversation whole and cut at silences into `chunks`.

    Speech is found over the whole recording, as the media reader does; with `alone` every chunk finds its own, as if it
    were a recording. Chunks' evidence is handed over in the wrong order, as machines would.
    """
    rows: list[ChunkingRow] = []
    for conversation in conversations:
        samples, seconds = conversation.samples, len(conversation.samples) / SAMPLE_RATE
        clips = find_speech(samples)
        whole = diarizer.cluster([_listened(diarizer, samples, Span(0, 0.0, seconds, seconds), clips)], SpeakerHints())
        spans = spans_of(clips, seconds, chunks)
        evidence = [_listened(diarizer, samples, span, None if alone else clips) for span in spans]
        cut = diarizer.cluster(evidence[::-1], SpeakerHints())
        truth = list(conversation.turns)
        rows.append(
            ChunkingRow(
                name=conversation.name,
                speakers=conversation.speakers,
                chunks=len(spans),
                whole_error=error(truth, labelled(whole)),
                chunked_error=error(truth, labelled(cut)),
                whole_speakers=len(whole.embeddings),
                chunked_speakers=len(cut.embeddings),
            )
        )
    return ChunkingCost(rows=tuple(rows))


def raw_whisper(
    model_dir: Path,
    samples: Samples,
    clips: Sequence[Clip],
    *,
    device: str = "cpu",
    compute_type: str = "int8",
    threads: int = 0,
    batch_size: int = 4,
    beam_size: int = 1,
) -> WhisperTiming:
    """faster-whisper as its own documentation runs it, on one machine without chunks, events or ports."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    before = time.perf_counter()
    pipeline = BatchedInferencePipeline(
        WhisperModel(str(model_dir), device=device, compute_type=compute_type, cpu_threads=threads)
    )
    loaded = time.perf_counter()
    segments, _ = pipeline.transcribe(
        samples,
        clip_timestamps=[{"start": clip.start, "end": clip.end} for clip in clips],
        vad_filter=False,
        word_timestamps=True,
        temperature=0.0,
        beam_size=beam_size,
        batch_size=batch_size,
    )
    words = sum(len(segment.words or ()) for segment in segments)
    return WhisperTiming(
        load_seconds=loaded - before,
        seconds=time.perf_counter() - loaded,
        speech_seconds=sum(clip.end - clip.start for clip in clips),
        words=words,
    )


def find_speech(samples: Samples) -> list[Clip]:
    """Stretches of speech by Silero, cut as the demo models want them."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(min_silence_duration_ms=160, speech_pad_ms=80, max_speech_duration_s=8)
    return [Clip(c["start"] / SAMPLE_RATE, c["end"] / SAMPLE_RATE) for c in get_speech_timestamps(samples, options)]


def spans_of(clips: Sequence[Clip], seconds: float, chunks: int) -> list[Span]:
    """`chunks` stretches of about equal length, cut in the middle of the pause nearest to each even cut."""
    pauses = [(a.end + b.start) / 2 for a, b in pairwise(clips)]
    wished = [seconds * n / chunks for n in range(1, chunks)]
    cuts = sorted({round(_nearest(pauses, wish), 2) for wish in wished}) if pauses else []
    edges = [0.0, *cuts, seconds]
    return [Span(n, a, b, min(b + TAIL_SECONDS, seconds)) for n, (a, b) in enumerate(pairwise(edges))]


def _nearest(times: Sequence[float], wish: float) -> float:
    return min(times, key=lambda time: abs(time - wish))


def labelled(voices: Voices) -> list[Labelled]:
    """What a scorer of diarizations reads."""
    return [(turn.start, turn.end, f"speaker {turn.speaker}") for turn in voices.turns]


def _listened(diarizer: Diarizer, samples: Samples, span: Span, clips: Sequence[Clip] | None) -> bytes:
    """One chunk's evidence, its speech among `clips` or, with None, found in nothing but the chunk."""
    start, end, tail = (round(time * SAMPLE_RATE) for time in (span.start, span.end, span.audio_end))
    if clips is None:
        clips = [Clip(clip.start + span.start, clip.end + span.start) for clip in find_speech(samples[start:end])]
    inside = [
        Clip(max(clip.start, span.start), min(clip.end, span.end))
        for clip in clips
        if clip.end > span.start and clip.start < span.end
    ]
    return diarizer.listen(samples[start:tail], span, inside, lambda _: None)
