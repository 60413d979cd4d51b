"""HTTP to authorities: revocation lists and OCSP. Every wait and every byte bounded, no redirect, only where it is allowed."""

from __future__ import annotations

import time
from collections.abc import Collection
from urllib.parse import urlsplit

import urllib3

CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 5.0
TOTAL_SECONDS = 20.0
"""Of one request, from its first byte to its last: a person waits for it."""
PIECE = 64 * 1024


class Away(Exception):
    """No answer that could be used; the sentence says why."""


class Web:
    """Requests to authorities. Safe for threads."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        """`origins`: the only ones that are asked; empty: any."""
        self._origins = {origin(allowed) for allowed in origins}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
        self._pool = urllib3.PoolManager(maxsize=4, retries=False, timeout=timeout)

    def get(self, url: str, most: int) -> bytes:
        """The whole body, of at most `most` bytes."""
        return self._ask("GET", url, None, {}, most)

    def post(self, url: str, body: bytes, kind: str, most: int) -> bytes:
        """What comes back for `body`."""
        return self._ask("POST", url, body, {"Content-Type": kind}, most)

    def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str], most: int) -> bytes:
        where = self._allowed(url)
        end = time.monotonic() + TOTAL_SECONDS
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={"User-Agent": "auricle", "Accept-Encoding": "identity", **headers},
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                return self._read(response, where, most, end)
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Away(f"{where} cannot be reached ({type(error).__name__})") from error

    def _read(self, response: urllib3.BaseHTTPResponse, where: str, most: int, end: float) -> bytes:
        if response.status != 200:
            raise Away(f"{where} answered with HTTP {response.status}")
        pieces, size = [], 0
        while piece := response.read1(PIECE, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise Away(f"{where} sent more than {most} bytes")
            if time.monotonic() > end:
                raise Away(f"{where} answers too slowly")
        return b"".join(pieces)

    def _allowed(self, url: str) -> str:
        """The host, when it may be asked."""
        try:
            parts, found = urlsplit(url), origin(url)
        except ValueError as error:
            raise Away("an address that cannot be read is named") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise Away(f"an address that is not http is named ({parts.scheme or 'none'})")
        if self._origins and found not in self._origins:
            raise Away(f"{parts.hostname} is not among the allowed origins")
        return parts.netloc


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
