"""Names, wishes, trash, purge, playback: what owners do with their files."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import unquote
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import Connection, select

from auricle.access.model import Principal
from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, Invalid, NotFound
from auricle.files import actions, routes, stages
from auricle.files.events import FilePurged
from auricle.files.model import (
    ChunkRow,
    FileId,
    FileState,
    Findings,
    MediaKind,
    Options,
    Peaks,
    chunk_key,
    original_key,
    peaks_key,
    poster_key,
    prefixes,
    uploads_prefix,
)
from auricle.files.store import ERASE_AGAIN, ChunkStore, FileStore
from auricle.files.store import files as table
from auricle.notifications.store import EventLogStore
from auricle.runs.model import StepName, result_key
from builders.one_room import trail_within

RUN = uuid4()


class SameUnit:
    """Units that are all the test's one transaction."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def unit(self) -> SameUnit:
        """It."""
        return self

    def __enter__(self) -> Connection:
        return self._db

    def __exit__(self, *_: object) -> None:
        return None


def findings(id: FileId, **values: object) -> Findings:
    """What a preparation might tell."""
    given = {
        "size": 7,
        "sha256": "ab" * 32,
        "duration": 61.5,
        "kind": MediaKind.VIDEO,
        "media": {"container": "mp4", "tracks": []},
        "warnings": ("The second audio track was left out.",),
        "peaks_key": peaks_key(id, RUN),
        "poster_key": poster_key(id, RUN),
    }
    return Findings(**{**given, **values})  # type: ignore[arg-type]


def put(store: FileStore, owner: UUID, name: str = "talk.mp4", content_type: str = "video/mp4") -> FileId:
    """A received file."""
    id = FileId(uuid7())
    store.add(id, owner, name=name, size=7, content_type=content_type, kind=MediaKind.VIDEO, options=Options(language="de"))
    assert store.received(id, original_key(id, RUN, ".mp4"))
    return id


def chunk(id: FileId, index: int) -> ChunkRow:
    """One of a preparation's chunks."""
    return ChunkRow(
        index=index,
        start=index * 30.0,
        end=index * 30.0 + 30,
        audio_end=index * 30.0 + 40,
        clips=((index * 30.0 + 0.51, index * 30.0 + 2.25),),
        key=chunk_key(id, RUN, index),
    )


# Life.


def test_bytes_are_received_once(files: FileStore, ann: Principal) -> None:
    id = put(files, ann.id)
    assert not files.received(id, "elsewhere")
    found = files.find(id)
    assert found is not None
    assert (found.state, found.key) == (FileState.RECEIVED, original_key(id, RUN, ".mp4"))


def test_a_prepared_file_tells_what_was_found(files: FileStore, ann: Principal) -> None:
    id = put(files, ann.id)
    files.unreadable(id, "It was damaged.")
    assert files.prepared(id, findings(id))
    found = actions.read(id, files)
    assert (found.state, found.error, found.duration, found.has_video) == (FileState.READY, None, 61.5, True)
    assert found.warnings == ("The second audio track was left out.",)
    assert (found.has_transcript, found.options.language) == (False, "de")
    files.transcribed(id, 3, "de")
    found = actions.read(id, files)
    assert (found.has_transcript, found.language) == (True, "de")


def test_what_was_playable_stays_so_when_a_later_preparation_fails(files: FileStore, ann: Principal) -> None:
    id = put(files, ann.id)
    files.prepared(id, findings(id))
    assert not files.unreadable(id, "There is no audio track 7.")
    assert actions.read(id, files).state is FileState.READY


def test_chunks_are_replaced_whole(db: Connection, files: FileStore, ann: Principal) -> None:
    id, other = put(files, ann.id), put(files, ann.id)
    store = ChunkStore(db)
    store.replace(other, [chunk(other, 0)])
    store.replace(id, [chunk(id, n) for n in range(1200)])
    assert store.of(id) == [chunk(id, n) for n in range(1200)]
    store.replace(id, [chunk(id, 0)])
    assert store.of(id) == [chunk(id, 0)]
    store.replace(id, [])
    assert store.of(id) == []
    assert store.of(other) == [chunk(other, 0)]


# Names and wishes.


def test_a_file_is_renamed(files: FileStore, log: EventLogStore, ann: Principal) -> None:
    id = put(files, ann.id)
    changed = routes.change_file(id, routes.FileChange(name="  Sitzung 1.mp4 "), files, log, trail_within(files.db))
    assert (changed.name, changed.options) == ("Sitzung 1.mp4", Options(language="de"))
    with pytest.raises(Invalid):
        routes.change_file(id, routes.FileChange(name="a/b"), files, log, trail_within(files.db))
    assert actions.read(id, files).name == "Sitzung 1.mp4"


