"""Synthetic meetings with exact truth, for scoring transcribers and diarizers."""

from __future__ import annotations

import ctypes
import multiprocessing
import re
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

import msgspec
import numpy
from numpy.typing import NDArray

from builders.conversations.dialogue import dialogue
from builders.conversations.espeak import Utterance, espeak
from builders.conversations.grammar import MEN, WOMEN
from builders.conversations.voices import Pool, Voice, people

SAMPLE_RATE = 16_000
WORD = re.compile(r"[A-Za-z']+")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What conversation to make. The same wish and espeak-ng give the same samples. `noise_db` below the mean level."""

    seed: int
    seconds: float = 60.0
    speakers: int = 3
    pool: Pool = Pool.HEARD
    overlap: float = 0.0
    noise_db: float = 40.0


class SpokenTurn(msgspec.Struct, frozen=True):
    """One sentence. Times in seconds."""

    start: float
    end: float
    speaker: str
    text: str


class SpokenWord(msgspec.Struct, frozen=True):
    """One word, without punctuation."""

    word: str
    start: float
    end: float
    speaker: str


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What was really said: the JSON beside a conversation's audio, of the same shape as the demo's `meeting.json`."""

    seconds: float
    seed: int
    turns: tuple[SpokenTurn, ...]
    words: tuple[SpokenWord, ...]


class Conversation(NamedTuple):
    """Audio (float32, mono, 16 kHz) and truth."""

    samples: NDArray[numpy.float32]
    truth: Truth


class _Sentence(NamedTuple):
    samples: NDArray[numpy.float32]
    words: tuple[tuple[str, float, float], ...]


def conversations(wishes: Iterable[Wish]) -> list[Conversation]:
    """One conversation per wish, each spoken in a process of its own because espeak-ng remembers what it said before."""
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        return pool.map(_conversation, list(wishes), chunksize=1)


def _conversation(wish: Wish) -> Conversation:
    draw = Random(f"{wish.pool}-{wish.speakers}-{wish.seed}")
    voices = people(wish.pool, wish.speakers, draw)
    gains = [draw.uniform(0.55, 0.95) for _ in voices]
    samples = numpy.zeros(int(wish.seconds * SAMPLE_RATE), numpy.float32)
    turns: list[SpokenTurn] = []
    words: list[SpokenWord] = []
    clock, before = draw.uniform(0.4, 1.0), -1
    for number, line in enumerate(dialogue(_names(voices, draw), draw)):
        sentence = _say(line.text, voices[line.speaker], wish.seed * 1000 + number)
        if before >= 0:
            clock += _pause(line.speaker != before, wish.overlap, draw)
        length = len(sentence.samples) / SAMPLE_RATE
        if clock + length > wish.seconds - 0.3:
            break
        place = int(clock * SAMPLE_RATE)
        samples[place : place + len(sentence.samples)] += sentence.samples * gains[line.speaker]
        who = f"S{line.speaker + 1}"
        turns.append(SpokenTurn(round(clock, 3), round(clock + length - 0.02, 3), who, line.text))
        words += [SpokenWord(w, round(clock + a, 3), round(clock + b, 3), who) for w, a, b in sentence.words]
        clock, before = clock + length, line.speaker
    truth = Truth(seconds=wish.seconds, seed=wish.seed, turns=tuple(turns), words=tuple(sorted(words, key=lambda w: w.start)))
    return Conversation(_with_noise(samples, wish), truth)


def _names(voices: list[Voice], draw: Random) -> list[str]:
    women, men = iter(draw.sample(WOMEN, len(WOMEN))), iter(draw.sample(MEN, len(MEN)))
    return [next(women) if voice.high else next(men) for voice in voices]


def _pause(changes: bool, overlap: float, draw: Random) -> float:
    """Seconds before the next sentence; negative when it begins before the last one's end."""
    if not changes:
        return draw.uniform(0.3, 0.7)
    return -draw.uniform(0.2, 0.8) if draw.random() < overlap else draw.uniform(0.3, 1.2)


def _with_noise(samples: NDArray[numpy.float32], wish: Wish) -> NDArray[numpy.float32]:
    level = float(numpy.sqrt((samples**2).mean() + 1e-9))
    noise = numpy.random.default_rng([wish.seed, wish.speakers]).standard_normal(len(samples))
    noisy = samples + noise * level * 10 ** (-wish.noise_db / 20)
    return (noisy / numpy.abs(noisy).max() * 0.5).astype(numpy.float32)


def _say(text: str, voice: Voice, seed: int) -> _Sentence:
    """One sentence at 16 kHz without outer silence, and when its words begin and end."""
    from scipy.signal import resample_poly

    ctypes.CDLL(None).srand(seed & 0x7FFFFFFF)  # the voices' breath is made with rand()
    spoken = espeak().speak(text, voice)
    voiced = [sound for sound in spoken.sounds if not sound.name.startswith("_") and sound.name and sound.end > sound.start]
    start, end = voiced[0].start, voiced[-1].end
    samples = resample_poly(spoken.samples.astype(numpy.float32) / 32768, SAMPLE_RATE // 50, spoken.rate // 50)
    samples = samples[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE) + 320]
    words = tuple((w, max(a - start, 0.0), min(b, end) - start) for w, a, b in _words(text, spoken, start, end))
    return _Sentence((samples / numpy.abs(samples).max()).astype(numpy.float32), words)


def _words(text: str, spoken: Utterance, start: float, end: float) -> Iterator[tuple[str, float, float]]:
    """Words with their times. espeak-ng has one event for pairs such as `of the`: their time is shared out by letters."""
    groups: list[tuple[float, list[str]]] = []
    for match in WORD.finditer(text):
        if match.start() in spoken.words or not groups:
            groups.append((spoken.words.get(match.start(), start), [match.group()]))
        else:
            groups[-1][1].append(match.group())
    pauses = [sound for sound in spoken.sounds if sound.name.startswith("_") and sound.end > sound.start]
    for number, (begins, group) in enumerate(groups):
        ends = groups[number + 1][0] if number + 1 < len(groups) else end
        for pause in pauses:
            if begins < pause.start < ends:
                ends = pause.start
            if pause.start <= begins < pause.end < ends:
                begins = pause.end
        span = max(ends, begins + 0.03) - begins
        letters = sum(map(len, group))
        for word in group:
            length = span * len(word) / letters
            yield word, begins, begins + length
            begins += length
