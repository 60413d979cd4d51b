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
from auricle.intake import arrivals as arriving
from auricle.intake.arrivals import NotificationQuery, receive_bucket_events
from auricle.intake.lost import take_lost
from auricle.intake.model import Arrival, BucketToken, UploadLimits
from auricle.intake.notices import BucketNotification, BucketRecord, ObjectEvent, arrivals_in, event_of
from auricle.intake.store import IntakeStore, arrivals
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import Blob
from builders.one_room import trail_within

TOKEN = BucketToken(value="s3cret-ü")


class Bucket:
    """A bucket that tells of its objects."""

    def __init__(self, db: Connection, blobs: FilesystemBlobs, bus: Any, limits: UploadLimits) -> None:
        self.db, self.blobs, self.bus, self.limits = db, blobs, bus, limits
        self.intake, self.files, self.log = IntakeStore(db), FileStore(db), EventLogStore(db)
        self.desk = actions.Desk(
            intake=self.intake, files=self.files, log=self.log, blobs=blobs, bus=bus, limits=limits, trail=trail_within(db)
        )

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
            trail_within(self.db),
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


def test_a_notification_of_another_bucket_is_refused(bucket: Bucket, ann: Principal, caplog: pytest.LogCaptureFixture) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    bucket.post(minio(key), token=BucketToken(value=TOKEN.value, bucket="somebody-elses"))
    assert bucket.files_of(ann) == []
    assert "our bucket is somebody-elses" in caplog.text
    bucket.post(minio(key), token=BucketToken(value=TOKEN.value, bucket="auricle"))
    assert len(bucket.files_of(ann)) == 1


def test_records_in_any_order_and_told_again_make_each_file_once(bucket: Bucket, ann: Principal) -> None:
    keys = [f"drop/{ann.id}/{number}.mp3" for number in range(4)]
    for key in keys:
        bucket.put(key, key.encode())
    for order in (keys[::-1], keys + keys, keys[2:] + keys[:2]):
        bucket.post(ceph(*order))
    assert sorted(file.name for file in bucket.files_of(ann)) == ["0.mp3", "1.mp3", "2.mp3", "3.mp3"]
    assert len(bucket.bus.facts) == 4


def test_one_bad_key_keeps_no_other_object_waiting(bucket: Bucket, ann: Principal, caplog: pytest.LogCaptureFixture) -> None:
    good = f"drop/{ann.id}/good.mp3"
    bucket.put(good)
    bucket.post(ceph(f"drop/{ann.id}/../x.mp3", f"drop/{ann.id}/\0.mp3", "", "uploads/\0", good))
    assert [file.name for file in bucket.files_of(ann)] == ["good.mp3"]
    assert "was not taken" in caplog.text