def test_only_the_options_that_are_said_change(files: FileStore, log: EventLogStore, ann: Principal) -> None:
    id = put(files, ann.id)
    said = msgspec.json.decode(b'{"options": {"num_speakers": 2, "vocabulary": ["Auricle"]}}', type=routes.FileChange)
    assert routes.change_file(id, said, files, log, trail_within(files.db)).options == Options(
        language="de", num_speakers=2, vocabulary=("Auricle",)
    )
    taken_back = msgspec.json.decode(b'{"options": {"language": null}}', type=routes.FileChange)
    clash = msgspec.json.decode(b'{"options": {"max_speakers": 3}}', type=routes.FileChange)
    with pytest.raises(Invalid, match="max_speakers"):
        routes.change_file(id, clash, files, log, trail_within(files.db))
    assert routes.change_file(id, taken_back, files, log, trail_within(files.db)).options == Options(
        num_speakers=2, vocabulary=("Auricle",)
    )


def test_every_option_can_be_changed() -> None:
    assert routes.OptionsChange.__struct_fields__ == Options.__struct_fields__


# Trash.


def test_the_trash_gives_back_what_was_put_in(files: FileStore, log: EventLogStore, ann: Principal) -> None:
    id = put(files, ann.id)
    actions.trash(id, files, log, trail_within(files.db))
    trashed = actions.read(id, files)
    assert trashed.state is FileState.TRASHED
    assert trashed.trashed_at is not None
    actions.trash(id, files, log, trail_within(files.db))
    assert actions.read(id, files).trashed_at == trashed.trashed_at
    files.prepared(id, findings(id))  # work that was under way
    assert actions.restore(id, files, log, trail_within(files.db)).state is FileState.READY


# Playback.


def test_content_is_where_the_original_is(files: FileStore, blobs: FilesystemBlobs, ann: Principal) -> None:
    id = put(files, ann.id, name="Öde.mp4")
    url = actions.content_url(id, files, blobs, download=False)
    assert original_key(id, RUN, ".mp4") in url
    assert "filename" not in url
    assert "Öde.mp4" in unquote(actions.content_url(id, files, blobs, download=True))


def test_what_is_no_recording_is_only_ever_saved(files: FileStore, blobs: FilesystemBlobs, ann: Principal) -> None:
    id = put(files, ann.id, name="page.html", content_type="application/octet-stream")
    assert "page.html" in actions.content_url(id, files, blobs, download=False)


def test_content_of_what_is_uploading_or_in_the_trash_is_refused_with_the_way_out(
    files: FileStore, log: EventLogStore, blobs: FilesystemBlobs, ann: Principal
) -> None:
    id = FileId(uuid7())
    files.add(id, ann.id, name="a.wav", size=1, content_type="audio/wav", kind=MediaKind.AUDIO)
    with pytest.raises(Conflict, match="uploaded"):
        actions.content_url(id, files, blobs, download=False)
    id = put(files, ann.id)
    actions.trash(id, files, log, trail_within(files.db))
    with pytest.raises(Conflict, match="restore"):
        actions.content_url(id, files, blobs, download=False)


def test_peaks_and_poster_are_there_once_prepared(files: FileStore, blobs: FilesystemBlobs, ann: Principal) -> None:
    id = put(files, ann.id)
    with pytest.raises(NotFound, match="not prepared yet"):
        actions.peaks(id, files, blobs)
    files.unreadable(id, "It is empty.")
    with pytest.raises(NotFound, match="It is empty"):
        actions.poster_url(id, files, blobs)
    files.prepared(id, findings(id))
    blobs.put(peaks_key(id, RUN), msgspec.json.encode(Peaks((0, 128, 255), 10.0)))
    drawn = routes.get_peaks(id, files, blobs)
    assert (drawn.value, drawn.etag) == (Peaks((0, 128, 255), 10.0), str(RUN))
    assert poster_key(id, RUN) in routes.get_poster(id, files, blobs).url
    files.prepared(id, findings(id, poster_key=None, kind=MediaKind.AUDIO))
    with pytest.raises(NotFound, match="no picture"):
        actions.poster_url(id, files, blobs)


# Erasing. What purging itself does is in test_purge.py.


def fill(blobs: FilesystemBlobs, owner: UUID, id: FileId) -> list[str]:
    """Something under every prefix of a file."""
    keys = [f"{prefix}{RUN}/x" for prefix in prefixes(owner, id)]
    for key in keys:
        blobs.put(key, b"x")
    return keys


