"""What a transcript is: values only, so that every function can read one.

Times are seconds of the recording, rounded to milliseconds.
"""

from __future__ import annotations

from uuid import UUID, uuid5

import msgspec

NAMESPACE = UUID("6f1f2f5e-55c1-5b0e-9d3c-0f6a1c7f9a01")
"""Of segment ids: they follow from version and position, so the same speech gives the same bytes in any file."""


class Word(msgspec.Struct, frozen=True):
    """One spoken word, with its punctuation; `probability` 0..1."""

    word: str
    start: float
    end: float
    probability: float


class Passage(msgspec.Struct, frozen=True):
    """What a model heard in one go."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]


class Turn(msgspec.Struct, frozen=True):
    """One speaker's stretch of voice; `speaker` counts from 0."""

    start: float
    end: float
    speaker: int


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch that could not be transcribed, and why."""

    start: float
    end: float
    reason: str


class Segment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of transcript by one speaker (None: not told apart). `overlap`: somebody else spoke too."""

    id: UUID
    start: float
    end: float
    speaker: str | None
    text: str
    words: tuple[Word, ...]
    overlap: bool = False


class Speaker(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who speaks: the label is the transcript's, the name is people's. `seconds` of voice."""

    label: str
    seconds: float
    name: str | None = None

    @property
    def display(self) -> str:
        """What people read."""
        return " ".join((self.name or "").split()) or self.label


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """One version of what was said by whom."""

    version: int
    language: str
    duration: float
    speakers: tuple[Speaker, ...]
    segments: tuple[Segment, ...]
    gaps: tuple[Gap, ...] = ()
    warnings: tuple[str, ...] = ()

    def name_of(self, label: str | None) -> str | None:
        """What people read for a speaker's label."""
        if label is None:
            return None
        return next((s.display for s in self.speakers if s.label == label), label)


def segment_id(version: int, position: int) -> UUID:
    """The id of the segment at `position` (from 0) of `version`."""
    return uuid5(NAMESPACE, f"{version}/{position}")


def speaker_label(number: int) -> str:
    """`SPEAKER_01` for the first speaker (0)."""
    return f"SPEAKER_{number + 1:02d}"


def milliseconds(seconds: float) -> float:
    """Rounded to milliseconds, never negative zero."""
    return round(seconds, 3) + 0.0
