"""What every store does with whole objects."""

from __future__ import annotations

import io
from typing import BinaryIO

import pytest

from auricle.errors import Conflict, Invalid, NotFound
from auricle.ports.blobs import Blob, BlobStore

ODD_KEYS = [
    "drop/me/Sitzung über 日本 🎧.m4a",
    "drop/me/Sitzung u\u0308ber.m4a",  # not composed: another key than the composed one
    "drop/me/a b+c&d=e;f,g@h!(i)'j~k%20l#m?n.wav",
    "drop/me/.hidden",
    "drop/me/back\\slash",
    "drop/me/" + "n" * 240,
    "drop/me/tab\tand\x01control",
]
BAD_KEYS = ["", "/absolute", "../up", "a/../b", "a/./b", "..", "nul\0", "\udcff", "x/" * 600]


def read(store: BlobStore, key: str) -> bytes:
    with store.open(key) as reader:
        return reader.read()


def put_all(store: BlobStore, *keys: str) -> None:
    for key in keys:
        store.put(key, key.encode())


def keys(store: BlobStore, prefix: str) -> list[str]:
    return [blob.key for blob in store.list(prefix)]


def test_what_was_put_is_read_back(store: BlobStore) -> None:
    blob = store.put("uploads/a/one.flac", b"music", "audio/flac")
    assert (blob.key, blob.size, blob.content_type) == ("uploads/a/one.flac", 5, "audio/flac")
    assert store.stat("uploads/a/one.flac") == blob
    assert read(store, "uploads/a/one.flac") == b"music"


