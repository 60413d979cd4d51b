"""Preparing a file: pinned first, checked, decoded once, and never lost."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from typing import Any, BinaryIO
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import Connection, func, select

from auricle.access.model import Principal
from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.contract.ids import uuid7
from auricle.errors import Permanent, Retryable
from auricle.files.model import FileId, FileState, MediaKind, Options, Peaks, StoredFile
from auricle.files.store import ChunkStore, FileStore, files
from auricle.intake import actions, preparation, stages
from auricle.intake.model import Arrival, Preparation, UploadLimits
from auricle.intake.preparation import Checksum, Wishes, forget_leftovers, pinned
from auricle.intake.store import IntakeStore, arrivals
from auricle.notifications.store import EventLogStore
from auricle.ports.media import Chunk, Clip, Recording, Track
from auricle.runs.actions import cancel
from auricle.runs.conducting import begun
from auricle.runs.events import StepFinished, StepReleased
from auricle.runs.model import Pace, RunId, StepName
from auricle.runs.store import RunStore
from builders.one_room import trail_within

DATA = b"0123456789" * 50


class ScriptedReader:
    """`MediaReader` that cuts a chunk per hundred bytes, or does what the test says."""

    def __init__(self, complaint: Exception | None = None, before: Callable[[], None] = lambda: None) -> None:
        self.complaint = complaint
        self.before = before
        self.asked: list[tuple[float, int | None]] = []

    def read(
        self,
        source: BinaryIO,
        *,
        chunk_seconds: float,
        audio_track: int | None,
        deliver: Callable[[Chunk], None],
        progress: Callable[[float], None],
    ) -> Recording:
        """Read it all, jumping about as decoders do."""
        self.asked.append((chunk_seconds, audio_track))
        self.before()
        source.seek(0, io.SEEK_END)
        source.seek(0)
        data = source.read()
        if self.complaint:
            raise self.complaint
        count = len(data) // 100
        for n in range(count):
            clips = (Clip(n + 0.25, n + 0.5),)
            deliver(Chunk(index=n, start=n, end=n + 1, audio_end=min(n + 11, count), clips=clips, flac=data[n * 100 :][:100]))
            progress((n + 1) / count)
        return Recording(
            container="mp4",
            duration=float(count),
            tracks=(Track(index=0, kind="video", codec="h264"), Track(index=1, kind="audio", codec="aac", rate=48_000)),
            audio_track=0,
            chunks=count,
            speech_seconds=1.25,
            peaks=(0, 200, 3),
            peaks_per_second=10.0,
            poster=b"jpeg",
            warnings=("The recording ends early.",),
        )


class Desk:
    """One file on its way through preparation."""

    def __init__(self, db: Connection, blobs: FilesystemBlobs, units: Any, bus: Any, owner: Principal) -> None:
        self.db, self.blobs, self.units, self.bus, self.owner = db, blobs, units, bus, owner
        self.files, self.intake = FileStore(db), IntakeStore(db)
        self.run = RunId(uuid4())
        self.told: list[float] = []

    def arrive(self, data: bytes = DATA, sha256: str | None = None, key: str = "uploads/x/y.mp4") -> FileId:
        """A file whose bytes have just arrived."""
        id = FileId(uuid7())
        blob = self.blobs.put(key, data)
        self.files.add(
            id, self.owner.id, name="y.mp4", size=len(data), content_type="video/mp4", kind=MediaKind.VIDEO, sha256=sha256
        )
        assert self.files.received(id, key)
        assert self.intake.arrive(key, blob.etag, id)
        return id

    def file(self, id: FileId) -> StoredFile:
        """As it is now."""
        found = self.files.find(id)
        assert found is not None
        return found

    def prepare(self, id: FileId, reader: ScriptedReader, run: RunId | None = None) -> Preparation:
        """What the stage's slow part does."""
        file = self.file(id)
        key = pinned(file, self.units, self.blobs)
        wishes = Wishes(chunk_seconds=300.0, audio_track=1)
        return preparation.decoded(file, key, run or self.run, wishes, self.blobs, reader, self.told.append)

    def record(self, id: FileId, found: Preparation) -> None:
        """What it does with its value."""
        RunStore(self.db).create(self.run, id, self.owner.id, begun(Options(), tuple(StepName)))
        event = StepReleased(run_id=self.run, file_id=id, work=StepName.PREPARE, attempt=2, receipt="r")
        log = EventLogStore(self.db)
        actions.record_preparation(event, found, self.files, ChunkStore(self.db), RunStore(self.db), log, self.bus)


