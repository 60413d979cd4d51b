"""What a run is, as its readers see it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID, uuid5

import msgspec

from auricle.errors import Invalid
from auricle.files.model import FileId, Options

RunId = NewType("RunId", UUID)


class StepName(StrEnum):
    """The stages of the pipeline, in the order in which people read them."""

    PREPARE = "prepare"
    TRANSCRIBE = "transcribe"
    DIARIZE = "diarize"
    CLUSTER = "cluster"
    ASSEMBLE = "assemble"
    EXPORT = "export"


class RunState(StrEnum):
    """A run's state."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class StepState(StrEnum):
    """A step's state. `skipped`: there was nothing to do (no speech, or an earlier step made it pointless)."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class Awaited(StrEnum):
    """What a step waits for whose pieces are out while nobody has begun any for some time; or a run that may not begin yet."""

    GPU = "gpu"  # on deployments whose speech functions run on GPUs
    SPEECH_WORKER = "speech worker"
    TURN = "turn"  # as many other runs are under way as the deployment allows


LONGEST = 7 * 86400.0
"""Seconds: longer than any delivery is kept."""


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """Why a delivery waited although nobody was busy: no process of the function was awake, and one was started for it.

    Seconds, one phase after the other, beginning `at` the event's time. None: not to be known here, or nothing of the kind.
    """

    function: str
    at: datetime
    index: int = 0
    """Which of the step's pieces."""
    queued: float = 0.0
    """Until a node was given the pod: broker, activator, autoscaler, scheduler. Without pods: until the process started."""
    scheduled: float | None = None
    """Until the node made the pod's sandbox: volumes, secrets."""
    image: float | None = None
    """Until the container was created: network, pulling the image."""
    process: float = 0.0
    """Until requests are answered: container, interpreter, imports."""
    model: float | None = None
    """Until the speech model was in memory."""
    first_byte: float = 0.0
    """Until the answer: the work itself."""

    @property
    def believable(self) -> bool:
        """Whether every phase is a length of time: speech functions hold no key, and say this of themselves."""
        seconds = (self.queued, self.scheduled, self.image, self.process, self.model, self.first_byte)
        return all(0.0 <= value <= LONGEST for value in seconds if value is not None) and len(self.function) <= 100


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One stage in a run. `progress` 0..1; `attempts` counts tries beyond the pieces' first ones too."""

    name: StepName
    state: StepState
    progress: float
    attempts: int
    error: str | None = None
    waiting_for: Awaited | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cold_starts: tuple[ColdStart, ...] = ()


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of the pipeline on one file. `waiting_for` says that nobody works on it, and until what is free.

    `waits_for_others`: while it waits for its turn, how many runs are under way or came before it; whoever has fewer under
    way goes first. `cold_starts` are the conductor's own; the steps have theirs.
    """

    id: RunId
    file_id: FileId
    state: RunState
    warnings: tuple[str, ...]
    steps: tuple[Step, ...]
    created_at: datetime
    error: str | None = None
    waiting_for: Awaited | None = None
    waits_for_others: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cold_starts: tuple[ColdStart, ...] = ()


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How this deployment works through a run; out of its settings."""

    window: int = 8
    task_seconds: int = 900
    task_attempts: int = 3
    transcribe_model: str = "whisper-demo"
    diarize_model: str = "voices-demo"
    chunk_seconds: float = 300.0
    awaited: Awaited = Awaited.SPEECH_WORKER
    """What its speech functions wait for when all are busy."""
    prewarm: bool = True
    offered: tuple[str, ...] = ()
    """Models that people may ask for; none: any."""
    suspended: bool = False
    """Nothing new goes out."""
    max_runs: int = 0
    """Runs under way at once; 0: any."""
    minutes_per_month: int | None = None
    """Minutes of recordings whose transcription may begin in a calendar month; None: any."""


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """Where the results are that a transcript is made of. `words` by chunk index; `voices` None: nobody was told apart."""

    words: tuple[tuple[int, str], ...]
    voices: str | None
    gaps: tuple[tuple[float, float, str], ...]
    silent: bool
    """There was no speech to hear."""


CHUNK_SECONDS = (10.0, 1800.0)
MOST_SPEAKERS = 50
MOST_WORDS = 500


