"""Objects that arrive by themselves: dropped once or often, replaced, told late, twice or wrongly."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import Connection, func

from auricle.access.model import Principal
from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.errors import Denied, Invalid
from auricle.files.events import FileReceived
from auricle.files.listing import FileList, FileQuery
from auricle.files.model import File, FileState
from auricle.files.store import FileStore
from auricle.intake import actions
from auricle.intake.arrivals import BucketNotification, NotificationQuery, receive_bucket_events
from auricle.intake.model import Arrival, BucketToken, UploadLimits
from auricle.intake.store import IntakeStore, arrivals
from auricle.notifications.store import EventLogStore

TOKEN = BucketToken(value="s3cret-ü")


class Bucket:
    """A bucket that tells of its objects."""

    def __init__(self, db: Connection, blobs: FilesystemBlobs, bus: Any, limits: UploadLimits) -> None:
        self.db, self.blobs, self.bus, self.limits = db, blobs, bus, limits
        self.intake, self.files, self.log = IntakeStore(db), FileStore(db), EventLogStore(db)
        self.desk = actions.Desk(intake=self.intake, files=self.files, log=self.log, blobs=blobs, bus=bus, limits=limits)

    def put(self, key: str, data: bytes = b"sound", content_type: str = "application/octet-stream") -> None:
        """Somebody puts an object."""
        self.blobs.put(key, data, content_type)

    def arrived(self, key: str) -> Any:
        """Somebody says that it is there."""
        return actions.arrived(Arrival(key=key), self.desk)

    def post(
        self,
        notification: bytes,
        authorization: str | None = "Bearer s3cret-ü",
        token: BucketToken = TOKEN,
        query: NotificationQuery | None = None,
    ) -> None:
        """The store posts a notification."""
        decoded = msgspec.json.decode(notification, type=BucketNotification)
        receive_bucket_events(
            decoded,
            token,
            self.intake,
            self.files,
            self.log,
            self.blobs,
            self.limits,
            self.bus,
            query or NotificationQuery(),
            authorization,
        )

    def files_of(self, who: Principal) -> list[File]:
        """What somebody has."""
        return FileList(self.db).page(who.id, FileQuery()).items

    def sweep(self, later: timedelta = timedelta()) -> None:
        """Time passes, then the sweep comes."""
        self.db.execute(arrivals.update().values(created_at=func.now() - later))
        actions.sweep(self.desk)


@pytest.fixture
def bucket(db: Connection, blobs: FilesystemBlobs, bus: Any, limits: UploadLimits) -> Bucket:
    return Bucket(db, blobs, bus, limits)


# The files they become.


def test_a_dropped_object_becomes_a_file(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/interviews/Ömer 1.mp3"
    bucket.put(key)
    id = bucket.arrived(key)
    (file,) = bucket.files_of(ann)
    assert (file.id, file.name, file.size, file.state) == (id, "Ömer 1.mp3", 5, FileState.RECEIVED)
    assert file.content_type == "audio/mpeg"
    assert bucket.bus.facts == [FileReceived(file_id=id)]


def test_a_drop_told_again_is_old_news(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    assert bucket.arrived(key) is not None
    assert bucket.arrived(key) is None
    bucket.put(key)  # the same bytes once more, as a client's retry does
    assert bucket.arrived(key) is None
    assert len(bucket.files_of(ann)) == len(bucket.bus.facts) == 1


def test_other_bytes_under_the_same_key_are_another_file(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    for data in (b"monday", b"tuesday"):
        bucket.put(key, data)
        assert bucket.arrived(key) is not None
    assert sorted(file.size for file in bucket.files_of(ann)) == [6, 7]


def test_the_store_is_believed_and_not_the_news(bucket: Bucket, ann: Principal) -> None:
    assert bucket.arrived(f"drop/{ann.id}/never-there.mp3") is None
    assert bucket.files_of(ann) == []


def test_a_drop_above_the_limit_is_kept_and_says_so(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key, b"x" * 1001)
    bucket.arrived(key)
    (file,) = bucket.files_of(ann)
    assert file.state is FileState.UNREADABLE
    assert "1001 bytes" in str(file.error) or "1.0 KiB" in str(file.error)
    assert bucket.bus.facts == []
    bucket.sweep(timedelta(days=3))
    assert bucket.blobs.stat(key) is not None


def test_what_is_nobodys_is_left_alone(bucket: Bucket, ann: Principal) -> None:
    for key in (f"drop/{uuid4()}/a.mp3", "drop/ann/a.mp3", f"drop/{ann.id}/folder/", "originals/a.mp3", "elsewhere.mp3"):
        if not key.endswith("/"):
            bucket.put(key)
        assert bucket.arrived(key) is None
        if not key.endswith("/"):
            assert bucket.blobs.stat(key) is not None


def test_a_pinned_drop_is_taken_after_a_while_and_can_be_dropped_again(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    id = bucket.arrived(key)
    bucket.blobs.copy(key, "originals/a")
    bucket.files.pinned(id, key, "originals/a")
    bucket.sweep()
    assert bucket.blobs.stat(key) is not None
    bucket.sweep(timedelta(hours=2))
    assert bucket.blobs.stat(key) is None
    assert bucket.arrived(key) is None  # late news of what is gone
    bucket.put(key)
    assert bucket.arrived(key) not in (None, id)


def test_the_sweep_never_takes_a_newer_version(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    id = bucket.arrived(key)
    bucket.blobs.copy(key, "originals/a")
    bucket.files.pinned(id, key, "originals/a")
    bucket.put(key, b"newer, and not told yet")
    bucket.sweep(timedelta(hours=2))
    assert bucket.arrived(key) is not None
    assert len(bucket.files_of(ann)) == 2


def test_a_purged_drop_is_taken_at_once(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    bucket.files.purge(bucket.arrived(key))
    bucket.sweep()
    assert bucket.blobs.stat(key) is None


def test_a_drop_is_asked_for_by_name(bucket: Bucket, ann: Principal) -> None:
    drop = actions.drop(ann, bucket.blobs, "x/Tälk 1.mp3")
    assert drop.key.startswith(drop.prefix)
    assert drop.prefix == f"drop/{ann.id}/"
    assert drop.key.endswith("/Tälk 1.mp3")
    bucket.put(drop.key)
    bucket.arrived(drop.key)
    assert [file.name for file in bucket.files_of(ann)] == ["Tälk 1.mp3"]


def test_a_drop_whose_name_would_burst_its_key_is_refused(bucket: Bucket, ann: Principal) -> None:
    assert actions.drop(ann, bucket.blobs, "ü" * 127).url
    with pytest.raises(Invalid, match="too long for a drop"):
        actions.drop(ann, bucket.blobs, "ü" * 128)


# The notifications that stores send.


def minio(key: str, event: str = "s3:ObjectCreated:Put") -> bytes:
    """As MinIO posts it."""
    object = {"key": quote_plus(key), "size": 5, "eTag": "abc", "contentType": "audio/mpeg", "sequencer": "17"}
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventName": event,
        "userIdentity": {"principalId": "someone"},
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "auricle", "arn": "arn:aws:s3:::auricle"}, "object": object},
        "source": {"host": "127.0.0.1"},
    }
    return msgspec.json.encode({"EventName": event, "Key": f"auricle/{key}", "Records": [record]})


def ceph(*keys: str) -> bytes:
    """As Ceph posts it: another version, other extras, no prefix before the event's name, the key as it is."""
    records = [
        {
            "eventVersion": "2.2",
            "eventSource": "ceph:s3",
            "eventName": "ObjectCreated:CompleteMultipartUpload",
            "requestParameters": {"sourceIPAddress": ""},
            "s3": {
                "configurationId": "n",
                "bucket": {"name": "auricle", "ownerIdentity": {"principalId": "t"}, "id": "x"},
                "object": {"key": key, "size": 0, "etag": "", "versionId": "", "metadata": [], "tags": []},
            },
            "eventId": "1.2.3",
            "opaqueData": "",
        }
        for key in keys
    ]
    return msgspec.json.encode({"Records": records})


