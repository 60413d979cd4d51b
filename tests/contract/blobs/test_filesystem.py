"""What only the filesystem store has to prove: crashes, full disks, links, names on the disk."""

from __future__ import annotations

import io
import os
import resource
import signal
import stat
import subprocess
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auricle.adapters.blobs.filesystem import FilesystemBlobs, durable
from auricle.errors import Conflict, Invalid, NotFound, Permanent, Retryable
from auricle.ports.blobs import Audience, Part

URL = "http://127.0.0.1:8080"
MEGABYTE = 2**20
STEPS = ("fsync", "replace", "rename", "unlink", "ftruncate", "link", "write", "copy_file_range", "rmdir", "mkdir")


@pytest.fixture
def store(tmp_path: Path) -> FilesystemBlobs:
    """An empty store; its folder is made by the first write."""
    return FilesystemBlobs(tmp_path / "blobs", URL, "", b"k" * 32)


def files(store_root: Path) -> list[Path]:
    return [path for path in store_root.rglob("*") if path.is_file()]


def upload(store: FilesystemBlobs, *parts: bytes, key: str = "u/big") -> tuple[str, list[Part]]:
    ref = store.begin_parts(key, "video/mp4")
    return ref, [store.put_part(key, ref, number, io.BytesIO(data)) for number, data in enumerate(parts, 1)]