@pytest.fixture
def desk(db: Connection, blobs: FilesystemBlobs, units: Any, bus: Any, ann: Principal) -> Desk:
    return Desk(db, blobs, units, bus, ann)


# Pinning.


def test_bytes_are_pinned_under_a_key_that_never_changes(desk: Desk) -> None:
    id = desk.arrive()
    key = pinned(desk.file(id), desk.units, desk.blobs)
    assert key.startswith(f"originals/{id}/")
    assert key.endswith(".mp4")
    assert desk.file(id).key == key
    assert desk.blobs.open(key).read() == DATA
    assert desk.blobs.stat("uploads/x/y.mp4") is None
    assert pinned(desk.file(id), desk.units, desk.blobs) == key


def test_pinning_goes_on_where_a_killed_attempt_stopped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    id = desk.arrive()

    def killed(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FileStore, "pinned", killed)
        with pytest.raises(KeyboardInterrupt):
            pinned(desk.file(id), desk.units, desk.blobs)
    assert desk.file(id).key == "uploads/x/y.mp4"
    assert pinned(desk.file(id), desk.units, desk.blobs).startswith("originals/")


def test_a_dropped_object_stays_for_the_sweep(desk: Desk) -> None:
    key = f"drop/{desk.owner.id}/a.wav"
    id = desk.arrive(key=key)
    assert pinned(desk.file(id), desk.units, desk.blobs).endswith(".wav")
    assert desk.blobs.stat(key) is not None


def test_a_drop_that_was_replaced_before_it_was_kept_says_so(desk: Desk) -> None:
    key = f"drop/{desk.owner.id}/a.wav"
    id = desk.arrive(key=key)
    desk.blobs.put(key, b"newer")
    with pytest.raises(Permanent, match="replaced"):
        pinned(desk.file(id), desk.units, desk.blobs)


def test_bytes_that_are_gone_are_said_to_be_gone(desk: Desk) -> None:
    id = desk.arrive()
    desk.blobs.delete("uploads/x/y.mp4")
    with pytest.raises(Permanent, match="gone from the store"):
        pinned(desk.file(id), desk.units, desk.blobs)


def test_a_file_purged_while_it_is_pinned_stays_purged(desk: Desk) -> None:
    id = desk.arrive()
    file = desk.file(id)
    desk.files.purge(id)
    with pytest.raises(Permanent, match="purged"):
        pinned(file, desk.units, desk.blobs)


# Decoding.


def test_a_recording_becomes_chunks_peaks_and_a_poster(desk: Desk) -> None:
    id, reader = desk.arrive(), ScriptedReader()
    found = desk.prepare(id, reader)
    desk.record(id, found)
    file = desk.file(id)
    assert (file.state, file.duration, file.size, file.has_video) == (FileState.READY, 5.0, 500, True)
    assert file.sha256 == hashlib.sha256(DATA).hexdigest()
    assert file.warnings == ("The recording ends early.",)
    rows = ChunkStore(desk.db).of(id)
    assert [row.index for row in rows] == [0, 1, 2, 3, 4]
    assert [row.key for row in rows] == [f"chunks/{id}/{desk.run}/{n:05}.flac" for n in range(5)]
    assert rows[1].clips == ((1.25, 1.5),)
    assert b"".join(desk.blobs.open(row.key).read() for row in rows) == DATA
    assert file.peaks_key is not None
    assert msgspec.json.decode(desk.blobs.open(file.peaks_key).read(), type=Peaks) == Peaks((0, 200, 3), 10.0)
    assert file.poster_key is not None
    assert desk.blobs.open(file.poster_key).read() == b"jpeg"
    media = desk.db.execute(select(files.c.media).where(files.c.id == id)).scalar_one()
    assert [track["codec"] for track in media["tracks"]] == ["h264", "aac"]
    assert reader.asked == [(300.0, 1)]
    assert desk.told[-1] == 1.0
    finished = StepFinished(run_id=desk.run, work=StepName.PREPARE, attempt=2, warnings=("The recording ends early.",))
    assert desk.bus.facts == [finished]
    assert desk.bus.ids == [f"{desk.run}/prepare/2/finished"]