def test_minio_tells_of_a_key_with_spaces_and_pluses(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a + b ü.mp3"
    bucket.put(key)
    bucket.post(minio(key))
    bucket.post(minio(key))
    assert [file.name for file in bucket.files_of(ann)] == ["a + b ü.mp3"]


def test_ceph_tells_of_several_objects_at_once(bucket: Bucket, ann: Principal) -> None:
    keys = [f"drop/{ann.id}/{n} + %20.mp3" for n in range(3)]
    for key in keys:
        bucket.put(key)
    bucket.post(ceph(*keys), "Basic " + base64.b64encode("bucket:s3cret-ü".encode()).decode())
    assert len(bucket.files_of(ann)) == len(bucket.bus.facts) == 3


def test_a_store_that_sends_no_header_presents_the_token_in_the_address(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    with pytest.raises(Denied):
        bucket.post(ceph(key), None, query=NotificationQuery(token="wrong"))
    bucket.post(ceph(key), None, query=NotificationQuery(token="s3cret-ü"))
    assert len(bucket.files_of(ann)) == 1


def test_removals_and_test_events_are_no_arrivals(bucket: Bucket, ann: Principal) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    bucket.post(minio(key, "s3:ObjectRemoved:Delete"))
    bucket.post(b'{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"auricle"}')
    assert bucket.files_of(ann) == []


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer s3cret",
        "s3cret-ü",
        "Digest s3cret-ü",
        "Basic !!!",
        "Basic c2VjcmV0",
        "Basic /////w==",
    ],
)
def test_whoever_lacks_the_token_is_not_believed(bucket: Bucket, ann: Principal, authorization: str | None) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    with pytest.raises(Denied, match="BUCKET_TOKEN"):
        bucket.post(minio(key), authorization)
    assert bucket.files_of(ann) == []


@pytest.mark.parametrize("authorization", ["Bearer ", "Basic Og==", "Basic ", None])
def test_without_a_token_set_nobody_is_believed(bucket: Bucket, authorization: str | None) -> None:
    with pytest.raises(Denied):
        bucket.post(b'{"Records":[]}', authorization, BucketToken(value=""))
