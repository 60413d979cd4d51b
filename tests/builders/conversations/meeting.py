"""The shipped demo meeting with its truth, and new conversations cut from its sentences (no synthesizer needed)."""

from __future__ import annotations

import json
from functools import cache
from random import Random
from typing import Any

import numpy

from auricle.ports.media import SAMPLE_RATE, Clip
from auricle.ports.speech import Samples
from auricle_gpu.bench import Conversation, find_speech
from auricle_gpu.models import DEMO


@cache
def truth() -> dict[str, Any]:
    """`meeting.json`: words, turns, speakers."""
    found: dict[str, Any] = json.loads((DEMO / "meeting.json").read_text())
    return found


@cache
def samples() -> Samples:
    """Two minutes, float32 mono at 16 kHz."""
    from faster_whisper.audio import decode_audio

    return numpy.asarray(decode_audio(str(DEMO / "meeting.flac"), sampling_rate=SAMPLE_RATE), dtype=numpy.float32)


@cache
def clips() -> tuple[Clip, ...]:
    """Where Silero hears speech in it."""
    return tuple(find_speech(samples()))


def rearranged(seed: int, speakers: int, sentences: int = 14) -> Conversation:
    """Another conversation: sentences of the first `speakers` people in another order, with other pauses."""
    draw = Random(seed)
    who = [speaker["speaker"] for speaker in truth()["speakers"]][:speakers]
    spoken = [turn for turn in truth()["turns"] if turn["speaker"] in who]
    hiss = numpy.random.default_rng(seed).standard_normal
    parts: list[Samples] = []
    turns: list[tuple[float, float, str]] = []
    clock = 0.0
    for turn in draw.sample(spoken, min(sentences, len(spoken))):
        pause = (hiss(int(draw.uniform(0.4, 1.2) * SAMPLE_RATE)) * 1e-4).astype(numpy.float32)
        voice = samples()[int(turn["start"] * SAMPLE_RATE) : int(turn["end"] * SAMPLE_RATE)]
        start = clock + len(pause) / SAMPLE_RATE
        clock = start + len(voice) / SAMPLE_RATE
        turns.append((start, clock, turn["speaker"]))
        parts += [pause, voice]
    parts.append((hiss(SAMPLE_RATE // 2) * 1e-4).astype(numpy.float32))
    return Conversation(name=f"rearranged-{seed}", samples=numpy.concatenate(parts), turns=tuple(turns))
