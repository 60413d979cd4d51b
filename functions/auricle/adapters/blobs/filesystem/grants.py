"""Signed URLs of the filesystem store: what a URL allows is in its query, under an HMAC-SHA256 that only we can make."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from auricle.adapters.blobs.keys import quoted
from auricle.errors import Denied

PATH = "/blobs/"
PURPOSE = b"auricle blob url v1\n"
"""Keeps these signatures apart from anything else that the same key may sign."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What one URL allows. `method` is GET (HEAD too) or PUT; `expires` in seconds since 1970.

    `size`: the most bytes of a PUT; of a part (`upload`, `part`) exactly that many.
    """

    method: str
    key: str
    expires: int
    size: int | None = None
    filename: str | None = None
    upload: str | None = None
    part: int | None = None


def url(base: str, grant: Grant, secret: bytes) -> str:
    """The URL for `grant` below `base`."""
    given = {name: getattr(grant, name) for name in ("expires", "size", "filename", "upload", "part")}
    query = {name: value for name, value in given.items() if value is not None}
    return f"{base}{PATH}{quoted(grant.key)}?{urlencode({**query, 'signature': _signature(grant, secret)})}"


def read(method: str, key: str, query: Mapping[str, str], secret: bytes, now: float) -> Grant:
    """What the URL allows; `Denied` unless we signed it, for this method and key, and it has not expired."""
    try:
        grant = Grant(
            method="GET" if method == "HEAD" else method,
            key=key,
            expires=int(query.get("expires", "0")),
            size=_number(query.get("size")),
            filename=query.get("filename"),
            upload=query.get("upload"),
            part=_number(query.get("part")),
        )
        genuine = hmac.compare_digest(_signature(grant, secret).encode(), query.get("signature", "").encode())
    except ValueError:  # not a number, or text that UTF-8 cannot hold
        genuine = False
    if not genuine:
        raise Denied("This link is not valid: it must be used exactly as it was given. Ask for a fresh one.")
    if grant.expires < now:
        raise Denied("This link has expired: ask for a fresh one.")
    return grant


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _signature(grant: Grant, secret: bytes) -> str:
    """Over the JSON array of all fields: no two grants have the same text."""
    return hmac.new(secret, PURPOSE + msgspec.json.encode(msgspec.structs.astuple(grant)), hashlib.sha256).hexdigest()