def test_preparing_again_gives_the_same(desk: Desk) -> None:
    id = desk.arrive()
    assert desk.prepare(id, ScriptedReader()) == desk.prepare(id, ScriptedReader())


def test_a_right_checksum_is_believed(desk: Desk) -> None:
    id = desk.arrive(sha256=hashlib.sha256(DATA).hexdigest())
    desk.record(id, desk.prepare(id, ScriptedReader()))
    assert desk.file(id).state is FileState.READY


@pytest.mark.parametrize("complaint", [None, Permanent("This is not a recording.")])
def test_a_wrong_checksum_explains_everything_else(desk: Desk, complaint: Exception | None) -> None:
    id = desk.arrive(sha256="ab" * 32)
    with pytest.raises(Permanent, match=r"does not match its checksum.*Upload it again"):
        desk.prepare(id, ScriptedReader(complaint))
    assert desk.blobs.stat(str(desk.file(id).key)) is not None


def test_the_readers_complaint_is_passed_on(desk: Desk) -> None:
    for sha256 in (None, hashlib.sha256(DATA).hexdigest()):
        id = desk.arrive(sha256=sha256, key=f"uploads/{uuid4()}.mp4")
        with pytest.raises(Permanent, match="no sound"):
            desk.prepare(id, ScriptedReader(Permanent("This video has no sound.")))


def test_a_store_that_is_away_is_no_verdict(desk: Desk) -> None:
    id = desk.arrive()
    with pytest.raises(Retryable, match="away"):
        desk.prepare(id, ScriptedReader(Retryable("The store is away.")))
    assert desk.file(id).state is FileState.RECEIVED


def test_a_file_purged_meanwhile_keeps_no_chunks(desk: Desk) -> None:
    id = desk.arrive()
    found = desk.prepare(id, ScriptedReader())
    desk.files.purge(id)
    desk.record(id, found)
    assert ChunkStore(desk.db).of(id) == []
    assert desk.files.find(id) is None


def test_leftovers_of_earlier_preparations_go_and_the_present_one_stays(desk: Desk) -> None:
    id = desk.arrive()
    forgotten, present, mine = RunId(uuid4()), desk.run, RunId(uuid4())
    desk.prepare(id, ScriptedReader(), forgotten)
    desk.record(id, desk.prepare(id, ScriptedReader(), present))
    desk.prepare(id, ScriptedReader(), mine)
    desk.blobs.put(f"chunks/{uuid4()}/{forgotten}/00000.flac", b"another file's")
    forget_leftovers(desk.file(id), mine, desk.units, desk.blobs)
    left = [blob.key for prefix in ("chunks/", "peaks/", "posters/") for blob in desk.blobs.list(prefix)]
    assert [key for key in left if str(forgotten) in key and str(id) in key] == []
    assert len([key for key in left if str(present) in key]) == len([key for key in left if str(mine) in key]) == 7
    assert len(left) == 15


# The stage.


class Stage:
    """The stage as the door calls it, on a real run."""

    def __init__(self, desk: Desk, options: Options) -> None:
        self.desk = desk
        self.id = desk.arrive()
        self.run = RunStore(desk.db)
        self.run.create(desk.run, self.id, desk.owner.id, begun(options, tuple(StepName)))
        self.event = StepReleased(run_id=desk.run, file_id=self.id, work=StepName.PREPARE, attempt=1, receipt="r")

    def __call__(self, reader: ScriptedReader) -> Preparation:
        """Deliver the event."""
        return stages.prepare(
            self.event, self.desk.units, self.desk.blobs, reader, Pace(chunk_seconds=77.0), self.desk.told.append
        )


