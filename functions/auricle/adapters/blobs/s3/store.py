"""The S3 store. Proven against Ceph RGW and MinIO; written for AWS, Ceph, MinIO and what behaves like them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import BinaryIO
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from auricle.adapters.blobs.keys import check_complete, check_number, check_parts, checked, checked_prefix, deletable, quoted
from auricle.adapters.blobs.rfc6266 import attachment
from auricle.adapters.blobs.s3 import xml
from auricle.adapters.blobs.s3.calls import PAUSES, Answer, Calls
from auricle.adapters.blobs.s3.reader import FIRST_BLOCK, RangeReader
from auricle.adapters.blobs.s3.signing import Credentials, Signer
from auricle.errors import Conflict, NotFound, Retryable
from auricle.ports.blobs import Audience, Blob, Part

OCTETS = "application/octet-stream"
PUT_PART = 16 * 2**20
"""Bytes. What is larger is put in parts of this size, so that memory stays bounded and one broken part costs little."""
LARGEST_COPY = 5 * 2**30
"""Bytes that S3 copies in one call."""
COPY_PART = 2**30
PATIENCE = 300.0
"""Seconds to wait for calls in which the store moves bytes before it answers."""
PAGE = 1000

Parts = list[Part]


class S3Blobs:
    """`BlobStore` in one bucket. `public_url`, `internal_url`: the service as browsers and pods reach it (default: `endpoint`).

    Part URLs sign the Content-Length, so a part of another size is refused (403) by the store itself. `largest_copy` and
    `copy_part` in bytes; `pauses` between tries in seconds.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        public_url: str = "",
        internal_url: str = "",
        path_style: bool = True,
        session_token: str | None = None,
        *,
        largest_copy: int = LARGEST_COPY,
        copy_part: int = COPY_PART,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._signer = Signer(Credentials(access_key, secret_key, session_token), region, bucket, path_style)
        self._calls = Calls(endpoint, self._signer, pauses)
        self._bases = {Audience.BROWSER: public_url or endpoint, Audience.POD: internal_url or public_url or endpoint}
        self._bucket = bucket
        self._largest_copy = largest_copy
        self._copy_part = copy_part

    def open(self, key: str) -> BinaryIO:
        """A seekable reader that holds a few MiB; `Conflict` while reading once the object is replaced."""
        first = self._calls.call("GET", checked(key), headers={"Range": f"bytes=0-{FIRST_BLOCK - 1}"}, also=(416,))
        if first.status == 416:  # so it is empty: it has no first byte
            return io.BytesIO()
        return io.BufferedReader(RangeReader(partial(self._range, key, first.etag), _total(first), first.body), 64 * 1024)

    def put(self, key: str, data: bytes | BinaryIO, content_type: str = OCTETS) -> Blob:
        """Store the object whole or not at all; more than 16 MiB go in parts."""
        checked(key)
        head = data if isinstance(data, bytes) else _block(data)
        if isinstance(data, bytes) or len(head) < PUT_PART:
            answer = self._calls.call("PUT", key, headers={"Content-Type": content_type}, body=head, seconds=PATIENCE)
            return Blob(key, len(head), answer.etag, content_type)
        ref = self.begin_parts(key, content_type)
        try:
            return self.finish_parts(key, ref, list(self._put_parts(key, ref, head, data)))
        except BaseException:
            self.abort_parts(key, ref)
            raise

    def stat(self, key: str) -> Blob | None:
        """What is known of the object. (HEAD has no body, so a bucket that is missing looks like a missing object.)"""
        answer = self._calls.call("HEAD", checked(key), also=(404,))
        if answer.status == 404:
            return None
        return Blob(key, int(answer.headers["Content-Length"]), answer.etag, answer.headers.get("Content-Type", OCTETS))

    def copy(self, source: str, target: str, etag: str | None = None) -> Blob:
        """Copy inside the store, in one call up to 5 GiB, in parts above.

        Not every store minds the condition on the source (Ceph 16 ignores it), so what was copied is looked at afterwards;
        when it was another version, the target is deleted again.
        """
        before = self._existing(source)
        if etag is not None and before.etag != etag:
            raise Conflict("The object has changed since: look at it again before copying it.")
        if source == target:  # which S3 refuses
            return before
        origin = {
            "x-amz-copy-source": f"/{self._bucket}/{quoted(source)}",
            "x-amz-copy-source-if-match": f'"{before.etag}"',
        }
        if before.size > self._largest_copy:
            return self._copy_parts(before, checked(target), origin)
        self._calls.call("PUT", checked(target), headers=origin, seconds=PATIENCE)
        copied = self._existing(target)
        if copied.etag != before.etag and not self._still(before):
            self.delete(target)
            raise Conflict("The object was replaced while it was copied: look at it again.")
        return copied

    def delete(self, key: str) -> None:
        """Forget the object."""
        self._calls.call("DELETE", checked(key), also=(404,))

    def delete_prefix(self, prefix: str) -> int:
        """Forget every object and unfinished part upload under `prefix`; returns how many objects.

        MinIO tells of unfinished uploads by their whole key only: there its own sweep (a day) takes them.
        """
        for key, ref in self._unfinished(deletable(prefix)):
            self.abort_parts(key, ref)
        count, keys = 0, []
        for blob in self.list(prefix):
            keys.append(blob.key)
            if len(keys) == PAGE:
                count += self._delete_many(keys)
                keys = []
        return count + self._delete_many(keys)

    def list(self, prefix: str) -> Iterator[Blob]:
        """Objects under `prefix`, in key order. The content type is not told by listings."""
        query = {"list-type": "2", "prefix": checked_prefix(prefix), "encoding-type": "url", "max-keys": str(PAGE)}
        while True:
            page = xml.read(self._calls.call("GET", query=query).body)
            for item in page.iter("Contents"):
                yield Blob(unquote_plus(xml.text(item, "Key")), int(xml.text(item, "Size")), _bare(xml.text(item, "ETag")))
                query["start-after"] = unquote_plus(xml.text(item, "Key"))  # no token: Ceph's may hold what XML cannot
            if not _goes_on(page, "Contents"):
                return

    def begin_parts(self, key: str, content_type: str = OCTETS) -> str:
        """Open a part upload for `key`; returns the store's id of it."""
        answer = self._calls.call("POST", checked(key), query={"uploads": ""}, headers={"Content-Type": content_type})
        return xml.text(xml.read(answer.body), "UploadId")

    def sign_part(self, key: str, ref: str, number: int, size: int, seconds: int) -> str:
        """A browser URL that takes one PUT of exactly `size` bytes as part `number`: the length is part of the signature."""
        query = {"partNumber": str(check_number(number)), "uploadId": ref}
        url = self._signer.address(self._bases[Audience.BROWSER], checked(key), query)
        return self._signer.url("PUT", url, {"Content-Length": str(size)}, seconds)

    def parts(self, key: str, ref: str) -> Parts:
        """The parts that are there, by number."""
        query, found = {"uploadId": ref, "max-parts": str(PAGE)}, []
        while True:
            page = xml.read(self._calls.call("GET", checked(key), query=query).body)
            found += [_part(item) for item in page.iter("Part")]
            query["part-number-marker"] = xml.text(page, "NextPartNumberMarker")
            if xml.text(page, "IsTruncated") != "true" or not query["part-number-marker"]:
                return sorted(found, key=lambda part: part.number)

    def finish_parts(self, key: str, ref: str, parts: Sequence[Part]) -> Blob:
        """Make the object out of `parts`; doing it twice gives the same answer.

        The parts are looked at first, because stores differ in what they say of wrong ones (Ceph 16: an internal error).
        """
        check_parts(parts)
        try:
            check_complete(parts, self.parts(key, ref))
            self._calls.call("POST", key, query={"uploadId": ref}, body=xml.completion(parts), seconds=PATIENCE)
        except NotFound:
            done = self.stat(key)
            if done is None or done.etag != _joined_etag(parts):
                raise
            return done
        return self._existing(key)  # the reply's ETag is empty on some stores

    def abort_parts(self, key: str, ref: str) -> None:
        """Forget an unfinished part upload and its bytes."""
        with suppress(NotFound):
            self._calls.call("DELETE", checked(key), query={"uploadId": ref})

    def sign_get(self, key: str, seconds: int, audience: Audience, filename: str | None = None) -> str:
        """A URL that serves the object (GET, ranges too) for `seconds`."""
        query = {} if filename is None else {"response-content-disposition": attachment(filename)}
        return self._signer.url("GET", self._signer.address(self._bases[audience], checked(key), query), {}, seconds)

    def sign_put(self, key: str, seconds: int, audience: Audience) -> str:
        """A URL that takes PUTs of the whole object for `seconds`; any content type."""
        return self._signer.url("PUT", self._signer.address(self._bases[audience], checked(key), {}), {}, seconds)

    def _existing(self, key: str) -> Blob:
        blob = self.stat(key)
        if blob is None:
            raise NotFound("There is no such object (any more).")
        return blob

    def _still(self, blob: Blob) -> bool:
        """Whether the object is the same as when `blob` was seen."""
        now = self.stat(blob.key)
        return now is not None and now.etag == blob.etag

    def _range(self, key: str, etag: str, start: int, end: int) -> bytes:
        """Bytes of that version, or `Conflict` when it is gone."""
        condition = {"Range": f"bytes={start}-{end - 1}", "If-Match": f'"{etag}"'}
        body = self._calls.call("GET", key, headers=condition).body
        if len(body) != end - start:
            raise Retryable("The object store sent fewer bytes than it was asked for.")
        return body

    def _put_parts(self, key: str, ref: str, head: bytes, rest: BinaryIO) -> Iterator[Part]:
        number, block = 1, head
        while block:
            query = {"partNumber": str(number), "uploadId": ref}
            etag = self._calls.call("PUT", key, query=query, body=block, seconds=PATIENCE).etag
            yield Part(number, len(block), etag)
            number, block = number + 1, _block(rest)

    def _copy_parts(self, source: Blob, target: str, origin: Mapping[str, str]) -> Blob:
        """Copy what is too large for one call; the source is looked at once more before the object appears."""
        ref = self.begin_parts(target, source.content_type)
        try:
            parts = [self._copy_part_of(source, target, ref, origin, start) for start in range(0, source.size, self._copy_part)]
            if not self._still(source):
                raise Conflict("The object was replaced while it was copied: look at it again.")
            return self.finish_parts(target, ref, parts)
        except BaseException:
            self.abort_parts(target, ref)
            raise

    def _copy_part_of(self, source: Blob, target: str, ref: str, origin: Mapping[str, str], start: int) -> Part:
        number, end = start // self._copy_part + 1, min(start + self._copy_part, source.size)
        answer = self._calls.call(
            "PUT",
            target,
            query={"partNumber": str(number), "uploadId": ref},
            headers={**origin, "x-amz-copy-source-range": f"bytes={start}-{end - 1}"},
            seconds=PATIENCE,
        )
        return Part(number, end - start, _bare(xml.text(xml.read(answer.body), "ETag")))

    def _delete_many(self, keys: Sequence[str]) -> int:
        """Delete up to 1000 objects; returns how many."""
        for key in keys:
            if not xml.sayable(key):
                self._calls.call("DELETE", key, also=(404,))
        together = [key for key in keys if xml.sayable(key)]
        if together:
            body = xml.deletion(together)
            digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            answer = self._calls.call(
                "POST", query={"delete": ""}, headers={"Content-MD5": digest}, body=body, seconds=PATIENCE
            )
            failed = xml.text(xml.read(answer.body), "Error/Code") if answer.body else ""
            if failed:
                raise Retryable(f"The object store did not delete all objects ({failed}): try again.")
        return len(keys)

    def _unfinished(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Key and id of every part upload under `prefix`."""
        query = {"uploads": "", "prefix": prefix, "encoding-type": "url", "max-uploads": str(PAGE)}
        while True:
            page = xml.read(self._calls.call("GET", query=query).body)
            for item in page.iter("Upload"):
                query["key-marker"] = unquote_plus(xml.text(item, "Key"))  # NextKeyMarker is encoded by AWS, not by Ceph
                query["upload-id-marker"] = xml.text(item, "UploadId")
                yield query["key-marker"], query["upload-id-marker"]
            if not _goes_on(page, "Upload"):
                return


def _goes_on(page: Element, tag: str) -> bool:
    """Whether there is another page. An empty one is the last, whatever it says: it gives nothing to go on from."""
    return xml.text(page, "IsTruncated") == "true" and page.find(tag) is not None


def _block(data: BinaryIO) -> bytes:
    """The next 16 MiB, less only at the end; pipes give what they have."""
    found = bytearray()
    while len(found) < PUT_PART and (more := data.read(PUT_PART - len(found))):
        found += more
    return bytes(found)


def _part(item: Element) -> Part:
    return Part(int(xml.text(item, "PartNumber")), int(xml.text(item, "Size")), _bare(xml.text(item, "ETag")))


def _total(answer: Answer) -> int:
    """The whole object's size, of an answer with a range of it (or with all of it)."""
    _, _, total = answer.headers.get("Content-Range", "").rpartition("/")
    return int(total) if total.isdigit() else len(answer.body)


def _bare(etag: str) -> str:
    return etag.strip('"')


def _joined_etag(parts: Sequence[Part]) -> str:
    """What S3 makes of the parts' MD5 sums; something that no object has, when they are none."""
    try:
        sums = b"".join(bytes.fromhex(part.etag) for part in parts)
    except ValueError:
        return ""
    return f"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{len(parts)}"
