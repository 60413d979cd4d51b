"""Stores to run one suite on: in memory, in a folder behind a real HTTP server, and in real S3 servers (Ceph, MinIO)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from auricle.adapters.blobs.s3 import S3Blobs
from auricle.adapters.blobs.signed_http import SignedHttp
from auricle.ports.blobs import BlobStore, SignedBlobs
from builders import blob_web, minio_server, s3_server
from builders.memory_blobs import Answer, MemoryBlobs, MemorySignedBlobs
from builders.s3_server import S3Server

PART = 5 * 2**20
"""Bytes: the smallest part that S3 joins to another."""


@dataclass(frozen=True)
class Shop:
    """A store, a client that follows its links, and what secretless functions use."""

    store: BlobStore
    request: Callable[..., Answer]
    signed: SignedBlobs


@contextmanager
def _memory(_: Path) -> Iterator[Shop]:
    store = MemoryBlobs()
    yield Shop(store, store.request, MemorySignedBlobs(store))


@contextmanager
def _filesystem(folder: Path) -> Iterator[Shop]:
    with blob_web.serving(folder / "blobs") as store:
        yield Shop(store, blob_web.request, SignedHttp((store.public_url,), pauses=()))


@contextmanager
def _s3(_: Path) -> Iterator[Shop]:
    with _bucket_of(s3_server.shared()) as shop:
        yield shop


@contextmanager
def _minio(_: Path) -> Iterator[Shop]:
    with _bucket_of(minio_server.shared()) as shop:
        yield shop


@contextmanager
def _bucket_of(server: S3Server) -> Iterator[Shop]:
    store = S3Blobs(server.url, server.region, server.bucket(), server.access_key, server.secret_key)
    yield Shop(store, blob_web.request, SignedHttp((server.url,), pauses=()))


SHOPS = {"memory": _memory, "filesystem": _filesystem, "s3": _s3, "minio": _minio}
