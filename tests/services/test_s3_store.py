"""The S3 store against a real S3 server, beyond the common contract (`make test-services` runs that too)."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from auricle.adapters.blobs.s3 import S3Blobs
from auricle.adapters.blobs.s3 import store as s3_store
from auricle.errors import Conflict, NotFound, Retryable
from auricle.ports.blobs import Audience
from builders.blob_web import request
from builders.s3_server import S3Server

pytestmark = pytest.mark.services
MEGABYTE = 2**20


def opened(s3: S3Server, bucket: str, **options: Any) -> S3Blobs:
    return S3Blobs(s3.url, s3.region, bucket, s3.access_key, options.pop("secret_key", s3.secret_key), **options)


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A fresh bucket."""
    return s3.bucket()


@pytest.fixture
def store(s3: S3Server, bucket: str) -> S3Blobs:
    """A store in it."""
    return opened(s3, bucket)


def just_before(store: S3Blobs, monkeypatch: pytest.MonkeyPatch, header: str, happens: Callable[[], object]) -> None:
    """Let `happens` happen once, just before the store sends a request with `header`."""
    real, left = store._calls.call, [happens]

    def call(method: str, key: str = "", **options: Any) -> Any:
        if left and header in (options.get("headers") or {}):
            left.pop()()
        return real(method, key, **options)

    monkeypatch.setattr(store._calls, "call", call)


def test_what_others_put_is_read_and_the_other_way_round(s3: S3Server, bucket: str, store: S3Blobs) -> None:
    client = s3.client()
    put = client.put_object(Bucket=bucket, Key="drop/me/a//b ü.m4a", Body=b"bytes", ContentType="audio/mp4")
    blob = store.stat("drop/me/a//b ü.m4a")
    assert blob is not None
    assert (blob.size, blob.etag, blob.content_type) == (5, put["ETag"].strip('"'), "audio/mp4")
    assert store.open("drop/me/a//b ü.m4a").read() == b"bytes"
    store.put("k", io.BytesIO(b"x" * 17 * MEGABYTE), "video/mp4")
    got = client.get_object(Bucket=bucket, Key="k")
    assert (got["ContentType"], got["ContentLength"]) == ("video/mp4", 17 * MEGABYTE)


def test_a_source_that_is_replaced_while_it_is_copied_is_noticed(store: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = store.put("drop/a", b"one").etag
    just_before(store, monkeypatch, "x-amz-copy-source", lambda: store.put("drop/a", b"two"))
    with pytest.raises(Conflict):
        store.copy("drop/a", "uploads/a", etag)
    assert store.stat("uploads/a") is None
    assert store.open("drop/a").read() == b"two"


def test_what_is_too_large_for_one_call_is_copied_in_parts(s3: S3Server, bucket: str) -> None:
    store = opened(s3, bucket, largest_copy=5 * MEGABYTE, copy_part=5 * MEGABYTE)
    data = bytes(range(256)) * (12 * MEGABYTE // 256) + b"end"
    original = store.put("drop/a", data, "video/mp4")
    copied = store.copy("drop/a", "uploads/ü b", original.etag)
    assert (copied.key, copied.size, copied.content_type) == ("uploads/ü b", len(data), "video/mp4")
    assert copied == store.stat("uploads/ü b")
    assert store.open("uploads/ü b").read() == data


def test_a_large_source_that_is_replaced_while_it_is_copied_is_noticed(
    s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(s3, bucket, largest_copy=5 * MEGABYTE, copy_part=5 * MEGABYTE)
    etag = store.put("drop/a", b"1" * 11 * MEGABYTE).etag
    just_before(store, monkeypatch, "x-amz-copy-source-range", lambda: store.put("drop/a", b"2" * 11 * MEGABYTE))
    with pytest.raises(Conflict):
        store.copy("drop/a", "uploads/a", etag)
    assert store.stat("uploads/a") is None
    assert list(store._unfinished("uploads/")) == []


def test_a_reader_notices_that_its_object_was_replaced(store: S3Blobs) -> None:
    store.put("k", b"1" * 3 * MEGABYTE)
    with store.open("k") as reader:
        assert reader.read(10) == b"1" * 10
        store.put("k", b"2" * 3 * MEGABYTE)
        with pytest.raises(Conflict, match="changed"):
            reader.read()


def test_a_reader_notices_that_its_object_is_gone(store: S3Blobs) -> None:
    store.put("k", b"1" * 3 * MEGABYTE)
    with store.open("k") as reader:
        store.delete("k")
        with pytest.raises(NotFound):
            reader.read()


def test_listings_of_many_pages_are_complete(store: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "PAGE", 3)
    odd = ["f/a b", "f/a+b", "f/ü", "f/日本", "f/%20", "f/&<>", "f/\x01", "f/\x02", "f/\x03\x1f"]
    keys = sorted([f"f/{number}" for number in range(7)] + odd)
    for key in keys:
        store.put(key, b"x")
    assert [blob.key for blob in store.list("f/")] == keys
    refs = [store.begin_parts("f/日本 +") for _ in range(4)] + [store.begin_parts("f/z") for _ in range(4)]
    for number in range(1, 8):
        request("PUT", store.sign_part("f/日本 +", refs[0], number, 1, 60), b"x")
    assert [part.number for part in store.parts("f/日本 +", refs[0])] == list(range(1, 8))
    assert sorted(ref for _, ref in store._unfinished("f/")) == sorted(refs)
    assert store.delete_prefix("f/") == len(keys)
    assert list(store.list("")) == []
    assert list(store._unfinished("")) == []


def test_a_wrong_secret_is_said_without_saying_it(s3: S3Server, bucket: str) -> None:
    store = opened(s3, bucket, secret_key="not-the-secret")
    for attempt in (lambda: store.put("k", b"x"), lambda: store.open("k"), lambda: list(store.list("k"))):
        with pytest.raises(Retryable, match="S3_SECRET_ACCESS_KEY") as caught:
            attempt()
        assert "not-the-secret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_said(s3: S3Server) -> None:
    store = opened(s3, "no-such-bucket")
    for attempt in (lambda: store.put("k", b"x"), lambda: store.open("k"), lambda: list(store.list("k"))):
        with pytest.raises(Retryable, match="S3_BUCKET"):
            attempt()


def test_links_with_the_bucket_in_the_host_name_work_too(s3: S3Server, bucket: str, store: S3Blobs) -> None:
    store.put("f/ü one", b"x")
    port = urlsplit(s3.url).port
    virtual = opened(s3, bucket, public_url=f"http://localhost:{port}", path_style=False)
    url = virtual.sign_get("f/ü one", 60, Audience.BROWSER)
    host = urlsplit(url).netloc
    assert host == f"{bucket}.localhost:{port}"
    answer = request("GET", url.replace(host, f"127.0.0.1:{port}"), headers={"Host": host})  # no name server knows it
    assert (answer.status, answer.body) == (200, b"x")
