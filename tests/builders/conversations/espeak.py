"""espeak-ng through ctypes: speech with the exact time of every word and sound.

The library is the system's `libespeak-ng.so.1` (Debian: libespeak-ng1), else the one of the package espeakng-loader.
It keeps state between calls: for the same samples again, speak in a fresh process.
"""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from builders.conversations.voices import Voice

AUDIO_OUTPUT_SYNCHRONOUS = 2
PHONEME_EVENTS = 1
UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4
END_OF_LIST, WORD, PHONEME = 0, 1, 7


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Sound(NamedTuple):
    """One phoneme; names that begin with `_` are pauses. Times in seconds of the utterance."""

    name: str
    start: float
    end: float


class Utterance(NamedTuple):
    """What espeak-ng spoke: `words` maps the place of a word in the text to the second at which it begins."""

    samples: NDArray[numpy.int16]
    rate: int
    words: dict[int, float]
    sounds: tuple[Sound, ...]


class Espeak:
    """The one synthesizer of this process."""

    def __init__(self, library: Any, data: str | None) -> None:
        self._library = library
        self._samples: list[NDArray[numpy.int16]] = []
        self._events: list[tuple[int, int, int, str]] = []
        self._callback = _Callback(self._receive)  # kept alive: the library calls it
        self.rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode() if data else None, PHONEME_EVENTS)
        if self.rate <= 0:
            raise OSError("espeak-ng does not find its voices.")
        library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._samples.append(numpy.ctypeslib.as_array(samples, shape=(count,)).copy())
        place = 0
        while events[place].type != END_OF_LIST:
            event = events[place]
            name = event.id.string.decode("utf8", "ignore") if event.type == PHONEME else ""
            self._events.append((event.type, event.text_position, event.sample, name))
            place += 1
        return 0

    def speak(self, text: str, voice: Voice) -> Utterance:
        """`text` in `voice`; raises `ValueError` when espeak-ng has no such voice."""
        self._samples.clear()
        self._events.clear()
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice.name}.")
        for parameter, value in ((RATE, voice.rate), (PITCH, voice.pitch), (RANGE, voice.range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = numpy.concatenate(self._samples)
        heard = [(name, sample / self.rate) for kind, _, sample, name in self._events if kind == PHONEME]
        ends = [start for _, start in heard[1:]] + [len(samples) / self.rate]
        return Utterance(
            samples,
            self.rate,
            {position - 1: sample / self.rate for kind, position, sample, _ in self._events if kind == WORD},
            tuple(Sound(name, start, end) for (name, start), end in zip(heard, ends, strict=True)),
        )


@cache  # once: the package's library, when it is loaded, answers to the system's name, and has no voices by itself
def _library() -> tuple[Any, str | None]:
    """The shared library and, when it is not the system's, the folder of its voices."""
    try:
        return ctypes.CDLL("libespeak-ng.so.1"), None
    except OSError:
        loader = importlib.import_module("espeakng_loader")
        return ctypes.CDLL(loader.get_library_path()), str(loader.get_data_path())


def installed() -> bool:
    """Whether this machine can speak."""
    try:
        _library()
    except (OSError, ImportError):
        return False
    return True


@cache
def espeak() -> Espeak:
    """The process's synthesizer."""
    return Espeak(*_library())
