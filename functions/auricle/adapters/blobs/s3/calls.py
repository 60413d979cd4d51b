"""Calls to an S3 service: signed, bounded in time, repeated when that may help, and their errors in our words."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import urllib3

from auricle.adapters.blobs.http import READ_SECONDS, connections, reason
from auricle.adapters.blobs.s3 import xml
from auricle.adapters.blobs.s3.signing import Signer
from auricle.errors import AuricleError, Conflict, Invalid, NotFound, Retryable, TooLarge

PAUSES = (0.1, 0.4, 1.6)
"""Seconds between tries, give or take a half, so that many pods do not knock at once."""
BUSY = (429, 500, 502, 503, 504)
BUSY_CODES = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted")
FULL_CODES = ("QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "EntityQuotaExceeded")
ABSENT_CODES = ("NoSuchKey", "NoSuchUpload", "NoSuchVersion", "")
NEVER_CODES = ("XMinioInvalidResourceName",)
"""MinIO: the id of an upload that can be none."""
OUR_FAULT = {
    "InvalidPart": "A part is not there, or it was replaced since: upload it again and list the parts anew.",
    "InvalidPartOrder": "The parts are not in rising order of their numbers: sort them.",
    "EntityTooSmall": "A part other than the last one is smaller than 5 MiB: use larger parts.",
    "KeyTooLongError": "The object's key is too long for this store: shorten the name.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` find names in any case."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    @property
    def etag(self) -> str:
        """Without its quotes; empty when the store gave none."""
        return self.headers.get("ETag", "").strip('"')


class Calls:
    """One bucket of one service. `pauses`: seconds between tries."""

    def __init__(self, endpoint: str, signer: Signer, pauses: tuple[float, ...] = PAUSES) -> None:
        self._endpoint = endpoint
        self._signer = signer
        self._pauses = pauses
        self._pool = connections()

    def call(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        also: tuple[int, ...] = (),
        seconds: float = READ_SECONDS,
    ) -> Answer:
        """Ask, and ask again while the store is away or busy.

        Statuses of 400 and more raise, except those in `also`. `seconds` without a byte end a try.
        """
        for pause in self._pauses:
            try:
                return self._once(method, key, query or {}, headers or {}, body, also, seconds)
            except _Busy:
                time.sleep(pause * (0.5 + random.random()))  # noqa: S311 (spreads load, hides nothing)
        return self._once(method, key, query or {}, headers or {}, body, also, seconds)

    def _once(
        self,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        also: tuple[int, ...],
        seconds: float,
    ) -> Answer:
        url = self._signer.address(self._endpoint, key, query)
        signed = self._signer.headers(method, url, headers, body)
        try:
            response = self._pool.request(
                method,
                url,
                body=body or None,
                headers=signed,
                redirect=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=self._pool.connection_pool_kw["timeout"].connect_timeout, read=seconds),
            )
        except urllib3.exceptions.HTTPError as error:  # not chained: its text holds the URL
            raise _Busy(f"The object store cannot be reached: {reason(error)}.") from None
        answer = Answer(response.status, response.headers, response.data)
        code = xml.error_code(answer.body) if _may_be_error(method, answer) else ""
        if (answer.status < 300 and not code) or answer.status in also:
            return answer
        raise _error(answer.status, code)


class _Busy(Retryable):
    """Worth another try right away."""


def _may_be_error(method: str, answer: Answer) -> bool:
    """Also a 200: long calls (complete, copy, delete many) answer before they know."""
    return answer.status >= 300 or (method in ("POST", "PUT") and bool(answer.body))


def _error(status: int, code: str) -> AuricleError:
    """What the store's refusal means for us."""
    told = code or f"status {status}"
    if status == 507 or code in FULL_CODES:
        return Retryable("The object store is full: free some space or raise its quota.", delay=60)
    if status in BUSY or code in BUSY_CODES:
        return _Busy(f"The object store is busy ({told}).")
    if (status == 404 and code in ABSENT_CODES) or code in NEVER_CODES:
        return NotFound("There is no such object or upload (any more).")
    if status == 404:
        return Retryable(f"The object store does not have our bucket ({told}): create it, or correct S3_BUCKET.", delay=60)
    if status == 412:
        return Conflict("The object has changed since: look at it again.")
    if code == "RequestTimeTooSkewed":
        return Retryable("The object store's clock and ours differ by more than 15 minutes: set them.", delay=60)
    if status in (401, 403):
        words = "check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and what they may do"
        return Retryable(f"The object store refuses our credentials ({told}): {words}.", delay=60)
    if code == "EntityTooLarge" or status == 413:
        return TooLarge("The object store does not take objects of this size.")
    if code in OUR_FAULT:
        return Invalid(OUR_FAULT[code])
    return AuricleError(f"The object store refused a request ({told}): check S3_ENDPOINT and S3_REGION.")
