"""S3 event notifications as MinIO, Ceph and S3 send them, read as the CloudEvents that they stand for.

The mapping is CloudEvents' own adapter for S3 (github.com/cloudevents/spec, cloudevents/adapters/aws-s3.md): one event per
record, `type` com.amazonaws.s3.<eventName>, `subject` the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_plus

import msgspec

from auricle.contract.http import Body

NAMESPACE = "com.amazonaws.s3."
CREATED = f"{NAMESPACE}ObjectCreated"
NO_COLUMN_HOLDS = "\0"
"""A character that keys may have and PostgreSQL's text has not."""


class BucketObject(msgspec.Struct, frozen=True):
    """The object of a record; `key` is URL-encoded, with + for a space (Ceph: as it is)."""

    key: str = ""
    size: int = 0
    etag: str = msgspec.field(default="", name="eTag")
    sequencer: str = ""


class BucketName(msgspec.Struct, frozen=True):
    """The bucket of a record."""

    name: str = ""


class BucketEntity(msgspec.Struct, frozen=True):
    """Where it happened."""

    object: BucketObject = BucketObject()
    bucket: BucketName = BucketName()


class Responded(msgspec.Struct, frozen=True):
    """What the store answered to whoever made the object: together unique."""

    request_id: str = msgspec.field(default="", name="x-amz-request-id")
    id_2: str = msgspec.field(default="", name="x-amz-id-2")


class BucketRecord(msgspec.Struct, frozen=True):
    """One event: `eventName` is `ObjectCreated:Put` and the like, with or without `s3:` before it."""

    s3: BucketEntity = BucketEntity()
    name: str = msgspec.field(default="", name="eventName")
    source: str = msgspec.field(default="", name="eventSource")
    region: str = msgspec.field(default="", name="awsRegion")
    time: str = msgspec.field(default="", name="eventTime")
    responded: Responded = msgspec.field(default=Responded(), name="responseElements")


class BucketNotification(Body, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What is posted. Everything else in it (who, which server) is ignored; test events and probes have no records."""

    records: tuple[BucketRecord, ...] = msgspec.field(default=(), name="Records")


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A record as a CloudEvent: its attributes, and of its data what we look at. `subject` is the key, decoded."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    bucket: str
    etag: str
    size: int

    @property
    def created(self) -> bool:
        """Whether an object is there that was not before."""
        return self.type.startswith(CREATED)


def event_of(record: BucketRecord) -> ObjectEvent:
    """The record as CloudEvents has it. Stores that tell no request (its `id`) have a sequencer, unique per key."""
    object, bucket = record.s3.object, record.s3.bucket.name
    key = object.key if record.source == "ceph:s3" else unquote_plus(object.key)
    told = ".".join(part for part in (record.responded.request_id, record.responded.id_2) if part)
    return ObjectEvent(
        id=told or ".".join(part for part in (key, object.sequencer or object.etag) if part),
        source=".".join(part for part in (record.source, record.region, bucket) if part),
        type=NAMESPACE + record.name.removeprefix("s3:"),
        subject=key,
        time=record.time,
        bucket=bucket,
        etag=object.etag.strip('"'),
        size=object.size,
    )


def arrivals_in(notification: BucketNotification) -> Iterator[ObjectEvent]:
    """What is new in it: per key its last word, because what is there now is what counts."""
    newest: dict[str, ObjectEvent] = {}
    for record in notification.records:
        event = event_of(record)
        if event.created and event.subject and NO_COLUMN_HOLDS not in event.subject:
            newest[event.subject] = event
    yield from newest.values()