def dies_at(step: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is gone, as by SIGKILL, just before its `step`th change of the disk; whether it died."""
    child = os.fork()
    if child == 0:  # only the disk is touched from here on, and nothing of pytest is cleaned up
        left = step
        for name in STEPS:
            real = getattr(os, name)

            def counted(*args: object, real: Callable[..., object] = real, **options: object) -> object:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **options)

            setattr(os, name, counted)
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def every_crash(work: Callable[[], object]) -> Iterator[int]:
    """Let `work` die at its first step, then at its second, and so on until it survives."""
    step = 1
    while dies_at(step, work):
        yield step
        step += 1


def test_a_put_that_dies_at_any_step_leaves_the_old_or_the_new_object(store: FilesystemBlobs) -> None:
    crashes, new = 0, b"n" * 3 * durable.BLOCK
    for _ in every_crash(lambda: store.put("a/k", new)):
        crashes += 1
        blob = store.stat("a/k")
        if blob is not None:
            assert store.open("a/k").read() == new
            store.delete("a/k")
        assert store.tidy(0) <= 1
    assert crashes >= 6
    assert store.open("a/k").read() == new


def test_a_finish_that_dies_at_any_step_is_finished_by_the_next_one(store: FilesystemBlobs, tmp_path: Path) -> None:
    pieces = [b"1" * 70_000, b"2" * 70_000, b"3" * 70_000, b"4" * 10]
    crashes = 0
    while True:
        ref, parts = upload(store, *pieces)
        if not dies_at(crashes + 1, lambda ref=ref, parts=parts: store.finish_parts("u/big", ref, parts)):  # type: ignore[misc]
            break
        crashes += 1
        blob = store.finish_parts("u/big", ref, parts)
        assert (blob.size, blob.content_type) == (210_010, "video/mp4")
        assert store.open("u/big").read() == b"".join(pieces)
        store.delete("u/big")
        store.tidy(0)
        assert files(tmp_path) == []
    assert crashes >= 15


def test_an_upload_can_be_looked_at_and_given_up_after_its_finish_died(store: FilesystemBlobs, tmp_path: Path) -> None:
    for step in range(1, 40):
        ref, parts = upload(store, b"1" * 1000, b"2" * 1000, b"3")
        if not dies_at(step, lambda ref=ref, parts=parts: store.finish_parts("u/big", ref, parts)):  # type: ignore[misc]
            break
        try:
            assert store.parts("u/big", ref) == parts
        except NotFound:
            assert store.open("u/big").read() == b"1" * 1000 + b"2" * 1000 + b"3"
        store.abort_parts("u/big", ref)
        with pytest.raises(NotFound):
            store.parts("u/big", ref)
        store.delete("u/big")
        store.tidy(0)
        assert files(tmp_path) == []


def test_a_finish_that_died_goes_on_only_with_the_same_parts(store: FilesystemBlobs) -> None:
    ref, parts = upload(store, b"1" * 1000, b"2" * 1000, b"3")
    step = 1
    while not list(Path(store._uploads._folder).glob("*/whole")):
        assert dies_at(step, lambda: store.finish_parts("u/big", ref, parts))
        step += 1
    with pytest.raises(Invalid):
        store.finish_parts("u/big", ref, parts[:2])
    with pytest.raises(Conflict, match="being finished"):
        store.put_part("u/big", ref, 4, io.BytesIO(b"4"))
    assert store.finish_parts("u/big", ref, parts).size == 2001


def test_many_at_once_finish_one_upload_once(store: FilesystemBlobs) -> None:
    ref, parts = upload(store, *(bytes([number]) * 100_000 for number in range(8)))
    results: list[object] = []

    def finish() -> None:
        try:
            results.append(store.finish_parts("u/big", ref, parts))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=finish) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [store.stat("u/big")] * 6


def test_puts_and_deletes_of_neighbours_do_not_disturb_each_other(store: FilesystemBlobs) -> None:
    """Deleting the last object of a folder removes the folder, while others are about to write into it."""
    troubles: list[BaseException] = []

    def churn(name: str) -> None:
        try:
            for _ in range(60):
                store.put(f"deep/er/folder/{name}", b"x")
                assert store.stat(f"deep/er/folder/{name}") is not None
                store.delete(f"deep/er/folder/{name}")
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=churn, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert troubles == []
    assert list(store.list("")) == []


def test_finishing_needs_no_second_copy_on_the_disk(
    store: FilesystemBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, parts = upload(store, *(bytes([number]) * MEGABYTE for number in range(6)))
    peaks: list[int] = []
    real = os.fsync

    def measured(descriptor: int) -> None:
        peaks.append(sum(path.stat().st_blocks * 512 for path in files(tmp_path)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", measured)
    store.finish_parts("u/big", ref, parts)
    assert max(peaks) < 7.5 * MEGABYTE  # six, and the part that is being moved


def test_parts_are_joined_where_the_kernel_cannot_copy_ranges(store: FilesystemBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "copy_file_range", refused, raising=False)
    ref, parts = upload(store, b"1" * 300_000, b"2" * 300_000)
    store.finish_parts("u/big", ref, parts)
    assert store.open("u/big").read() == b"1" * 300_000 + b"2" * 300_000


def test_a_copy_takes_no_room(store: FilesystemBlobs, tmp_path: Path) -> None:
    store.put("drop/a", b"x" * MEGABYTE)
    store.copy("drop/a", "uploads/b")
    one, two = files(tmp_path)
    assert one.stat().st_ino == two.stat().st_ino
    assert store.tidy(0) == 0


def test_a_copy_works_where_the_disk_has_no_links(store: FilesystemBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    original = store.put("drop/a", b"bytes", "audio/ogg")
    monkeypatch.setattr(os, "link", refused)
    copied = store.copy("drop/a", "uploads/b", original.etag)
    assert (copied.etag, copied.content_type) == (original.etag, "audio/ogg")
    assert store.stat("uploads/b") == copied
    with pytest.raises(Conflict):
        store.copy("drop/a", "uploads/c", "other")
    assert store.stat("uploads/c") is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where we may mount one; else a limit on file sizes, which the kernel reports in the same way."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]).returncode == 0:
        yield disk
        subprocess.run(["umount", str(disk)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MEGABYTE, hard))
    yield disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_leaves_no_half_object(small_disk: Path) -> None:
    store = FilesystemBlobs(small_disk, URL, "", b"k" * 32)
    before = store.put("k", b"small")
    for attempt in (
        lambda: store.put("k", io.BytesIO(b"x" * 3 * MEGABYTE)),
        lambda: store.put_part("u", store.begin_parts("u"), 1, io.BytesIO(b"x" * 3 * MEGABYTE)),
    ):
        with pytest.raises(Retryable, match="disk is full"):
            attempt()
    assert store.stat("k") == before
    assert sorted(path.name for path in files(small_disk)) == ["k~", "upload.json"]
    store.put("k", b"y" * MEGABYTE)
    assert store.stat("k") != before


def test_an_upload_is_finished_once_there_is_room_again(small_disk: Path) -> None:
    store = FilesystemBlobs(small_disk, URL, "", b"k" * 32)
    ref, parts = upload(store, b"1" * 400_000, b"2" * 400_000, b"3" * 400_000)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match=r"space|large"), filler.open("wb", buffering=0) as out:  # noqa: PT012
        while True:
            out.write(b"f" * 4096)
    if sum(path.stat().st_size for path in files(small_disk)) < 3 * MEGABYTE:  # a limit on sizes fills nothing
        with pytest.raises(Retryable, match="disk is full"):
            store.finish_parts("u/big", ref, parts)
        assert store.stat("u/big") is None
    filler.unlink()
    assert store.finish_parts("u/big", ref, parts).size == 1_200_000
    assert store.open("u/big").read() == b"1" * 400_000 + b"2" * 400_000 + b"3" * 400_000


def test_some_of_the_disk_is_left_for_others(tmp_path: Path) -> None:
    store = FilesystemBlobs(tmp_path, URL, "", b"k" * 32, reserve=2**60)
    with pytest.raises(Retryable, match="disk is full"):
        store.put("k", b"x")
    assert files(tmp_path) == []


def test_a_disk_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    store = FilesystemBlobs(tmp_path / "blobs", URL, "", b"k" * 32)
    with pytest.raises(Retryable, match="data folder"):
        store.put("k", b"x")


def test_nobody_else_may_read_the_files(store: FilesystemBlobs, tmp_path: Path) -> None:
    store.put("a/b", b"x")
    upload(store, b"part")
    for path in (tmp_path / "blobs").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_names_on_the_disk_collide_on_no_file_system(store: FilesystemBlobs, tmp_path: Path) -> None:
    keys = ["a/x", "a/X", "a/é", "a/e\u0301", "a/É", "a/ß", "a/SS", "a/ss", "A/x", "a/İ", "a/i", "a/K", "a/k", "a/\u212a"]
    for key in keys:
        store.put(key, key.encode())
    folded = {unicodedata.normalize("NFD", str(path.relative_to(tmp_path)).casefold()) for path in files(tmp_path)}
    assert len(folded) == len(keys)
    assert sorted(blob.key for blob in store.list("")) == sorted(keys)


def test_readable_names_stay_readable(store: FilesystemBlobs, tmp_path: Path) -> None:
    store.put("drop/me/besprechung 日本.m4a", b"x")
    assert [path.name for path in files(tmp_path)] == ["besprechung 日本.m4a~"]


@pytest.mark.parametrize("key", ["a//b", "a/", "n" * 255, "日" * 90])
def test_keys_that_are_no_file_names_are_refused_with_a_reason(store: FilesystemBlobs, key: str) -> None:
    with pytest.raises(Invalid, match=r"leave it away|shorten"):
        store.put(key, b"x")


def test_folders_go_with_their_last_object(store: FilesystemBlobs, tmp_path: Path) -> None:
    store.put("u/1/a/b", b"x")
    store.put("u/2", b"x")
    store.delete("u/1/a/b")
    assert [path.name for path in (tmp_path / "blobs/objects/u").iterdir()] == ["2~"]
    store.delete_prefix("u/")
    assert list((tmp_path / "blobs/objects").iterdir()) == []


def test_files_that_others_left_are_no_objects(store: FilesystemBlobs, tmp_path: Path) -> None:
    store.put("a/b", b"x")
    (tmp_path / "blobs/objects/a/.DS_Store").write_bytes(b"Finder was here")
    assert [blob.key for blob in store.list("")] == ["a/b"]


@pytest.mark.parametrize("damage", [0, 1, 5, 20, 40])
def test_a_damaged_file_is_said_and_never_served(store: FilesystemBlobs, tmp_path: Path, damage: int) -> None:
    store.put("k", b"x" * 100)
    path = files(tmp_path)[0]
    os.truncate(path, damage)
    for attempt in (lambda: store.open("k"), lambda: store.stat("k")):
        with pytest.raises(Permanent, match="backup"):
            attempt()
    store.put("k", b"new")
    assert store.open("k").read() == b"new"


def test_a_reader_keeps_what_it_opened(store: FilesystemBlobs) -> None:
    store.put("k", b"old bytes")
    with store.open("k") as reader:
        store.put("k", b"new")
        store.delete("k")
        assert reader.read() == b"old bytes"


def test_readers_leave_no_descriptor_open(store: FilesystemBlobs) -> None:
    store.put("k", b"x")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        with store.open("k") as reader:
            reader.read()
        store.stat("k")
        with pytest.raises(NotFound):
            store.open("none")
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("audio/flac", "audio/flac"),
        ('text/plain; charset="utf-8"', 'text/plain; charset="utf-8"'),
        ("text/html\r\nSet-Cookie: a=b", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("a/b; " + "x=y; " * 100 + "x=y", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_only_real_content_types_are_kept(store: FilesystemBlobs, given: str, kept: str) -> None:
    assert store.put("k", b"x", given).content_type == kept


def test_links_begin_with_the_address_of_their_audience(tmp_path: Path) -> None:
    store = FilesystemBlobs(tmp_path, "https://vault.example/", "http://127.0.0.1:9000", b"k" * 32)
    assert store.sign_get("k", 60, Audience.BROWSER).startswith("https://vault.example/blobs/k?")
    assert store.sign_get("k", 60, Audience.POD).startswith("http://127.0.0.1:9000/blobs/k?")


def test_leftovers_of_the_living_are_not_swept(store: FilesystemBlobs, tmp_path: Path) -> None:
    incoming = tmp_path / "blobs/.incoming"
    store.put("k", b"x")
    (incoming / "half").write_bytes(b"x")
    assert store.tidy() == 0
    assert store.tidy(0) == 1
    assert list(incoming.iterdir()) == []
