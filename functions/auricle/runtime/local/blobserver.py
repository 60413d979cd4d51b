"""The filesystem store's URLs over HTTP: what an object store's own server does elsewhere.

Every request carries its permission in the URL (`adapters.blobs.filesystem.grants`); there is nothing else to sign in with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO
from urllib.parse import urlsplit

from flask import Request, Response

from auricle.adapters.blobs.filesystem import FilesystemBlobs
from auricle.adapters.blobs.filesystem.grants import PATH, Grant
from auricle.adapters.blobs.rfc6266 import attachment
from auricle.errors import AuricleError, Denied, Invalid, NotFound, Rejected, TooLarge
from auricle.ports.blobs import Blob
from auricle.runtime import problems

Arrived = Callable[[str, str, int], None]
"""Called with key, etag and size of each whole object that was put under `drop/`."""
DROP = "drop/"
BLOCK = 256 * 1024
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
UPLOADED_TYPE_OF_FORMS = "application/x-www-form-urlencoded"
"""What some clients say when they know nothing; no recording has this type."""
SAFETY = {
    # Uploaded pages must not run with our origin's rights, not even when somebody opens their URL.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the URL is the permission
    "Cache-Control": "private, no-cache",
}
CORS_EXPOSED = "ETag, Content-Range, Accept-Ranges, Content-Length, Content-Disposition"


class LengthRequired(Rejected):
    """A body without a length."""

    status = 411
    title = "Length required"


class NotSatisfiable(Rejected):
    """A range that begins behind the end."""

    status = 416
    title = "Range not satisfiable"


class PreconditionFailed(Rejected):
    """The object is not the one the caller means."""

    status = 412
    title = "Precondition failed"


class MethodNotAllowed(Rejected):
    """Neither reading nor storing."""

    status = 405
    title = "Method not allowed"


def serve(request: Request, store: FilesystemBlobs, arrived: Arrived | None = None) -> Response:
    """Answer GET, HEAD, PUT and OPTIONS below `/blobs/`; errors are problem documents. The body is never held in memory.

    `arrived` is told of whole objects under `drop/` before the client is: if it fails, so does the PUT, and a repeat is safe.
    """
    try:
        response = _answer(request, store, arrived)
    except AuricleError as error:
        response = _refusal(error)
    for name, value in SAFETY.items():
        response.headers[name] = value
    _allow_origin(request, response, store)
    return response


def _answer(request: Request, store: FilesystemBlobs, arrived: Arrived | None) -> Response:
    if request.method == "OPTIONS":
        return _preflight(request, store)
    if request.method not in ("GET", "HEAD", "PUT"):
        raise MethodNotAllowed("Objects are read with GET and stored with PUT.")
    if not request.path.startswith(PATH):
        raise NotFound("Objects are below /blobs/.")
    grant = store.grant(request.method, request.path.removeprefix(PATH), request.args)
    if request.method == "PUT":
        return _receive(request, store, grant, arrived)
    return _send(request, store, grant)


def _send(request: Request, store: FilesystemBlobs, grant: Grant) -> Response:
    blob, reader = store.opened(grant.key)
    try:
        response = _selected(request, blob, reader)
    except BaseException:
        reader.close()
        raise
    response.call_on_close(reader.close)  # a generator that never started would not close it
    response.headers["ETag"] = f'"{blob.etag}"'
    response.headers["Accept-Ranges"] = "bytes"
    if grant.filename is not None:
        response.headers["Content-Disposition"] = attachment(grant.filename)
    return response


def _selected(request: Request, blob: Blob, reader: BinaryIO) -> Response:
    """The whole object, a range of it, or why not."""
    if request.if_match and not request.if_match.contains(blob.etag):
        raise PreconditionFailed("The object has changed since: begin again with the new one.")
    if request.if_none_match.contains(blob.etag):
        return Response(status=304)
    chosen = _range(request, blob)
    start, end = chosen or (0, blob.size)
    reader.seek(start)
    response = Response(_blocks(reader, end - start), status=206 if chosen else 200, content_type=blob.content_type)
    response.headers["Content-Length"] = str(end - start)
    if chosen:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    return response


def _range(request: Request, blob: Blob) -> tuple[int, int] | None:
    """First byte and the one after the last; None for all of it.

    What is not one well-formed range is ignored, as RFC 9110 allows (several ranges too), and so is one that is meant for
    another version (If-Range; we send no Last-Modified, so no date can match).
    """
    found = ONE_RANGE.fullmatch(request.headers.get("Range", "").strip().lower())
    if found is None or found.group(1, 2) == ("", ""):
        return None
    if "If-Range" in request.headers and request.if_range.etag != blob.etag:
        return None
    first, last = found.groups()
    start = int(first) if first else max(0, blob.size - int(last))
    end = min(int(last) + 1, blob.size) if first and last else blob.size
    if first and last and int(last) < start:
        return None
    if start >= blob.size:
        raise NotSatisfiable(f"The object has {blob.size} bytes: ask for a range inside.", size=blob.size)
    return start, end


def _blocks(reader: BinaryIO, count: int) -> Iterator[bytes]:
    while count > 0 and (block := reader.read(min(BLOCK, count))):
        count -= len(block)
        yield block


def _receive(request: Request, store: FilesystemBlobs, grant: Grant, arrived: Arrived | None) -> Response:
    length = request.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in request.headers:
        raise LengthRequired("Say how many bytes come: send a Content-Length.")
    _check_length(int(length), grant)
    body = _Body(request.environ["wsgi.input"], int(length))
    if grant.upload is not None and grant.part is not None:
        etag = store.put_part(grant.key, grant.upload, grant.part, body).etag
    else:
        blob = store.put(grant.key, body, _type(request))
        etag = blob.etag
        if arrived is not None and blob.key.startswith(DROP):
            arrived(blob.key, blob.etag, blob.size)
    return Response(status=200, headers={"ETag": f'"{etag}"', "Content-Length": "0"})


def _check_length(length: int, grant: Grant) -> None:
    if grant.size is None:
        return
    if length > grant.size:
        raise TooLarge(f"This link takes {grant.size} bytes and {length} were announced: send what it was made for.")
    if grant.part is not None and length != grant.size:
        raise Invalid(f"This link takes exactly {grant.size} bytes and {length} were announced: send the whole part.")


def _type(request: Request) -> str:
    return "" if request.mimetype == UPLOADED_TYPE_OF_FORMS else request.headers.get("Content-Type", "")


class _Body:
    """A request's body of `length` bytes; reading fails when the client is gone before all of them came."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        wanted = min(size, self._left)
        try:
            block = self._stream.read(wanted) if wanted else b""
        except OSError:
            block = b""
        if wanted and not block:
            raise Invalid("The connection ended before all bytes had come: send them again. Nothing was stored.")
        self._left -= len(block)
        return block


def _refusal(error: AuricleError) -> Response:
    problem = problems.problem_of(error)
    response = Response(problem.encoded(), status=problem.status, content_type=problems.MEDIA_TYPE)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if isinstance(error, NotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.extra['size']}"
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = "GET, HEAD, PUT, OPTIONS"
    return response


def _preflight(request: Request, store: FilesystemBlobs) -> Response:
    if request.headers.get("Origin") != _origin(store.public_url):
        raise Denied("Only this deployment's own pages may use its objects.")
    allowed = {
        "Access-Control-Allow-Methods": "GET, HEAD, PUT",
        "Access-Control-Allow-Headers": "Content-Type, Range, If-Range, If-Match, If-None-Match",
        "Access-Control-Max-Age": "600",
    }
    return Response(status=204, headers=allowed)


def _allow_origin(request: Request, response: Response, store: FilesystemBlobs) -> None:
    response.headers["Vary"] = "Origin"
    if request.headers.get("Origin") == _origin(store.public_url):
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = CORS_EXPOSED


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
