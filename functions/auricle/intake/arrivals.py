"""What a bucket tells of itself: S3 event notifications, as MinIO, Ceph and S3 send them."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Annotated
from urllib.parse import unquote_plus

import msgspec

from auricle.contract.choices import Permission, Scale
from auricle.contract.function import route
from auricle.contract.http import Body, Header, Query
from auricle.errors import Denied
from auricle.files.store import FileStore
from auricle.intake import actions
from auricle.intake.model import Arrival, BucketToken, UploadLimits
from auricle.intake.store import IntakeStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus


class BucketObject(msgspec.Struct, frozen=True):
    """The object of a record; `key` is URL-encoded, with + for a space."""

    key: str
    size: int = 0
    etag: str = msgspec.field(default="", name="eTag")


class BucketEntity(msgspec.Struct, frozen=True):
    """Where it happened."""

    object: BucketObject


class BucketRecord(msgspec.Struct, frozen=True):
    """One event: `eventName` is `ObjectCreated:Put` and the like, with or without `s3:` before it."""

    s3: BucketEntity
    name: str = msgspec.field(default="", name="eventName")
    source: str = msgspec.field(default="", name="eventSource")

    @property
    def key(self) -> str:
        """The object's key. S3 and MinIO send it URL-encoded; Ceph as it is."""
        return self.s3.object.key if self.source == "ceph:s3" else unquote_plus(self.s3.object.key)

    @property
    def created(self) -> bool:
        """Whether an object is there that was not before."""
        return self.name.removeprefix("s3:").startswith("ObjectCreated")


class BucketNotification(Body, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What is posted. Everything else in it (who, when, which server) is ignored; a test event has no records."""

    records: tuple[BucketRecord, ...] = msgspec.field(default=(), name="Records")


class NotificationQuery(Query, frozen=True, kw_only=True):
    """`token` is BUCKET_TOKEN, for stores (Ceph over http) that can send no header."""

    token: str | None = None


@route("POST /api/bucket-events", permission=Permission.PUBLIC, function="bucket_events", scale=Scale.BURST)
def receive_bucket_events(
    notification: BucketNotification,
    token: BucketToken,
    intake: IntakeStore,
    files: FileStore,
    log: EventLogStore,
    blobs: BlobStore,
    limits: UploadLimits,
    bus: Bus,
    query: NotificationQuery,
    authorization: Annotated[str | None, Header("Authorization")] = None,
) -> None:
    """Take an S3 event notification, one file per created object under `uploads/` and `drop/`.

    Presents BUCKET_TOKEN as a bearer token, as the password of Basic authentication, or as `?token=`.
    """
    if not (_presents(authorization, token) or _same(query.token or "", token)):
        raise Denied(
            "Bucket notifications present BUCKET_TOKEN: Authorization: Bearer …. Without that setting they are refused."
        )
    desk = actions.Desk(intake=intake, files=files, log=log, blobs=blobs, bus=bus, limits=limits)
    for record in notification.records:
        if record.created:
            object = record.s3.object
            arrival = Arrival(key=record.key, etag=object.etag.strip('"'), size=object.size)
            actions.arrived(arrival, desk)


def _presents(authorization: str | None, token: BucketToken) -> bool:
    """Whether the header holds the token. Ceph cannot send a bearer token, only the name and password of its URL."""
    scheme, _, credential = (authorization or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            credential = base64.b64decode(credential, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return _same(credential.strip(), token)


def _same(given: str, token: BucketToken) -> bool:
    return bool(token.value) and hmac.compare_digest(given.encode(), token.value.encode())