def check(options: Options) -> None:
    """`Invalid`, with a sentence, when the options contradict themselves."""
    counts = {"num": options.num_speakers, "min": options.min_speakers, "max": options.max_speakers}
    for name, count in counts.items():
        if count is not None and not 1 <= count <= MOST_SPEAKERS:
            raise Invalid(f"{name}_speakers is between 1 and {MOST_SPEAKERS}.", field=f"options.{name}_speakers")
    if options.num_speakers is not None and (options.min_speakers or options.max_speakers):
        raise Invalid("Say either num_speakers, or min_speakers and max_speakers.", field="options.num_speakers")
    if options.min_speakers and options.max_speakers and options.min_speakers > options.max_speakers:
        raise Invalid("min_speakers is larger than max_speakers.", field="options.min_speakers")
    low, high = CHUNK_SECONDS
    if options.chunk_seconds is not None and not low <= options.chunk_seconds <= high:
        raise Invalid(f"chunk_seconds is between {low:.0f} and {high:.0f}.", field="options.chunk_seconds")
    if options.language is not None and not re.fullmatch(r"[a-z]{2,3}", options.language):
        raise Invalid(
            "language is a two- or three-letter code such as en. Leave it out to detect it.", field="options.language"
        )
    if options.model is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", options.model):
        raise Invalid("model is a model's name. `auricle models list` shows them.", field="options.model")
    if len(options.vocabulary) > MOST_WORDS or any(not w.strip() or len(w) > 100 for w in options.vocabulary):
        raise Invalid(f"vocabulary has at most {MOST_WORDS} words of 1 to 100 characters.", field="options.vocabulary")
    if options.initial_prompt is not None and len(options.initial_prompt) > 2000:
        raise Invalid("initial_prompt has at most 2000 characters.", field="options.initial_prompt")
    if any("\0" in text for text in (*options.vocabulary, options.initial_prompt or "")):
        raise Invalid("Options hold a character that cannot be kept (NUL). Remove it.", field="options")
    if options.audio_track is not None and not 0 <= options.audio_track < 100:
        raise Invalid("audio_track counts the audio tracks from 0.", field="options.audio_track")


def check_model(options: Options, pace: Pace) -> None:
    """`Invalid` when the model is none that this deployment serves: nobody would hear the work."""
    if options.model is not None and pace.offered and options.model not in (*pace.offered, pace.transcribe_model):
        raise Invalid(f"This deployment serves the models {', '.join(pace.offered)}.", field="options.model")


def plan_of(asked: Sequence[StepName], options: Options) -> tuple[StepName, ...]:
    """The steps that follow from what was asked (nothing: everything), in order."""
    wanted = set(asked) or {StepName.PREPARE}
    if StepName.PREPARE in wanted:
        wanted |= set(StepName)
    if StepName.DIARIZE in wanted:
        wanted.add(StepName.CLUSTER)
    if wanted & {StepName.TRANSCRIBE, StepName.CLUSTER}:
        wanted.add(StepName.ASSEMBLE)
    if StepName.ASSEMBLE in wanted:
        wanted.add(StepName.EXPORT)
    if not options.diarize:
        if (
            asked
            and not wanted - {StepName.DIARIZE, StepName.CLUSTER, StepName.ASSEMBLE, StepName.EXPORT}
            and (StepName.DIARIZE in asked or StepName.CLUSTER in asked)
        ):
            raise Invalid("You ask to tell speakers apart and not to (options.diarize is false).", field="steps")
        wanted -= {StepName.DIARIZE, StepName.CLUSTER}
    return tuple(step for step in StepName if step in wanted)


def first_run_id(file_id: FileId) -> RunId:
    """The id of the run that a file's arrival begins: the same however often that is told."""
    return RunId(uuid5(file_id, "first run"))


def work_prefix(file_id: FileId) -> str:
    """Where all of a file's intermediate results are."""
    return f"work/{file_id}/"


def result_key(file_id: FileId, run_id: UUID, step: StepName, index: int) -> str:
    """Where a speech stage's result is stored."""
    if step is StepName.CLUSTER:
        return f"{work_prefix(file_id)}{run_id}/voices.json"
    ending = "npz" if step is StepName.DIARIZE else "json"
    return f"{work_prefix(file_id)}{run_id}/{step}/{index:05}.{ending}"


def manifest_key(file_id: FileId, run_id: UUID, attempt: int, release: int) -> str:
    """Where the list of evidence is that `cluster` reads."""
    return f"{work_prefix(file_id)}{run_id}/manifest-{attempt}-{release}.json"
