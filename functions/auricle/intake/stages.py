"""The stage that makes a recording fit for hearing."""

from __future__ import annotations

from auricle.contract.choices import Image, Scale
from auricle.contract.function import stage
from auricle.contract.store import Units
from auricle.errors import Permanent
from auricle.files.model import StoredFile
from auricle.files.store import FileStore
from auricle.intake import actions, preparation
from auricle.intake.model import Preparation
from auricle.intake.preparation import PURGED, Wishes
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Progress
from auricle.ports.media import MediaReader
from auricle.runs.events import StepReleased
from auricle.runs.model import Pace
from auricle.runs.store import RunStore


@stage(on=StepReleased, where={"work": "prepare"}, image=Image.MEDIA, scale=Scale.BATCH, then=actions.record_preparation)
def prepare(
    event: StepReleased, units: Units, blobs: BlobStore, media: MediaReader, pace: Pace, progress: Progress
) -> Preparation:
    """Pin a recording, verify it, decode it into chunks cut at silences, draw its peaks and a poster."""
    file, wishes = _asked(event, units, pace)
    return preparation.prepare(file, event.run_id, wishes, units, blobs, media, progress)


def _asked(event: StepReleased, units: Units, pace: Pace) -> tuple[StoredFile, Wishes]:
    """The file, and how this run wants it prepared. A run that is over wants nothing."""
    with units.unit() as db:
        file = FileStore(db).find(event.file_id)
        held = RunStore(db).peek(event.run_id)
    if file is None or held is None:
        raise Permanent(PURGED)
    if held.run.state.over:
        raise Permanent("The run was cancelled before the file was prepared.")
    options = held.run.options
    return file, Wishes(chunk_seconds=options.chunk_seconds or pace.chunk_seconds, audio_track=options.audio_track)
