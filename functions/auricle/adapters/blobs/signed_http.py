"""Bytes behind signed URLs, for functions that hold no credential."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3

from auricle.adapters.blobs.http import connections, reason
from auricle.errors import NotFound, Permanent, Retryable

PAUSES = (0.2, 1.0)
"""Seconds between tries: a hiccup must not cost a released piece of work; longer troubles are the broker's."""
BUSY = (408, 425, 429, 500, 502, 503, 504, 507)
LARGEST = 512 * 2**20
"""Bytes. A chunk of an hour is 115 MiB of FLAC; evidence of voices a few."""
DEADLINE = 300.0
"""Seconds for one fetch, however slowly bytes drip in."""
BLOCK = 2**20
DEFAULT_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
Result = TypeVar("Result")


class SignedHttp:
    """`SignedBlobs` over HTTP. `origins` (`https://blobs.example.org`, with any unusual port) are all it talks to.

    `largest`: bytes that `fetch` accepts. URLs are permissions, so no message and no cause ever holds one.
    """

    def __init__(self, origins: tuple[str, ...], *, largest: int = LARGEST, pauses: tuple[float, ...] = PAUSES) -> None:
        self._origins = {_origin(origin) for origin in origins}
        self._largest = largest
        self._pauses = pauses
        self._pool = connections()

    def fetch(self, url: str) -> bytes:
        """The bytes; `NotFound`, `Permanent` (refused, expired, too many) or `Retryable`."""
        self._check(url)
        return self._patiently(lambda: self._get(url))

    def store(self, url: str, data: bytes) -> None:
        """PUT the bytes, whole or not at all; errors as `fetch`."""
        self._check(url)
        self._patiently(lambda: self._put(url, data))

    def _check(self, url: str) -> None:
        try:
            origin = _origin(url)
        except ValueError:
            origin = None
        if origin not in self._origins:
            raise Permanent("This address is not on an allowed object store: OBJECT_ORIGINS names those that are.")

    def _get(self, url: str) -> bytes:
        response = self._pool.request(
            "GET", url, redirect=False, preload_content=False, decode_content=False, headers={"Accept-Encoding": "identity"}
        )
        try:
            _judge(response.status)
            if int(response.headers.get("Content-Length", 0)) > self._largest:
                raise self._too_large()
            return self._read(response)
        finally:
            response.close()

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        deadline, found = time.monotonic() + DEADLINE, bytearray()
        while block := response.read(BLOCK):
            found += block
            if len(found) > self._largest:
                raise self._too_large()
            if time.monotonic() > deadline:
                raise Retryable("The object store sends its bytes too slowly.")
        return bytes(found)

    def _put(self, url: str, data: bytes) -> None:
        response = self._pool.request(
            "PUT", url, body=data, redirect=False, headers={"Content-Type": "application/octet-stream"}, decode_content=False
        )
        _judge(response.status)

    def _too_large(self) -> Permanent:
        return Permanent(f"The object has more than {self._largest} bytes: that is no piece of work of ours.")

    def _patiently(self, work: Callable[[], Result]) -> Result:
        for pause in self._pauses:
            try:
                return _translated(work)
            except Retryable:
                time.sleep(pause)
        return _translated(work)


def _translated(work: Callable[[], Result]) -> Result:
    """Library errors as ours. Their texts hold the URL, so they are not chained."""
    try:
        return work()
    except urllib3.exceptions.LocationParseError:
        raise Permanent("This address is not a URL.") from None
    except urllib3.exceptions.HTTPError as error:
        raise Retryable(f"The object store cannot be reached: {reason(error)}.") from None


def _judge(status: int) -> None:
    """What the store's answer means for us."""
    if 200 <= status < 300:
        return
    if status == 404:
        raise NotFound("There is no such object (any more).")
    if status in BUSY:
        raise Retryable(f"The object store is busy or full (status {status}).")
    if 300 <= status < 400:
        raise Permanent(f"The object store sends us elsewhere (status {status}), and redirects are never followed.")
    raise Permanent(f"The object store refused the link (status {status}): it has expired or is not for this.")


def _origin(url: str) -> Origin:
    """Scheme, host and port; `ValueError` for what is no plain http(s) URL."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or "\\" in url:
        raise ValueError("not an origin")
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]
