"""The stages that write: joining words and speakers into a version, rendering its documents."""

from __future__ import annotations

import msgspec

from auricle.contract.choices import Scale
from auricle.contract.function import stage
from auricle.contract.store import Units
from auricle.errors import Permanent, Retryable
from auricle.files.store import ChunkStore, FileStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus
from auricle.runs.actions import outputs
from auricle.runs.events import StepFinished, StepReleased
from auricle.runs.store import RunStore
from auricle.transcripts.events import TranscriptAssembled
from auricle.transcripts.exports import FORMATS, ExportContext
from auricle.transcripts.joining import join
from auricle.transcripts.model import Gap, Passage, Transcript, Turn
from auricle.transcripts.store import TranscriptStore


class Words(msgspec.Struct, frozen=True):
    """What `transcribe` stored of one chunk."""

    language: str
    language_probability: float
    passages: tuple[Passage, ...]


class Speakers(msgspec.Struct, frozen=True):
    """What `cluster` stored."""

    turns: tuple[Turn, ...]
    exclusive: tuple[Turn, ...]
    embeddings: tuple[tuple[float, ...], ...]


class Assembly(msgspec.Struct, frozen=True, kw_only=True):
    """A joined transcript that is not written yet."""

    transcript: Transcript
    embeddings: tuple[tuple[float, ...], ...]


def record_assembly(
    event: StepReleased, assembly: Assembly, transcripts: TranscriptStore, files: FileStore, runs: RunStore, bus: Bus
) -> None:
    """Write the version that was joined; a run that was cancelled meanwhile writes nothing."""
    transcript = assembly.transcript
    files.lock(event.file_id)
    if runs.is_over(event.run_id):
        return
    if transcripts.newest(event.file_id) + 1 != transcript.version:
        raise Retryable("Another version came in between; joining once more.", delay=1)
    transcripts.add(event.file_id, event.run_id, transcript, assembly.embeddings)
    files.transcribed(event.file_id, transcript.version, transcript.language)
    bus.publish(TranscriptAssembled(file_id=event.file_id, version=transcript.version))
    _finished(event, bus)


@stage(on=StepReleased, where={"work": "assemble"}, scale=Scale.BURST, then=record_assembly)
def assemble(event: StepReleased, units: Units, blobs: BlobStore) -> Assembly:
    """Join words and speakers of all chunks into a new version of the transcript."""
    with units.unit() as db:
        found = outputs(RunStore(db), ChunkStore(db), event.run_id)
        file = FileStore(db).find(event.file_id)
        version = TranscriptStore(db).newest(event.file_id) + 1
    if file is None:
        raise Permanent("The file was purged while its recording was worked on.")
    words = [msgspec.json.decode(_read(blobs, key), type=Words) for _, key in sorted(found.words)]
    voices = msgspec.json.decode(_read(blobs, found.voices), type=Speakers) if found.voices else None
    transcript, order = join(
        [passage for piece in words for passage in piece.passages],
        voices.exclusive if voices else None,
        overlaps=voices.turns if voices else (),
        gaps=tuple(Gap(start=start, end=end, reason=reason) for start, end, reason in found.gaps),
        language=_language(words, file.options.language),
        duration=file.duration or 0.0,
        version=version,
    )
    heard = voices.embeddings if voices else ()
    return Assembly(transcript=transcript, embeddings=tuple(heard[k] for k in order if k < len(heard)))


class Documents(msgspec.Struct, frozen=True):
    """Every export of one version, rendered."""

    version: int


def record_export(event: StepReleased, documents: Documents, bus: Bus) -> None:
    """The documents are there."""
    _finished(event, bus)


@stage(on=StepReleased, where={"work": "export"}, scale=Scale.BURST, then=record_export)
def export(event: StepReleased, units: Units, blobs: BlobStore) -> Documents:
    """Put every export of the newest version beside the recording, for those who read the bucket."""
    with units.unit() as db:
        store = TranscriptStore(db)
        version = store.newest(event.file_id)
        transcript = store.get(event.file_id, version)
        file = FileStore(db).find(event.file_id)
    if transcript is None or file is None:
        raise Permanent("There is no transcript to export. Run transcription first.")
    for form in FORMATS.values():
        text = form.render(transcript, ExportContext(title=file.name))
        blobs.put(f"exports/{event.file_id}/v{version}/transcript.{form.extension}", text.encode(), form.content_type)
    return Documents(version)


def _finished(event: StepReleased, bus: Bus) -> None:
    fact = StepFinished(run_id=event.run_id, work=event.work, attempt=event.attempt)
    bus.publish(fact, id=f"{event.run_id}/{event.work}/{event.attempt}/finished")


def _read(blobs: BlobStore, key: str) -> bytes:
    with blobs.open(key) as reader:
        return reader.read()


def _language(words: list[Words], asked: str | None) -> str:
    """What was asked for, else what most of the speech was heard as."""
    if asked:
        return asked
    weight: dict[str, float] = {}
    for piece in words:
        spoken = sum(p.end - p.start for p in piece.passages)
        weight[piece.language] = weight.get(piece.language, 0.0) + spoken * piece.language_probability
    return max(sorted(weight), key=lambda language: weight[language], default="und")
