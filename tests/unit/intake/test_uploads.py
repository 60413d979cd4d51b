"""Uploads in parts: begun, resumed, completed once, swept."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, func, select

from auricle.access.model import Principal, PrincipalId
from auricle.access.store import TokenStore, principals
from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.errors import Conflict, Invalid, NotFound, TooLarge
from auricle.files.events import FileReceived
from auricle.files.model import FileState, Options
from auricle.files.store import FileStore
from auricle.files.store import files as file_table
from auricle.intake import actions
from auricle.intake.model import Arrival, StartedUpload, UploadId, UploadLimits, UploadState
from auricle.intake.store import IntakeStore, arrivals, uploads
from auricle.notifications.store import EventLogStore, event_log
from builders.one_room import trail_within

DATA = bytes(range(95))
"""Ten parts of ten bytes, the last one shorter."""


class Client:
    """An uploader, and the rooms that it talks to."""

    def __init__(self, db: Connection, blobs: FilesystemBlobs, bus: Any, who: Principal, limits: UploadLimits) -> None:
        self.db, self.blobs, self.bus, self.who, self.limits = db, blobs, bus, who, limits
        self.intake, self.files, self.log = IntakeStore(db), FileStore(db), EventLogStore(db)
        self.desk = actions.Desk(
            intake=self.intake, files=self.files, log=self.log, blobs=blobs, bus=bus, limits=limits, trail=trail_within(db)
        )

    def begin(self, data: bytes = DATA, name: str = "talk.mp3", **more: Any) -> StartedUpload:
        """Begin an upload."""
        given: dict[str, Any] = {"sha256": None, "content_type": None, "options": Options(), **more}
        return actions.begin(self.who, self.intake, self.files, self.blobs, self.limits, name=name, size=len(data), **given)

    def key_and_ref(self, id: UploadId) -> tuple[str, str]:
        """Where the upload's bytes go."""
        row = self.db.execute(select(uploads).where(uploads.c.id == id)).one()
        return row.key, row.ref

    def send(self, started: StartedUpload, *numbers: int, data: bytes = DATA) -> None:
        """Send these parts (all without any)."""
        key, ref = self.key_and_ref(started.id)
        for n in numbers or range(1, started.part_count + 1):
            self.blobs.put_part(key, ref, n, io.BytesIO(data[(n - 1) * started.part_size : n * started.part_size]))

    def complete(self, id: UploadId) -> Any:
        """Complete it."""
        return actions.complete(id, self.who, self.desk)

    def notify(self, key: str) -> Any:
        """The bucket says that something is there."""
        return actions.arrived(Arrival(key=key), self.desk)

    def status(self, id: UploadId) -> Any:
        """How far it is."""
        return actions.status(id, self.who, self.intake, self.blobs)

    def sweep(self) -> None:
        """Half an hour passes."""
        actions.sweep(self.desk)

    def expire(self, id: UploadId) -> None:
        """A day passes."""
        self.db.execute(uploads.update().where(uploads.c.id == id).values(expires_at=func.now() - timedelta(seconds=1)))


@pytest.fixture
def client(db: Connection, blobs: FilesystemBlobs, bus: Any, ann: Principal, limits: UploadLimits) -> Client:
    return Client(db, blobs, bus, ann, limits)


def test_an_upload_becomes_a_file_with_exactly_its_bytes(client: Client) -> None:
    started = client.begin(name=" C:\\fakepath\\Tälk.MP3 ", options=Options(language="de"), sha256="AB" * 32)
    assert client.files.get(started.file_id).state is FileState.UPLOADING  # type: ignore[union-attr]
    client.send(started)
    file = client.complete(started.id)
    assert (file.name, file.size, file.state, file.content_type) == ("Tälk.MP3", 95, FileState.RECEIVED, "audio/mpeg")
    assert (file.options.language, file.sha256) == ("de", "ab" * 32)
    key = client.files.find(file.id).key  # type: ignore[union-attr]
    assert key is not None
    assert key.startswith(f"uploads/{client.who.id}/{file.id}/")
    assert key.endswith(".mp3")
    with client.blobs.open(key) as reader:
        assert reader.read() == DATA
    assert client.bus.facts == [FileReceived(file_id=file.id)]
    assert client.bus.ids == [f"{file.id}/received"]
    told = client.db.execute(select(event_log.c.owner, event_log.c.type, event_log.c.data["state"].astext)).all()
    assert told == [(client.who.id, "file", "received")]


def test_the_first_ten_parts_are_signed_at_once_and_others_when_asked_for(client: Client) -> None:
    started = client.begin(b"x" * 251)
    assert (started.part_size, started.part_count) == (10, 26)
    assert [part.number for part in started.parts] == list(range(1, 11))
    more = actions.sign_parts(started.id, client.who, client.intake, client.blobs, [26, 11, 11])
    assert [part.number for part in more] == [11, 26]
    assert len({part.url for part in (*started.parts, *more)}) == 12