def test_everything_that_is_stored_has_a_prefix_that_is_emptied(ann: Principal) -> None:
    id = FileId(uuid7())
    emptied = prefixes(ann.id, id)
    made = [original_key(id, RUN, ".mp3"), chunk_key(id, RUN, 3), peaks_key(id, RUN), poster_key(id, RUN)]
    for key in [
        *made,
        uploads_prefix(ann.id, id) + "x",
        f"exports/{id}/v1/transcript.txt",
        result_key(id, RUN, StepName.DIARIZE, 0),
    ]:
        assert key.startswith(emptied)


def test_erasing_takes_all_of_a_file_and_nothing_of_another(
    db: Connection, files: FileStore, blobs: FilesystemBlobs, ann: Principal
) -> None:
    id, other = put(files, ann.id), put(files, ann.id)
    gone, kept = fill(blobs, ann.id, id), fill(blobs, ann.id, other)
    ref = blobs.begin_parts(uploads_prefix(ann.id, id) + "half.mp4")
    files.purge(id)
    event = FilePurged(file_id=id)
    erasure = stages.erase(event, SameUnit(db), blobs)
    stages.record_erasure(event, erasure, files)
    assert erasure.objects == len(gone)
    assert all(blobs.stat(key) is None for key in gone)
    assert all(blobs.stat(key) is not None for key in kept)
    with pytest.raises(NotFound):
        blobs.parts(uploads_prefix(ann.id, id) + "half.mp4", ref)


def test_what_was_given_away_is_erased_where_its_first_owner_put_it(
    db: Connection, files: FileStore, blobs: FilesystemBlobs, ann: Principal, bob: Principal
) -> None:
    id = put(files, ann.id)
    keys = fill(blobs, ann.id, id)
    files.give(id, bob.id)
    files.give(id, ann.id)
    files.give(id, bob.id)
    files.purge(id)
    assert stages.erase(FilePurged(file_id=id), SameUnit(db), blobs).objects == len(keys)
    late = fill(blobs, ann.id, id)
    age(db, id, ERASE_AGAIN)
    actions.erase_due(files, blobs)
    assert all(blobs.stat(key) is None for key in (*keys, *late))


def test_only_purged_files_are_erased(db: Connection, files: FileStore, blobs: FilesystemBlobs, ann: Principal) -> None:
    id = put(files, ann.id)
    kept = fill(blobs, ann.id, id)
    assert stages.erase(FilePurged(file_id=id), SameUnit(db), blobs).objects == 0
    assert actions.erase_due(files, blobs) == 0
    assert all(blobs.stat(key) is not None for key in kept)


def test_purged_bytes_are_erased_again_after_the_last_url_and_then_never(
    db: Connection, files: FileStore, blobs: FilesystemBlobs, ann: Principal
) -> None:
    id = put(files, ann.id)
    files.purge(id)
    assert actions.erase_due(files, blobs) == 1  # the event was lost: the timer does its work
    assert actions.erase_due(files, blobs) == 0
    late = fill(blobs, ann.id, id)  # somebody held a URL
    age(db, id, ERASE_AGAIN)
    assert actions.erase_due(files, blobs) == 1
    assert all(blobs.stat(key) is None for key in late)
    age(db, id, timedelta(days=400))
    assert actions.erase_due(files, blobs) == 0


def age(db: Connection, id: FileId, by: timedelta) -> None:
    """Let time pass for a purged file."""
    moved = {"purged_at": table.c.purged_at - by, "erase_at": table.c.erase_at - by}
    db.execute(table.update().where(table.c.id == id).values(**moved))


def test_a_purged_row_keeps_nothing_of_the_file(db: Connection, files: FileStore, log: EventLogStore, ann: Principal) -> None:
    id = put(files, ann.id)
    files.prepared(id, findings(id))
    ChunkStore(db).replace(id, [chunk(id, 0)])
    files.transcribed(id, 1, "de")
    actions.trash(id, files, log, trail_within(files.db))
    files.purge(id)
    row = db.execute(select(table).where(table.c.id == id)).one()
    kept = {name for name, value in row._mapping.items() if value not in (None, "", 0, [], {})}
    assert kept == {"id", "owner", "state", "kind", "created_at", "updated_at", "purged_at", "erase_at"}
    assert ChunkStore(db).of(id) == []
    assert files.find(id) is None
    assert files.lock(id) is None
    assert not files.prepared(id, findings(id))