@pytest.mark.parametrize(
    ("options", "asked"), [(Options(), (77.0, None)), (Options(chunk_seconds=30.0, audio_track=1), (30.0, 1))]
)
def test_a_run_says_how_its_recording_is_prepared(desk: Desk, options: Options, asked: tuple[float, int | None]) -> None:
    reader, stage = ScriptedReader(), Stage(desk, options)
    desk.record(stage.id, stage(reader))
    assert reader.asked == [asked]
    assert desk.file(stage.id).state is FileState.READY


def test_what_can_never_be_heard_is_kept_and_says_why_however_often_it_is_tried(desk: Desk) -> None:
    stage = Stage(desk, Options())
    for _ in range(2):
        with pytest.raises(Permanent, match="no sound"):
            stage(ScriptedReader(Permanent("This video has no sound.")))
        file = desk.file(stage.id)
        assert (file.state, file.error) == (FileState.UNREADABLE, "This video has no sound.")
        assert desk.blobs.open(str(file.key)).read() == DATA
    desk.record(stage.id, stage(ScriptedReader()))
    assert (desk.file(stage.id).state, desk.file(stage.id).error) == (FileState.READY, None)
    with pytest.raises(Permanent, match="no audio track"):
        stage(ScriptedReader(Permanent("There is no audio track 7.")))
    assert desk.file(stage.id).state is FileState.READY


def test_nothing_is_prepared_for_a_run_that_was_cancelled(desk: Desk, bus: Any) -> None:
    reader, stage = ScriptedReader(), Stage(desk, Options())
    cancel(stage.run, EventLogStore(desk.db), bus, desk.run)
    with pytest.raises(Permanent, match="cancelled"):
        stage(reader)
    assert reader.asked == []
    assert desk.file(stage.id).state is FileState.RECEIVED


def test_nothing_is_prepared_of_a_purged_file(desk: Desk) -> None:
    reader, stage = ScriptedReader(), Stage(desk, Options())
    desk.files.purge(stage.id)
    with pytest.raises(Permanent, match="purged"):
        stage(reader)
    assert reader.asked == []


# The checksum beside the work.


def test_the_checksum_is_that_of_all_bytes(blobs: FilesystemBlobs) -> None:
    data = bytes(range(256)) * 20_000
    blobs.put("k", data)
    with Checksum(blobs, "k") as checksum:
        assert checksum.result() == (len(data), hashlib.sha256(data).hexdigest())


def test_the_checksum_stops_when_nobody_waits_for_it(blobs: FilesystemBlobs) -> None:
    blobs.put("k", b"x")
    before = threading.active_count()
    with pytest.raises(ValueError, match="enough"), Checksum(blobs, "k"):
        raise ValueError("enough")
    assert threading.active_count() == before


def test_a_checksum_of_nothing_says_that_the_bytes_are_gone(blobs: FilesystemBlobs) -> None:
    with Checksum(blobs, "nothing") as checksum, pytest.raises(Permanent, match="gone"):
        checksum.result()


def test_a_dropped_file_goes_all_the_way(desk: Desk, limits: UploadLimits) -> None:
    key = f"drop/{desk.owner.id}/Tälk.mp4"
    desk.blobs.put(key, DATA)
    log = EventLogStore(desk.db)
    arrival = actions.Desk(
        intake=desk.intake,
        files=desk.files,
        log=log,
        blobs=desk.blobs,
        bus=desk.bus,
        limits=limits,
        trail=trail_within(desk.db),
    )
    id = actions.arrived(Arrival(key=key), arrival)
    assert id is not None
    desk.record(id, desk.prepare(id, ScriptedReader()))
    assert desk.file(id).state is FileState.READY
    assert desk.db.execute(select(func.count()).select_from(arrivals)).scalar() == 1