def test_a_huge_batch_asks_the_store_a_bounded_number_of_times(
    bucket: Bucket, ann: Principal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, asked = bucket.blobs.stat, []
    monkeypatch.setattr(bucket.blobs, "stat", lambda key: asked.append(key) or real(key))
    bucket.post(ceph(*[f"drop/{ann.id}/{number}.mp3" for number in range(10_000)]))
    assert len(asked) == arriving.TAKEN
    assert "10000 new objects" in caplog.text


def test_what_has_arrived_already_is_not_asked_for(bucket: Bucket, ann: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"drop/{ann.id}/a.mp3"
    bucket.put(key)
    bucket.arrived(key)
    blob = bucket.blobs.stat(key)
    assert blob is not None
    monkeypatch.setattr(bucket.blobs, "stat", lambda key: pytest.fail("the store was asked"))
    bucket.post(minio(key).replace(b'"abc"', f'"{blob.etag}"'.encode()))
    assert len(bucket.files_of(ann)) == 1


# Dropped, and never told.


def test_the_sweep_finds_drops_that_nobody_told_of(bucket: Bucket, ann: Principal, bob: Principal) -> None:
    told, lost = f"drop/{ann.id}/told.mp3", f"drop/{bob.id}/folder/lost ü+.mp3"
    for key in (told, lost):
        bucket.put(key, key.encode())
    bucket.arrived(told)
    assert [take_lost(bucket.desk), take_lost(bucket.desk)] == [1, 0]
    assert [file.name for file in bucket.files_of(bob)] == ["lost ü+.mp3"]
    assert len(bucket.files_of(ann)) == 1
    bucket.post(ceph(lost))  # told after all
    assert len(bucket.bus.facts) == 2


def test_the_sweep_leaves_what_is_nobody_s_and_goes_on_another_time(bucket: Bucket, ann: Principal) -> None:
    for key in (f"drop/{uuid4()}/a.mp3", "drop/stray.mp3", "elsewhere/a.mp3"):
        bucket.put(key)
    for number in range(5):
        bucket.put(f"drop/{ann.id}/{number}.mp3", b"%d" % number)
    assert [take_lost(bucket.desk, most=2) for _ in range(4)] == [2, 2, 1, 0]
    assert len(bucket.files_of(ann)) == 5


def test_a_file_above_the_limit_is_found_once(bucket: Bucket, ann: Principal) -> None:
    bucket.put(f"drop/{ann.id}/a.mp3", b"x" * 1001)
    assert [take_lost(bucket.desk), take_lost(bucket.desk)] == [1, 0]
    assert bucket.files_of(ann)[0].state is FileState.UNREADABLE


def test_a_bucket_with_keys_that_we_do_not_take_is_swept_all_the_same(
    bucket: Bucket, ann: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = f"drop/{ann.id}/good.mp3"
    bucket.put(good)
    there = [Blob(f"drop/{ann.id}/../x.mp3", 1, "e"), Blob(f"drop/{ann.id}/\0", 1, "e"), *bucket.blobs.list("drop/")]
    monkeypatch.setattr(bucket.blobs, "list", lambda prefix: iter(there))
    assert take_lost(bucket.desk) == 1


# As CloudEvents have it.


def test_a_record_is_the_cloudevent_that_the_specification_makes_of_it() -> None:
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8"},
        "s3": {"bucket": {"name": "mybucket"}, "object": {"key": "Happy+Face%2B.jpg", "size": 1024, "eTag": '"d41d8"'}},
    }
    event = event_of(msgspec.convert(record, BucketRecord))
    assert event == ObjectEvent(
        id="C3D13FE58DE4C810.FMyUVURIY8",
        source="aws:s3.us-west-2.mybucket",
        type="com.amazonaws.s3.ObjectCreated:Put",
        subject="Happy Face+.jpg",
        time="1970-01-01T00:00:00.000Z",
        bucket="mybucket",
        etag="d41d8",
        size=1024,
    )
    assert event.created


def test_records_without_a_request_still_have_ids_of_their_own() -> None:
    first, second = (
        event_of(msgspec.json.decode(minio("drop/a b", "s3:ObjectCreated:Copy"), type=BucketNotification).records[0])
        for _ in range(2)
    )
    assert (first.id, first.type) == ("drop/a b.17", "com.amazonaws.s3.ObjectCreated:Copy")
    assert first == second  # a repeated record is the same event
    assert first.source == "minio:s3.auricle"


@pytest.mark.parametrize(
    "name", ["s3:ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "s3:ObjectAccessed:Get", "s3:TestEvent", ""]
)
def test_only_creations_are_arrivals(name: str) -> None:
    assert list(arrivals_in(msgspec.json.decode(minio("drop/a", name), type=BucketNotification))) == []


@pytest.mark.parametrize("body", [b"{}", b'{"Records":[]}', b'{"Records":[{}]}', b'{"Event":"s3:TestEvent"}'])
def test_probes_and_empty_notifications_are_welcome(bucket: Bucket, body: bytes) -> None:
    bucket.post(body)
    with pytest.raises(Denied):
        bucket.post(body, "Bearer wrong")


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
