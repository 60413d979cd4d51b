"""The stages that hear. They hold no secret: URLs in the event, a fact as the answer."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from auricle.contract.choices import Image, Scale
from auricle.contract.function import stage
from auricle.errors import NotFound, Permanent
from auricle.ports.blobs import SignedBlobs
from auricle.ports.bus import Progress
from auricle.ports.media import Clip
from auricle.ports.speech import Span, SpeakerHints, SpeechModels, TranscriptionOptions
from auricle.speech.audio import samples_of
from auricle.speech.events import ChunkReleased, SpeechExpected, VoicesReleased, WorkFailed, WorkHeard

Released = ChunkReleased | VoicesReleased
BEAT_SECONDS = 60.0
MOST_BEATS = 15
"""A worker that hangs is believed to live for no longer than a request may take."""


@stage(on=(ChunkReleased, SpeechExpected), where={"work": "transcribe"}, image=Image.SPEECH, scale=Scale.GPU)
def transcribe(
    event: ChunkReleased | SpeechExpected, blobs: SignedBlobs, models: SpeechModels, progress: Progress
) -> WorkHeard | WorkFailed | None:
    """Turn one chunk of prepared audio into timed words."""
    if isinstance(event, SpeechExpected):
        return None  # being delivered has woken this process; its probe has loaded the model

    def hear() -> bytes:
        transcriber = models.transcriber(event.model)
        audio = samples_of(_fetched(blobs, event.audio_url))
        options = TranscriptionOptions(language=event.language, hotwords=event.hotwords, initial_prompt=event.initial_prompt)
        return msgspec.json.encode(transcriber.transcribe(audio, event.start, _clips(event), options, progress))

    return _answered(event, blobs, progress, hear)


@stage(on=(ChunkReleased, SpeechExpected), where={"work": "diarize"}, image=Image.SPEECH, scale=Scale.GPU)
def diarize(
    event: ChunkReleased | SpeechExpected, blobs: SignedBlobs, models: SpeechModels, progress: Progress
) -> WorkHeard | WorkFailed | None:
    """Listen to the voices of one chunk."""
    if isinstance(event, SpeechExpected):
        return None

    def hear() -> bytes:
        diarizer = models.diarizer(event.model)
        audio = samples_of(_fetched(blobs, event.audio_url))
        span = Span(index=event.index, start=event.start, end=event.end, audio_end=event.audio_end)
        return diarizer.listen(audio, span, _clips(event), progress)

    return _answered(event, blobs, progress, hear)


@stage(on=VoicesReleased, where={"work": "cluster"}, image=Image.SPEECH, scale=Scale.GPU)
def cluster(event: VoicesReleased, blobs: SignedBlobs, models: SpeechModels, progress: Progress) -> WorkHeard | WorkFailed:
    """Make the voices of all chunks the speakers of the recording."""

    def hear() -> bytes:
        diarizer = models.diarizer(event.model)
        urls = msgspec.json.decode(_fetched(blobs, event.manifest_url), type=list[str])
        evidence = [_fetched(blobs, url) for url in urls]
        hints = SpeakerHints(num_speakers=event.num_speakers, min_speakers=event.min_speakers, max_speakers=event.max_speakers)
        return msgspec.json.encode(diarizer.cluster(evidence, hints))

    return _answered(event, blobs, progress, hear)


def _answered(event: Released, blobs: SignedBlobs, progress: Progress, hear: Callable[[], bytes]) -> WorkHeard:
    """The fact that the result is stored. A repeated delivery finds it there and does nothing again."""
    began = time.monotonic()
    try:
        result = blobs.fetch(event.result_get_url)
    except NotFound:
        with _alive(progress):
            result = hear()
        blobs.store(event.result_put_url, result)
    return WorkHeard(
        run_id=event.run_id,
        work=event.work,
        index=event.index,
        attempt=event.attempt,
        receipt=event.receipt,
        sha256=hashlib.sha256(result).hexdigest(),
        size=len(result),
        seconds=round(time.monotonic() - began, 3),
    )


@contextmanager
def _alive(progress: Progress) -> Iterator[None]:
    """Say at once that the work has begun, so that its run waits no longer, and now and then that it goes on."""
    over = threading.Event()

    def beat() -> None:
        for _ in range(MOST_BEATS):
            progress(0.0)
            if over.wait(BEAT_SECONDS):
                return

    threading.Thread(target=beat, name="signs of life", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _clips(event: ChunkReleased) -> tuple[Clip, ...]:
    return tuple(Clip(start, end) for start, end in event.clips)


def _fetched(blobs: SignedBlobs, url: str) -> bytes:
    try:
        return blobs.fetch(url)
    except NotFound as error:
        raise Permanent("What this piece needs is gone from the store; prepare the file again.") from error
