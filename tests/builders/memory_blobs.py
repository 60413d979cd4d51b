"""Objects in a dictionary, with links that a test follows by hand: `MemoryBlobs().request("PUT", link, b"…")`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from auricle.adapters.blobs.keys import check_complete, check_number, check_parts, checked, checked_prefix, deletable
from auricle.adapters.blobs.rfc6266 import attachment
from auricle.errors import AuricleError, Conflict, NotFound, Permanent, Retryable
from auricle.ports.blobs import Audience, Blob, Part

OCTETS = "application/octet-stream"
Parts = list[Part]


@dataclass(frozen=True)
class Answer:
    """What a link's server said; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Link:
    """What one URL allows."""

    method: str
    key: str
    expires: float
    size: int | None = None
    upload: str | None = None
    part: int | None = None
    filename: str | None = None


@dataclass
class Upload:
    """An unfinished part upload."""

    key: str
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryBlobs:
    """`BlobStore` in memory. Set `trouble` to an error to have every call raise it (a store that is away, or full)."""

    def __init__(self) -> None:
        self.trouble: AuricleError | None = None
        self.objects: dict[str, tuple[Blob, bytes]] = {}
        self.uploads: dict[str, Upload] = {}
        self.links: dict[str, Link] = {}

    def open(self, key: str) -> BinaryIO:
        """A reader of the bytes as they are now."""
        return io.BytesIO(self._known(key)[1])

    def put(self, key: str, data: bytes | BinaryIO, content_type: str = OCTETS) -> Blob:
        """Keep the object; a `data` that raises changes nothing."""
        self._check(key)
        content = data if isinstance(data, bytes) else data.read()
        return self._keep(key, content, content_type, _digest(content))

    def stat(self, key: str) -> Blob | None:
        """What is known of the object."""
        self._check(key)
        found = self.objects.get(key)
        return found[0] if found else None

    def copy(self, source: str, target: str, etag: str | None = None) -> Blob:
        """The same bytes under another key."""
        self._check(target)
        blob, content = self._known(source)
        if etag is not None and blob.etag != etag:
            raise Conflict("The object has changed since: look at it again before copying it.")
        return self._keep(target, content, blob.content_type, blob.etag)

    def delete(self, key: str) -> None:
        """Forget the object."""
        self._check(key)
        self.objects.pop(key, None)

    def delete_prefix(self, prefix: str) -> int:
        """Forget all under `prefix`."""
        self._check(deletable(prefix) + "x")
        self.uploads = {ref: upload for ref, upload in self.uploads.items() if not upload.key.startswith(prefix)}
        gone = [key for key in self.objects if key.startswith(prefix)]
        for key in gone:
            del self.objects[key]
        return len(gone)

    def list(self, prefix: str) -> Iterator[Blob]:
        """Objects under `prefix`, in key order."""
        self._check(checked_prefix(prefix) + "x")
        for key in sorted(self.objects):
            if key.startswith(prefix):
                yield self.objects[key][0]

    def begin_parts(self, key: str, content_type: str = OCTETS) -> str:
        """Open a part upload."""
        self._check(key)
        ref = secrets.token_hex(8)
        self.uploads[ref] = Upload(key, content_type)
        return ref

    def sign_part(self, key: str, ref: str, number: int, size: int, seconds: int) -> str:
        """A link for one part."""
        return self._link(Link("PUT", key, time.time() + seconds, size=size, upload=ref, part=check_number(number)))

    def parts(self, key: str, ref: str) -> Parts:
        """The parts that are there, by number."""
        return [Part(number, len(data), _digest(data)) for number, data in sorted(self._upload(key, ref).parts.items())]

    def finish_parts(self, key: str, ref: str, parts: Sequence[Part]) -> Blob:
        """Make the object out of `parts`."""
        check_parts(parts)
        etag = _digest("".join(part.etag for part in parts).encode()) + f"-{len(parts)}"
        done = self.stat(key)
        if ref not in self.uploads and done is not None and done.etag == etag:
            return done
        upload = self._upload(key, ref)
        check_complete(parts, self.parts(key, ref))
        content = b"".join(upload.parts[part.number] for part in parts)
        del self.uploads[ref]
        return self._keep(key, content, upload.content_type, etag)

    def abort_parts(self, key: str, ref: str) -> None:
        """Forget an unfinished part upload."""
        with contextlib.suppress(NotFound):
            self._upload(key, ref)
            del self.uploads[ref]

    def sign_get(self, key: str, seconds: int, audience: Audience, filename: str | None = None) -> str:
        """A link to read."""
        return self._link(Link("GET", key, time.time() + seconds, filename=filename), audience)

    def sign_put(self, key: str, seconds: int, audience: Audience) -> str:
        """A link to store the whole object."""
        return self._link(Link("PUT", key, time.time() + seconds), audience)

    def request(self, method: str, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Follow a link, as an HTTP client would."""
        link = self.links.get(url)
        if self.trouble is not None:
            return Answer(503)
        if link is None or link.method != method or link.expires < time.time():
            return Answer(403)
        try:
            return self._write(link, body, headers or {}) if method == "PUT" else self._read(link, headers or {})
        except NotFound:
            return Answer(404)

    def _read(self, link: Link, headers: Mapping[str, str]) -> Answer:
        blob, content = self._known(link.key)
        sent = {"etag": f'"{blob.etag}"', "content-type": blob.content_type}
        if link.filename is not None:
            sent["content-disposition"] = attachment(link.filename)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", ""))
        if wanted is None:
            return Answer(200, {**sent, "content-length": str(len(content))}, content)
        first, last = wanted.groups()
        start = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            return Answer(416)
        sent["content-range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return Answer(206, {**sent, "content-length": str(end - start)}, content[start:end])

    def _write(self, link: Link, body: bytes, headers: Mapping[str, str]) -> Answer:
        if link.upload is None or link.part is None:
            blob = self.put(link.key, body, headers.get("Content-Type", OCTETS))
            return Answer(200, {"etag": f'"{blob.etag}"'})
        if len(body) != link.size:
            return Answer(403)
        self._upload(link.key, link.upload).parts[link.part] = body
        return Answer(200, {"etag": f'"{_digest(body)}"'})

    def _link(self, link: Link, audience: Audience = Audience.BROWSER) -> str:
        self._check(link.key)
        url = f"memory://{audience}/{secrets.token_hex(8)}"
        self.links[url] = link
        return url

    def _check(self, key: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        checked(key)

    def _known(self, key: str) -> tuple[Blob, bytes]:
        self._check(key)
        if key not in self.objects:
            raise NotFound("There is no such object (any more).")
        return self.objects[key]

    def _keep(self, key: str, content: bytes, content_type: str, etag: str) -> Blob:
        blob = Blob(key, len(content), etag, content_type)
        self.objects[key] = (blob, content)
        return blob

    def _upload(self, key: str, ref: str) -> Upload:
        self._check(key)
        upload = self.uploads.get(ref)
        if upload is None or upload.key != key:
            raise NotFound("There is no such upload (any more).")
        return upload


class MemorySignedBlobs:
    """`SignedBlobs` over the links of a `MemoryBlobs`."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self._blobs = blobs

    def fetch(self, url: str) -> bytes:
        """The bytes behind a link."""
        return self._follow("GET", url).body

    def store(self, url: str, data: bytes) -> None:
        """PUT the bytes."""
        self._follow("PUT", url, data)

    def _follow(self, method: str, url: str, data: bytes = b"") -> Answer:
        answer = self._blobs.request(method, url, data)
        if answer.status == 404:
            raise NotFound("There is no such object (any more).")
        if answer.status == 503:
            raise Retryable("The object store is away.")
        if answer.status >= 300:
            raise Permanent("The object store refused the link.")
        return answer


def _digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