@pytest.mark.parametrize("numbers", [[], [0], [27], [-1], list(range(1, 102))])
def test_only_parts_that_exist_are_signed_and_not_too_many(client: Client, numbers: list[int]) -> None:
    started = client.begin(b"x" * 251)
    with pytest.raises(Invalid, match=r"parts? "):
        actions.sign_parts(started.id, client.who, client.intake, client.blobs, numbers)


def test_a_small_file_is_one_part(client: Client) -> None:
    started = client.begin(b"tiny")
    assert [part.number for part in started.parts] == [1]
    client.send(started, data=b"tiny")
    assert client.complete(started.id).size == 4


def test_an_interrupted_upload_tells_what_is_missing_and_goes_on(client: Client) -> None:
    started = client.begin()
    client.send(started, 1, 2, 10)
    status = client.status(started.id)
    assert [(part.number, part.size) for part in status.parts] == [(1, 10), (2, 10), (10, 5)]
    assert status.missing == (3, 4, 5, 6, 7, 8, 9)
    with pytest.raises(Conflict, match=r"7 of 10 parts are missing: 3, 4, 5, 6, 7, 8, 9\.") as refused:
        client.complete(started.id)
    assert refused.value.extra["missing"] == [3, 4, 5, 6, 7, 8, 9]
    assert client.bus.facts == []
    client.send(started, *status.missing)
    assert client.complete(started.id).state is FileState.RECEIVED
    assert client.status(started.id).state is UploadState.COMPLETED


def test_a_part_of_another_size_counts_as_missing(client: Client) -> None:
    started = client.begin()
    client.send(started)
    key, ref = client.key_and_ref(started.id)
    client.blobs.put_part(key, ref, 4, io.BytesIO(b"short"))
    with pytest.raises(Conflict, match="1 of 10 parts are missing: 4"):
        client.complete(started.id)
    client.send(started, 4)
    assert client.complete(started.id).size == 95


def test_completing_twice_answers_the_same_and_tells_once(client: Client) -> None:
    started = client.begin()
    client.send(started)
    assert client.complete(started.id) == client.complete(started.id)
    assert len(client.bus.facts) == 1


def test_complete_and_arrival_meet_whoever_is_first(client: Client) -> None:
    for complete_first in (True, False):
        started = client.begin()
        client.send(started)
        key, ref = client.key_and_ref(started.id)
        if complete_first:
            client.complete(started.id)
            assert client.notify(key) is None
        else:
            client.blobs.finish_parts(key, ref, client.blobs.parts(key, ref))  # and the process was killed
            assert client.notify(key) == started.file_id
            assert client.notify(key) is None
        assert client.complete(started.id).state is FileState.RECEIVED
    assert len(client.bus.facts) == 2


def test_a_complete_that_was_killed_before_it_was_recorded_can_be_repeated(client: Client) -> None:
    started = client.begin()
    client.send(started)
    key, ref = client.key_and_ref(started.id)
    client.blobs.finish_parts(key, ref, client.blobs.parts(key, ref))
    assert client.complete(started.id).state is FileState.RECEIVED
    assert len(client.bus.facts) == 1


def test_an_arrival_before_the_upload_is_whole_is_no_arrival(client: Client) -> None:
    started = client.begin()
    client.send(started, 1)
    key, _ = client.key_and_ref(started.id)
    assert client.notify(key) is None
    client.blobs.put(key, b"of another size")
    assert client.notify(key) is None
    assert client.bus.facts == []
    assert client.notify("uploads/unknown/key.mp3") is None


def test_parts_that_the_store_lost_are_said_to_be_lost(client: Client) -> None:
    started = client.begin()
    client.send(started)
    client.blobs.abort_parts(*client.key_and_ref(started.id))
    assert client.status(started.id).missing == tuple(range(1, 11))
    with pytest.raises(Conflict, match="gone from the store"):
        client.complete(started.id)


def test_uploads_are_their_owners_alone(client: Client, bob: Principal) -> None:
    started = client.begin()
    client.send(started)
    for act in (
        lambda: actions.status(started.id, bob, client.intake, client.blobs),
        lambda: actions.sign_parts(started.id, bob, client.intake, client.blobs, [1]),
        lambda: actions.complete(started.id, bob, client.desk),
        lambda: actions.abort(started.id, bob, client.intake, client.files, client.blobs),
    ):
        with pytest.raises(NotFound):
            act()
    assert len(client.status(started.id).parts) == 10


def test_an_aborted_upload_leaves_nothing(client: Client) -> None:
    started = client.begin()
    client.send(started)
    key, ref = client.key_and_ref(started.id)
    for _ in range(2):
        actions.abort(started.id, client.who, client.intake, client.files, client.blobs)
    assert client.files.get(started.file_id) is None
    with pytest.raises(NotFound):
        client.blobs.parts(key, ref)
    with pytest.raises(Conflict, match="aborted"):
        client.complete(started.id)
    with pytest.raises(Conflict, match="aborted"):
        actions.sign_parts(started.id, client.who, client.intake, client.blobs, [1])


