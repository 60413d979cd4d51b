"""Speech models. Audio is float32 mono at 16 kHz, -1..1, shape (samples,); all times are seconds of the recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from auricle.ports.media import Clip

if TYPE_CHECKING:
    # The operator, whose image has no numpy, renders the functions that name these ports.
    import numpy
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[numpy.float32]"


class Word(msgspec.Struct, frozen=True):
    """One word as it was spoken, without surrounding blanks; `probability` 0..1."""

    word: str
    start: float
    end: float
    probability: float


class Passage(msgspec.Struct, frozen=True):
    """What was heard in one go, with its words in time order."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one chunk. `language` is a BCP-47 primary tag."""

    language: str
    language_probability: float
    passages: tuple[Passage, ...]


class TranscriptionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the uploader wished. `language` None means: detect."""

    language: str | None = None
    hotwords: str | None = None  # handed to the model as they are
    initial_prompt: str | None = None


class Transcriber(Protocol):
    """Turns speech into timed words."""

    def transcribe(
        self,
        audio: Samples,
        offset: float,
        clips: Sequence[Clip],
        options: TranscriptionOptions,
        progress: Callable[[float], None],
    ) -> Transcription:
        """Hear the `clips` (recording time) of `audio`, which begins at `offset` seconds of the recording."""
        ...


class Span(msgspec.Struct, frozen=True):
    """The chunk's own share of the recording, `start` … `end`; audio may go on to `audio_end` (see `TAIL_SECONDS`)."""

    index: int
    start: float
    end: float
    audio_end: float


class SpeakerHints(msgspec.Struct, frozen=True, kw_only=True):
    """How many people speak, if somebody knows."""

    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None


class Turn(msgspec.Struct, frozen=True):
    """One speaker's stretch of voice. `speaker` counts from 0 in order of first appearance."""

    start: float
    end: float
    speaker: int


class Voices(msgspec.Struct, frozen=True, kw_only=True):
    """Who spoke when.

    `turns` may overlap each other; `exclusive` never do (the loudest guess holds an overlap) and is what words are
    matched with. `embeddings[k]` is speaker k's voice, unit length.
    """

    turns: tuple[Turn, ...]
    exclusive: tuple[Turn, ...]
    embeddings: tuple[tuple[float, ...], ...]


class Diarizer(Protocol):
    """Tells voices apart, in two halves so that long recordings can be heard by many machines at once."""

    def listen(self, audio: Samples, span: Span, clips: Sequence[Clip], progress: Callable[[float], None]) -> bytes:
        """What one chunk tells of its voices, as opaque bytes of this adapter (an npz; about 1 MB per five minutes at most)."""
        ...

    def cluster(self, evidence: Sequence[bytes], hints: SpeakerHints) -> Voices:
        """All chunks' evidence (any order; silent chunks may be missing) into speakers of the whole recording."""
        ...


class SpeechModels(Protocol):
    """The models of this deployment, by the names of `gpu-pool/models.toml`. `Permanent` when there is none of that name."""

    def transcriber(self, model: str) -> Transcriber:
        """The warm model that hears words."""
        ...

    def diarizer(self, model: str) -> Diarizer:
        """The warm model that tells voices apart."""
        ...
