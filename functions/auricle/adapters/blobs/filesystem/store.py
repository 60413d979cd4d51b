"""The filesystem store: `objects/` (the keys' tree), `.parts/` (unfinished uploads), `.incoming/` (files being written)."""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from auricle.adapters.blobs.filesystem import durable, grants
from auricle.adapters.blobs.filesystem.grants import Grant
from auricle.adapters.blobs.filesystem.paths import objects, path_of
from auricle.adapters.blobs.filesystem.uploads import Parts, Uploads, joined_etag
from auricle.adapters.blobs.keys import check_number, check_parts, checked, checked_prefix, deletable
from auricle.errors import Conflict, NotFound
from auricle.ports.blobs import Audience, Blob, Part

OCTETS = "application/octet-stream"
MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}( *; *[\w.-]{1,40}=(\"[^\"\\\r\n]{0,80}\"|[\w.+-]{1,80}))*", re.ASCII)
MAX_TYPE = 255
NO_LINKS = (errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)
READ_AHEAD = 128 * 1024


class FilesystemBlobs:
    """`BlobStore` in the folder `root`, with URLs that `runtime.local.blobserver` answers.

    `public_url` and `internal_url` are what URLs for browsers and functions begin with; `key` (32 bytes) signs them.
    `largest`: the most bytes that a URL for a whole object takes. `reserve`: bytes of the disk to leave free, because a
    database on the same disk dies without.

    Objects are immutable: a put writes a new file and renames it over the old one, so readers keep what they opened, and
    `copy` may hard-link (both names share bytes that nothing will ever change).
    """

    def __init__(
        self,
        root: Path,
        public_url: str,
        internal_url: str,
        key: bytes,
        *,
        largest: int = 50 * 2**30,
        reserve: int = 0,
    ) -> None:
        self.public_url = public_url.rstrip("/")
        self._bases = {Audience.BROWSER: self.public_url, Audience.POD: (internal_url or public_url).rstrip("/")}
        self._objects = root / "objects"
        self._incoming = root / ".incoming"
        self._uploads = Uploads(root / ".parts", self._incoming)
        self._key = key
        self._largest = largest
        self._reserve = reserve

    def open(self, key: str) -> BinaryIO:
        """A seekable reader of the bytes that the object has now, whatever happens to it later."""
        return self.opened(key)[1]

    def opened(self, key: str) -> tuple[Blob, BinaryIO]:
        """What is known of the object, and a reader of exactly that version."""
        descriptor = self._descriptor(key)
        if descriptor is None:
            raise NotFound("There is no such object (any more).")
        try:
            size, footer = durable.unseal(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        blob = Blob(key, size, footer.etag, footer.type)
        return blob, io.BufferedReader(durable.Body(descriptor, size), READ_AHEAD)

    def put(self, key: str, data: bytes | durable.Readable, content_type: str = OCTETS) -> Blob:
        """Store the object whole or not at all; when `data.read` raises, nothing changes."""
        target = self._path(key)
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        kind = _clean(content_type)
        with durable.aside(self._incoming) as (descriptor, partial):
            size, etag = durable.receive(source, descriptor, self._reserve)
            durable.seal(descriptor, size, durable.Footer(etag, kind))
            durable.place(partial, target, self._objects)
        return Blob(key, size, etag, kind)

    def stat(self, key: str) -> Blob | None:
        """What is known of the object."""
        descriptor = self._descriptor(key)
        if descriptor is None:
            return None
        try:
            size, footer = durable.unseal(descriptor)
        finally:
            os.close(descriptor)
        return Blob(key, size, footer.etag, footer.type)

    def copy(self, source: str, target: str, etag: str | None = None) -> Blob:
        """A second name for the same bytes (they never change), or a second copy where the disk has no links."""
        origin, destination = self._path(source), self._path(target)
        link = self._incoming / secrets.token_hex(16)
        with durable.disk_errors():
            durable.make_folders(self._incoming)
            try:
                os.link(origin, link)
            except (FileNotFoundError, NotADirectoryError):
                raise NotFound("There is no such object to copy (any more).") from None
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return self._copy_bytes(source, target, etag)
        try:
            blob = self._described(link, target)  # of the link: its source may be replaced meanwhile
            _same(blob, etag)
            durable.place(link, destination, self._objects)
        finally:
            with suppress(FileNotFoundError):
                link.unlink()  # also needed on success: renaming onto a link of the same file does nothing (POSIX)
        return blob

    def delete(self, key: str) -> None:
        """Forget the object."""
        durable.forget(self._path(key), self._objects)

    def delete_prefix(self, prefix: str) -> int:
        """Forget every object and unfinished part upload under `prefix`; returns how many objects."""
        for key, reference in self._uploads.under(deletable(prefix)):
            self._uploads.abort(key, reference)
        return sum(durable.forget(path, self._objects) for _, path in list(objects(self._objects, prefix)))

    def list(self, prefix: str) -> Iterator[Blob]:
        """Objects under `prefix`, in key order."""
        for key, _ in objects(self._objects, checked_prefix(prefix)):
            blob = self.stat(key)
            if blob is not None:
                yield blob

    def begin_parts(self, key: str, content_type: str = OCTETS) -> str:
        """Open a part upload for `key`; returns its reference."""
        self._path(key)
        return self._uploads.begin(key, _clean(content_type))

    def sign_part(self, key: str, ref: str, number: int, size: int, seconds: int) -> str:
        """A browser URL that takes one PUT of exactly `size` bytes as part `number`."""
        return self._url("PUT", key, seconds, Audience.BROWSER, size=size, upload=ref, part=check_number(number))

    def put_part(self, key: str, ref: str, number: int, data: durable.Readable) -> Part:
        """Store part `number`, whole or not at all, replacing an earlier one."""
        self._uploads.parts(key, ref)  # before a body is read for nothing
        with durable.aside(self._incoming) as (descriptor, partial):
            size, etag = durable.receive(data, descriptor, self._reserve)
            durable.seal(descriptor, size, durable.Footer(etag, OCTETS))
            self._uploads.add(key, ref, number, partial)
        return Part(number, size, etag)

    def parts(self, key: str, ref: str) -> Parts:
        """The parts that are there, by number."""
        return self._uploads.parts(key, ref)

    def finish_parts(self, key: str, ref: str, parts: Sequence[Part]) -> Blob:
        """Make the object out of `parts`; doing it twice gives the same answer, and a crash in between loses nothing."""
        check_parts(parts)
        target = self._path(key)
        try:
            return self._uploads.finish(key, ref, parts, lambda whole: durable.place(whole, target, self._objects))
        except NotFound:
            done = self.stat(key)
            if done is None or done.etag != joined_etag(parts):
                raise
            self._uploads.abort(key, ref)
            return done

    def abort_parts(self, key: str, ref: str) -> None:
        """Forget an unfinished part upload and its bytes."""
        self._uploads.abort(key, ref)

    def sign_get(self, key: str, seconds: int, audience: Audience, filename: str | None = None) -> str:
        """A URL that serves the object (ranges and HEAD too) for `seconds`."""
        return self._url("GET", key, seconds, audience, filename=filename)

    def sign_put(self, key: str, seconds: int, audience: Audience) -> str:
        """A URL that takes PUTs of the whole object for `seconds`."""
        return self._url("PUT", key, seconds, audience, size=self._largest)

    def grant(self, method: str, key: str, query: Mapping[str, str]) -> Grant:
        """What a URL of ours allows; `Denied` when it is not ours, not for this, or expired."""
        return grants.read(method, key, query, self._key, time.time())

    def tidy(self, older_seconds: float = 86_400.0) -> int:
        """Remove half-written files of processes that died; returns how many. With 0 s: before any writer runs."""
        removed = 0
        for path in self._incoming.glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime < older_seconds:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
                removed += 1
        return removed

    def _url(self, method: str, key: str, seconds: int, audience: Audience, **limits: object) -> str:
        self._path(key)
        grant = Grant(method=method, key=key, expires=int(time.time()) + seconds, **limits)  # type: ignore[arg-type]
        return grants.url(self._bases[audience], grant, self._key)

    def _path(self, key: str) -> Path:
        return path_of(self._objects, checked(key))

    def _descriptor(self, key: str) -> int | None:
        with durable.disk_errors():
            try:
                return os.open(self._path(key), os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def _described(self, path: Path, key: str) -> Blob:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size, footer = durable.unseal(descriptor)
        finally:
            os.close(descriptor)
        return Blob(key, size, footer.etag, footer.type)

    def _copy_bytes(self, source: str, target: str, etag: str | None) -> Blob:
        """A copy on disks without hard links; the object keeps its etag, because it is the same object."""
        blob, reader = self.opened(source)
        with reader, durable.aside(self._incoming) as (descriptor, partial):
            _same(blob, etag)
            size, _ = durable.receive(reader, descriptor, self._reserve)
            durable.seal(descriptor, size, durable.Footer(blob.etag, blob.content_type))
            durable.place(partial, self._path(target), self._objects)
        return Blob(target, size, blob.etag, blob.content_type)


def _same(blob: Blob, etag: str | None) -> None:
    if etag is not None and blob.etag != etag:
        raise Conflict("The object has changed since: look at it again before copying it.")


def _clean(content_type: str) -> str:
    """A content type that is safe to send back as a header; what is none becomes octets."""
    return content_type if len(content_type) <= MAX_TYPE and MEDIA_TYPE.fullmatch(content_type) else OCTETS