def test_a_complete_upload_cannot_be_aborted(client: Client) -> None:
    started = client.begin()
    client.send(started)
    client.complete(started.id)
    with pytest.raises(Conflict, match=f"/api/files/{started.file_id}"):
        actions.abort(started.id, client.who, client.intake, client.files, client.blobs)
    assert client.files.get(started.file_id) is not None


def test_bad_uploads_are_refused_before_anything_is_kept(client: Client) -> None:
    with pytest.raises(Invalid, match="empty"):
        client.begin(b"")
    with pytest.raises(TooLarge):
        client.begin(b"x" * 1001)
    with pytest.raises(Invalid, match="sha256"):
        client.begin(sha256="abc")
    with pytest.raises(Invalid, match="name"):
        client.begin(name=" / ")
    with pytest.raises(Invalid, match="min_speakers"):
        client.begin(options=Options(min_speakers=3, max_speakers=2))
    assert client.db.execute(select(func.count()).select_from(uploads)).scalar() == 0


def test_the_sweep_forgets_what_nobody_finished(client: Client) -> None:
    late, open_ = client.begin(), client.begin()
    client.send(late)
    client.send(open_)
    client.expire(late.id)
    with pytest.raises(Conflict, match="expired"):
        actions.sign_parts(late.id, client.who, client.intake, client.blobs, [1])
    client.sweep()
    assert client.status(late.id).state is UploadState.EXPIRED
    assert client.files.get(late.file_id) is None
    with pytest.raises(NotFound):
        client.blobs.parts(*client.key_and_ref(late.id))
    with pytest.raises(Conflict, match="expired"):
        client.complete(late.id)
    assert client.complete(open_.id).state is FileState.RECEIVED


def test_an_upload_that_is_complete_in_time_may_be_said_so_late(client: Client) -> None:
    started = client.begin()
    client.send(started)
    client.expire(started.id)
    assert client.complete(started.id).state is FileState.RECEIVED


def test_the_sweep_keeps_what_was_whole_but_never_recorded(client: Client) -> None:
    started = client.begin()
    client.send(started)
    key, ref = client.key_and_ref(started.id)
    client.blobs.finish_parts(key, ref, client.blobs.parts(key, ref))
    client.expire(started.id)
    client.sweep()
    assert client.bus.facts == [FileReceived(file_id=started.file_id)]
    assert client.complete(started.id).state is FileState.RECEIVED


def test_a_file_that_was_purged_while_it_was_uploaded_stays_away(client: Client) -> None:
    started = client.begin()
    client.send(started)
    client.files.purge(started.file_id)
    with pytest.raises(Conflict, match="purged"):
        client.complete(started.id)
    client.expire(started.id)
    client.sweep()
    assert client.status(started.id).state is UploadState.EXPIRED
    assert client.bus.facts == []


def test_the_sweep_takes_what_was_pinned_elsewhere(client: Client) -> None:
    started = client.begin()
    client.send(started)
    client.complete(started.id)
    key, _ = client.key_and_ref(started.id)
    client.sweep()
    assert client.blobs.stat(key) is not None
    client.blobs.copy(key, "originals/x")
    client.files.pinned(started.file_id, key, "originals/x")
    client.sweep()
    assert client.blobs.stat(key) is None
    assert client.blobs.stat("originals/x") is not None
    assert client.db.execute(select(func.count()).select_from(arrivals)).scalar() == 0
    assert client.notify(key) is None


def test_old_uploads_are_forgotten_in_the_end(client: Client) -> None:
    started = client.begin()
    client.send(started)
    client.complete(started.id)
    moved = uploads.update().where(uploads.c.id == started.id)
    client.db.execute(moved.values(expires_at=func.now() - timedelta(days=29)))
    client.sweep()
    assert client.status(started.id).state is UploadState.COMPLETED
    client.db.execute(moved.values(expires_at=func.now() - timedelta(days=31)))
    client.sweep()
    with pytest.raises(NotFound):
        client.status(started.id)


@pytest.fixture
def committed(engine: Engine) -> Iterator[None]:
    """For tests that need several transactions: everything is removed afterwards."""
    yield
    with engine.begin() as db:
        for table in (uploads, arrivals, file_table, principals, event_log):
            db.execute(table.delete())


@pytest.mark.usefixtures("committed")
def test_two_completes_and_two_notifications_at_once_make_one_file(
    engine: Engine, blobs: FilesystemBlobs, bus: Any, limits: UploadLimits
) -> None:
    with engine.begin() as db:
        ann = TokenStore(db).principal_named(PrincipalId(uuid4()), "local", "ann")
        client = Client(db, blobs, bus, ann, limits)
        started = client.begin()
        client.send(started)
        key, _ = client.key_and_ref(started.id)
    answers: list[Any] = []
    barrier = threading.Barrier(4)

    def act(complete: bool) -> None:
        barrier.wait(10)
        with engine.begin() as db:
            mine = Client(db, blobs, bus, ann, limits)
            answers.append(mine.complete(started.id) if complete else mine.notify(key))

    threads = [threading.Thread(target=act, args=(n % 2 == 0,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 4
    assert bus.facts == [FileReceived(file_id=started.file_id)]