@pytest.mark.parametrize("size", [0, 1, 100_000, 17 * 2**20])
def test_a_stream_is_put_whole_from_where_it_stands(store: BlobStore, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    source = io.BytesIO(b"skipped" + data[:size])
    source.seek(7)
    blob = store.put("k", source, "video/mp4")
    assert blob.size == size
    assert store.stat("k") == blob
    assert read(store, "k") == data[:size]


def test_a_stream_that_breaks_changes_nothing(store: BlobStore) -> None:
    class Broken(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += 1
            if size < 0 or self.given > 80:  # beyond 20 MiB
                raise RuntimeError("the source is gone")
            return bytes(256 * 1024)

    source: BinaryIO = Broken()  # type: ignore[assignment]
    before = store.put("k", b"before")
    with pytest.raises(RuntimeError, match="the source is gone"):
        store.put("k", source)
    assert store.stat("k") == before
    assert keys(store, "") == ["k"]


def test_the_etag_changes_with_the_bytes_and_carries_no_quotes(store: BlobStore) -> None:
    etags = [store.put("k", data).etag for data in (b"one", b"two", b"one two", b"")]
    assert len(set(etags)) == 4
    assert not any('"' in etag or not etag for etag in etags)


def test_a_repeated_put_of_the_same_bytes_keeps_the_etag(store: BlobStore) -> None:
    assert store.put("k", b"same").etag == store.put("k", b"same").etag


def test_what_is_not_there_is_none_or_not_found(store: BlobStore) -> None:
    assert store.stat("no/such") is None
    with pytest.raises(NotFound):
        store.open("no/such")
    with pytest.raises(NotFound):
        store.copy("no/such", "target")
    store.delete("no/such")
    assert keys(store, "no/") == []
    assert store.delete_prefix("no/") == 0


@pytest.mark.parametrize("key", ODD_KEYS)
def test_names_in_any_script_are_kept(store: BlobStore, key: str) -> None:
    store.put(key, b"x")
    assert read(store, key) == b"x"
    assert keys(store, "drop/me/") == [key]
    assert store.copy(key, "pinned").size == 1
    assert store.delete_prefix("drop/") == 1
    assert store.stat(key) is None


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_that_escape_or_cannot_be_kept_are_refused(store: BlobStore, key: str) -> None:
    for attempt in (
        lambda: store.put(key, b"x"),
        lambda: store.open(key),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.begin_parts(key),
        lambda: store.sign_put(key, 60, "pod"),  # type: ignore[arg-type]
    ):
        with pytest.raises(Invalid):
            attempt()


def test_keys_that_differ_only_in_case_or_form_are_different_objects(store: BlobStore) -> None:
    put_all(store, "a/x.mp3", "a/X.mp3", "A/x.mp3", "a/\u00e9", "a/e\u0301", "a/É", "a/ß", "a/ss", "a/%58.mp3")
    assert len(keys(store, "")) == 9
    assert read(store, "a/X.mp3") == b"a/X.mp3"
    assert read(store, "a/e\u0301") == "a/e\u0301".encode()


def test_a_key_may_begin_another(store: BlobStore) -> None:
    put_all(store, "a/b/c", "a/b", "a", "a/b~", "a/b~/c")
    assert keys(store, "") == ["a", "a/b", "a/b/c", "a/b~", "a/b~/c"]
    store.delete("a/b")
    assert keys(store, "a/") == ["a/b/c", "a/b~", "a/b~/c"]


def test_listing_is_by_prefix_and_in_key_order(store: BlobStore) -> None:
    put_all(store, "f/a-b", "f/a/z", "f/a.b", "f/aé", "f/a日", "f/a0", "g", "f/ab/c/d")
    expected = sorted(["f/a-b", "f/a/z", "f/a.b", "f/aé", "f/a日", "f/a0", "f/ab/c/d"])
    assert keys(store, "f/a") == expected
    assert keys(store, "f/a/") == ["f/a/z"]
    assert keys(store, "f/ab/c") == ["f/ab/c/d"]
    assert keys(store, "f/zz") == []
    assert [blob.size for blob in store.list("g")] == [1]


def test_listing_tells_size_and_etag(store: BlobStore) -> None:
    blob = store.put("k/1", b"12345")
    listed = next(iter(store.list("k/")))
    assert (listed.size, listed.etag) == (blob.size, blob.etag)


def test_a_copy_is_the_same_and_stands_alone(store: BlobStore) -> None:
    original = store.put("drop/one", b"bytes", "audio/ogg")
    copied = store.copy("drop/one", "uploads/pinned", original.etag)
    assert copied == Blob("uploads/pinned", 5, original.etag, "audio/ogg")
    store.put("drop/one", b"others")
    assert read(store, "uploads/pinned") == b"bytes"
    store.delete("drop/one")
    assert store.stat("uploads/pinned") == copied
    store.delete("uploads/pinned")
    assert store.stat("uploads/pinned") is None


def test_a_copy_replaces_what_was_there(store: BlobStore) -> None:
    store.put("source", b"new")
    store.put("target", b"old")
    store.copy("source", "target")
    assert read(store, "target") == b"new"
    store.copy("source", "target")
    assert keys(store, "") == ["source", "target"]


def test_a_copy_onto_itself_changes_nothing(store: BlobStore) -> None:
    blob = store.put("k", b"x", "audio/ogg")
    assert store.copy("k", "k", blob.etag) == blob
    assert read(store, "k") == b"x"


def test_a_copy_of_a_version_that_was_replaced_is_a_conflict(store: BlobStore) -> None:
    etag = store.put("k", b"one").etag
    store.put("k", b"two")
    with pytest.raises(Conflict):
        store.copy("k", "target", etag)
    assert store.stat("target") is None


def test_a_prefix_is_forgotten_and_nothing_beside_it(store: BlobStore) -> None:
    put_all(store, "u/1/a", "u/1/b/c", "u/10/a", "v")
    assert store.delete_prefix("u/1/") == 2
    assert keys(store, "") == ["u/10/a", "v"]


@pytest.mark.parametrize("prefix", ["", "/", "//"])
def test_everything_is_never_forgotten_at_once(store: BlobStore, prefix: str) -> None:
    store.put("k", b"x")
    with pytest.raises(Invalid):
        store.delete_prefix(prefix)
    assert store.stat("k") is not None


def test_a_reader_seeks_and_reads_any_stretch(store: BlobStore) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(3 * 2**18))  # 3 MiB
    store.put("k", data)
    with store.open("k") as reader:
        assert reader.seekable()
        assert reader.read(10) == data[:10]
        assert reader.seek(-8, io.SEEK_END) == len(data) - 8
        assert reader.read() == data[-8:]
        assert reader.read(1) == b""
        assert reader.seek(2**20 - 3) == 2**20 - 3
        assert reader.read(9) == data[2**20 - 3 : 2**20 + 6]
        assert reader.seek(5, io.SEEK_CUR) == reader.tell() == 2**20 + 11
        assert reader.read(2**20) == data[2**20 + 11 : 2**21 + 11]
        assert reader.seek(len(data) + 100) == len(data) + 100
        assert reader.read(5) == b""
        reader.seek(0)
        assert reader.read() == data


def test_an_empty_object_is_read_as_nothing(store: BlobStore) -> None:
    store.put("k", b"")
    with store.open("k") as reader:
        assert reader.read() == b""
        assert reader.seek(0, io.SEEK_END) == 0


def test_a_reader_never_mixes_two_versions(store: BlobStore) -> None:
    old, new = b"o" * 3 * 2**20, b"n" * 3 * 2**20
    store.put("k", old)
    with store.open("k") as reader:
        begun = reader.read(1000)
        store.put("k", new)
        try:
            rest = reader.read()
        except Conflict:
            rest = None
    assert rest is None or begun + rest == old
