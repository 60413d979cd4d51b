"""From speech probabilities to stretches of speech, as they come.

Same decisions as `faster_whisper.vad.get_speech_timestamps` takes over a whole file (a test compares them), made while
listening: a stretch is handed out as soon as nothing later can change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auricle.adapters.media.silero import WINDOW
from auricle.ports.media import SAMPLE_RATE

Stretch = tuple[int, int]
"""First sample of the stretch and first sample after it."""


@dataclass(frozen=True, slots=True)
class SpeechRules:
    """What counts as one stretch of speech; lengths in samples. The demo models were trained for exactly these."""

    begin: float = 0.5  # probability from which on it is speech
    end: float = 0.35  # probability below which it may be over
    silence: int = SAMPLE_RATE * 160 // 1000  # this much of it ends a stretch
    pad: int = SAMPLE_RATE * 80 // 1000  # kept on both sides of a stretch
    longest: int = SAMPLE_RATE * 8  # a stretch with its padding; longer ones are parted at a breath
    breath: int = SAMPLE_RATE * 98 // 1000  # the least silence that is one

    @property
    def limit(self) -> int:
        """The longest a stretch may grow before padding, checked window by window."""
        return self.longest - 2 * self.pad - WINDOW


class SpeechFinder:
    """Follows one recording's probabilities and says where speech is."""

    def __init__(self, rules: SpeechRules | None = None) -> None:
        self._rules = rules or SpeechRules()
        self._now = 0
        self._start: int | None = None  # of the stretch that is being spoken
        self._lull: int | None = None  # since when it has been quiet within it
        self._breath: int | None = None  # where the last real breath in it began …
        self._resumed: int | None = None  # … and where speech came back after it
        self._padded_start = 0
        self._waiting: Stretch | None = None  # over, but how much padding fits after it depends on what follows
        self._found: list[Stretch] = []

    @property
    def settled(self) -> int:
        """The sample up to which the answer is final."""
        if self._waiting:
            return self._waiting[0]
        return self._padded_start if self._start is not None else max(0, self._now - self._rules.pad)

    def push(self, probabilities: Iterable[float]) -> list[Stretch]:
        """The stretches that these next windows made final, in order, not overlapping."""
        for probability in probabilities:
            self._step(probability)
            self._now += WINDOW
            if self._waiting and self._start is None and self._now - self._waiting[1] >= 2 * self._rules.pad:
                self._release(self._waiting[1] + self._rules.pad)
        return self._take()

    def finish(self, length: int) -> list[Stretch]:
        """The rest, in a recording of `length` samples."""
        if self._start is not None and self._start < length:
            self._close(length)
        if self._waiting:
            self._release(min(length, self._waiting[1] + self._rules.pad))
        return self._take()

    def _step(self, probability: float) -> None:
        loud = probability >= self._rules.begin
        if self._start is None:
            if loud:
                self._open(self._now)
            return
        if loud:
            if self._lull is not None and self._breath is not None and self._resumed is None:
                self._resumed = self._now
            self._lull = None
        if self._now - self._start > self._rules.limit:
            self._part()
        if self._start is not None and probability < self._rules.end:
            self._quiet()

    def _quiet(self) -> None:
        if self._lull is None:
            self._lull = self._now
        lasted = self._now - self._lull
        if lasted > self._rules.breath:
            self._breath, self._resumed = self._lull, None
        if lasted >= self._rules.silence:
            self._close(self._lull)

    def _part(self) -> None:
        """Part a stretch that grew too long: at its last breath, or right here when it has none."""
        breath, resumed = self._breath, self._resumed
        self._close(self._now if breath is None else breath)
        if resumed is not None:
            self._open(resumed)

    def _open(self, start: int) -> None:
        pad = self._rules.pad
        self._padded_start = max(0, start - pad)
        if self._waiting:
            silence = start - self._waiting[1]
            if silence < 2 * pad:  # they share what lies between them
                self._padded_start = start - silence // 2
                self._release(self._waiting[1] + silence // 2)
            else:
                self._release(self._waiting[1] + pad)
        self._start = start

    def _close(self, end: int) -> None:
        self._waiting = (self._padded_start, end)
        self._start = self._lull = self._breath = self._resumed = None

    def _release(self, end: int) -> None:
        if self._waiting:
            self._found.append((self._waiting[0], end))
        self._waiting = None

    def _take(self) -> list[Stretch]:
        found, self._found = self._found, []
        return found
