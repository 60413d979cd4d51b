"""Where bytes live. Keys are `/`-separated relative paths; they never start with `/` and never hold `..`.

Two ports: `BlobStore` for functions that hold the store's credential, `SignedBlobs` for those that hold nothing but URLs.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import BinaryIO, Protocol

import msgspec


class Audience(StrEnum):
    """Who will use a signed URL, hence which host it names."""

    BROWSER = "browser"  # BLOBS_PUBLIC_URL
    POD = "pod"  # BLOBS_INTERNAL_URL


class Blob(msgspec.Struct, frozen=True):
    """What the store knows of one object. `etag` changes whenever the bytes do; it is opaque and unquoted."""

    key: str
    size: int
    etag: str
    content_type: str = "application/octet-stream"


class Part(msgspec.Struct, frozen=True):
    """One uploaded part: `number` from 1, `size` in bytes."""

    number: int
    size: int
    etag: str


class BlobStore(Protocol):
    """Objects by key. Missing objects raise `NotFound`; a store that is away or full raises `Retryable`, and says which."""

    def open(self, key: str) -> BinaryIO:
        """A seekable, buffered reader over the object (ranges are fetched as they are read)."""
        ...

    def put(self, key: str, data: bytes | BinaryIO, content_type: str = "application/octet-stream") -> Blob:
        """Store the object whole or not at all, replacing what was there."""
        ...

    def stat(self, key: str) -> Blob | None:
        """What is known of the object, or None when there is none."""
        ...

    def copy(self, source: str, target: str, etag: str | None = None) -> Blob:
        """Copy inside the store; with `etag`, only that version (`Conflict` when the source has changed since)."""
        ...

    def delete(self, key: str) -> None:
        """Forget the object; deleting what is not there is fine."""
        ...

    def delete_prefix(self, prefix: str) -> int:
        """Forget every object and unfinished part upload under `prefix`; returns how many objects."""
        ...

    def begin_parts(self, key: str, content_type: str = "application/octet-stream") -> str:
        """Open a part upload for `key`; returns the store's reference to it."""
        ...

    def sign_part(self, key: str, ref: str, number: int, size: int, seconds: int) -> str:
        """A browser URL that takes one PUT of exactly `size` bytes as part `number`; no other header is needed."""
        ...

    def parts(self, key: str, ref: str) -> list[Part]:
        """The parts that are there, by number. `NotFound` when the upload is finished, aborted or unknown."""
        ...

    def finish_parts(self, key: str, ref: str, parts: list[Part]) -> Blob:
        """Make the object out of `parts`, in their order."""
        ...

    def abort_parts(self, key: str, ref: str) -> None:
        """Forget an unfinished part upload and its bytes; fine when it is gone already."""
        ...

    def sign_get(self, key: str, seconds: int, audience: Audience, filename: str | None = None) -> str:
        """A URL that serves the object (ranges too) for `seconds`; `filename` makes browsers save it under that name."""
        ...

    def sign_put(self, key: str, seconds: int, audience: Audience) -> str:
        """A URL that takes one PUT of the whole object, for `seconds`."""
        ...

    def list(self, prefix: str) -> Iterator[Blob]:
        """Objects under `prefix`, in key order."""
        ...


class SignedBlobs(Protocol):
    """Bytes behind signed URLs, for functions without any credential.

    Only URLs under `OBJECT_ORIGINS` are fetched, redirects are never followed, and URLs never reach a log.
    """

    def fetch(self, url: str) -> bytes:
        """The bytes. `NotFound`: there are none; `Permanent`: the URL is refused or expired; `Retryable`: the store is away."""
        ...

    def store(self, url: str, data: bytes) -> None:
        """PUT the bytes, whole or not at all. Errors as `fetch`."""
        ...
