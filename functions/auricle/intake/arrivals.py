"""What a bucket tells of itself becomes files: the function that object stores post their notifications to."""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from typing import Annotated

from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Permission, Scale
from auricle.contract.function import route
from auricle.contract.http import Header, Query
from auricle.errors import Denied, Rejected
from auricle.files.store import FileStore
from auricle.intake import actions
from auricle.intake.model import Arrival, BucketToken, UploadLimits
from auricle.intake.notices import BucketNotification, ObjectEvent, arrivals_in
from auricle.intake.store import IntakeStore
from auricle.notifications.store import EventLogStore
from auricle.ports.blobs import BlobStore
from auricle.ports.bus import Bus

log = logging.getLogger(__name__)
TAKEN = 200
"""Objects of one notification that the store is asked about, so that it is answered within seconds. Stores tell one at a
time; of what is above it drops are found by the sweep, and uploads when their clients complete them."""


class NotificationQuery(Query, frozen=True, kw_only=True):
    """`token` is BUCKET_TOKEN, for stores (Ceph over http) that can send no header."""

    token: str | None = None


@route("POST /api/bucket-events", permission=Permission.PUBLIC, function="bucket_events", scale=Scale.BURST)
def receive_bucket_events(
    notification: BucketNotification,
    token: BucketToken,
    intake: IntakeStore,
    files: FileStore,
    log_of_events: EventLogStore,
    blobs: BlobStore,
    limits: UploadLimits,
    bus: Bus,
    query: NotificationQuery,
    trail: Trail,
    authorization: Annotated[str | None, Header("Authorization")] = None,
) -> None:
    """Take an S3 event notification, one file per created object under `uploads/` and `drop/`.

    Presents BUCKET_TOKEN as a bearer token, as the password of Basic authentication, or as `?token=`.
    """
    if not (_presents(authorization, token) or _same(query.token or "", token)):
        raise Denied(
            "Bucket notifications present BUCKET_TOKEN: Authorization: Bearer …. Without that setting they are refused."
        )
    desk = actions.Desk(intake=intake, files=files, log=log_of_events, blobs=blobs, bus=bus, limits=limits, trail=trail)
    ours = [event for event in arrivals_in(notification) if _is_ours(event, token)]
    settled = intake.arrived_of((event.subject, event.etag) for event in ours)
    fresh = [event for event in ours if (event.subject, event.etag) not in settled]
    for event in fresh[:TAKEN]:
        _take(event, desk)
    if len(fresh) > TAKEN:
        log.warning("one notification told of %s new objects; all above %s are left to the sweep", len(fresh), TAKEN)


def _take(event: ObjectEvent, desk: actions.Desk) -> None:
    """What cannot be taken is said in the log; the store cannot mend it, and repeating would hold up what comes after it."""
    try:
        actions.arrived(Arrival(key=event.subject, etag=event.etag, size=event.size), desk)
    except Rejected as error:
        log.warning("%s %s from %s was not taken: %s", event.type, event.id, event.source, error)


def _is_ours(event: ObjectEvent, token: BucketToken) -> bool:
    """Whether it happened in our bucket: the token may be set for others' notifications by mistake."""
    if token.bucket and event.bucket != token.bucket:
        log.warning("%s from %s is refused: our bucket is %s", event.type, event.source, token.bucket)
        return False
    return True


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
