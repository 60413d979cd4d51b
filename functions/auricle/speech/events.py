"""What the conductor releases to the speech stages, and what they answer. No secret is in here but short-lived URLs.

Every release carries a `receipt` which the answer echoes: the conductor believes no answer without it.
"""

from __future__ import annotations

from typing import ClassVar

from auricle.contract.event import Fact
from auricle.files.model import FileId
from auricle.runs.model import ColdStart, RunId, StepName


class ChunkReleased(Fact, frozen=True, kw_only=True):
    """One chunk to hear: `work` is transcribe (words) or diarize (voices). Times in seconds of the recording."""

    TYPE: ClassVar[str] = "auricle.speech.chunk-released.v1"
    ATTRIBUTES: ClassVar[tuple[str, ...]] = ("work", "model")

    run_id: RunId
    file_id: FileId
    work: StepName
    index: int
    attempt: int
    model: str
    start: float
    end: float
    audio_end: float
    clips: tuple[tuple[float, float], ...]
    audio_url: str
    result_get_url: str
    result_put_url: str
    receipt: str
    language: str | None = None
    hotwords: str | None = None
    initial_prompt: str | None = None
    release: int = 1  # which release of this attempt: links of older ones expire


class SpeechExpected(Fact, frozen=True, kw_only=True):
    """An upload has begun that will need `model` for `work`: who hears this is awake and warm when its bytes are there.

    It passes the same filters as the releases and asks for no work.
    """

    TYPE: ClassVar[str] = "auricle.speech.expected.v1"
    ATTRIBUTES: ClassVar[tuple[str, ...]] = ("work", "model")

    work: StepName
    model: str


class VoicesReleased(Fact, frozen=True, kw_only=True):
    """All chunks were heard: make speakers of their voices. `manifest_url` is a JSON list of the evidence's URLs."""

    TYPE: ClassVar[str] = "auricle.speech.voices-released.v1"
    ATTRIBUTES: ClassVar[tuple[str, ...]] = ("work", "model")

    run_id: RunId
    file_id: FileId
    work: StepName = StepName.CLUSTER
    index: int = 0
    attempt: int
    model: str
    manifest_url: str
    result_get_url: str
    result_put_url: str
    receipt: str
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    release: int = 1


class WorkHeard(Fact, frozen=True, kw_only=True):
    """A speech stage is done; its result is stored. `seconds` is what the work took, for those who count."""

    TYPE: ClassVar[str] = "auricle.speech.work-heard.v1"
    CONCERNS: ClassVar[str] = "run"
    SECRETLESS: ClassVar[bool] = True

    run_id: RunId
    work: StepName
    index: int
    attempt: int
    receipt: str
    sha256: str
    size: int
    seconds: float = 0.0
    cold_start: ColdStart | None = None  # what the process that answers took to be there; the event door adds it


class WorkFailed(Fact, frozen=True, kw_only=True):
    """A speech stage can never do this piece of work."""

    TYPE: ClassVar[str] = "auricle.speech.work-failed.v1"
    CONCERNS: ClassVar[str] = "run"
    SECRETLESS: ClassVar[bool] = True
    FAILURE: ClassVar[bool] = True

    run_id: RunId
    work: StepName
    index: int
    attempt: int
    receipt: str
    error: str
    release: int = 1  # of the event that failed
    cold_start: ColdStart | None = None
