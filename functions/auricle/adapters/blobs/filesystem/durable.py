"""Files that are there whole or not at all, also after a power cut: write aside, fsync, rename, fsync the folder.

An object's file is its bytes followed by a footer (etag and content type), because one rename then replaces both at once; a
sidecar would need two, and a crash between them would pair old bytes with a new etag.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from auricle.errors import Permanent, Retryable

MAGIC = b"~auricle"
TAIL = 1024
"""Bytes: one read of this many finds the footer."""
BLOCK = 256 * 1024
CHECK_EVERY = 64 * BLOCK
"""Bytes between two looks at the free space."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RANGE_COPY = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
PLACING_TRIES = 8


class Footer(msgspec.Struct, frozen=True):
    """What stands behind an object's bytes. `etag` is a hash of the bytes."""

    etag: str
    type: str


class Readable(Protocol):
    """Where bytes come from: a file, or a request's body."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...


@contextmanager
def disk_errors() -> Iterator[None]:
    """Say what the disk means."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise full() from error
        raise Retryable(f"The disk cannot be used: {error.strerror}. Check the data folder's disk and rights.") from error


def full() -> Retryable:
    """The disk is full, as an error."""
    return Retryable("The disk is full: free some space, then try again. Nothing was stored.", delay=60)


@contextmanager
def aside(folder: Path) -> Iterator[tuple[int, Path]]:
    """A new file in `folder`, readable by the owner alone: its descriptor and path. Gone afterwards unless it was moved."""
    with disk_errors():
        make_folders(folder)
        descriptor, name = tempfile.mkstemp(dir=folder)
    try:
        yield descriptor, Path(name)
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            Path(name).unlink()


def receive(source: Readable, descriptor: int, reserve: int) -> tuple[int, str]:
    """Write all of `source`; returns size and etag. `Retryable` before the disk has less than `reserve` bytes left."""
    seen, size, unchecked = hashlib.blake2b(digest_size=16), 0, CHECK_EVERY
    while block := source.read(BLOCK):  # what goes wrong here is the source's affair, not the disk's
        with disk_errors():
            if reserve and unchecked >= CHECK_EVERY:
                _check_space(descriptor, reserve)
                unchecked = 0
            _write(descriptor, block)
        seen.update(block)
        size += len(block)
        unchecked += len(block)
    return size, seen.hexdigest()


def seal(descriptor: int, size: int, footer: Footer) -> None:
    """End the file after `size` bytes with `footer`, and make sure that it is on the disk."""
    text = msgspec.json.encode(footer)
    with disk_errors():
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)
        _write(descriptor, text + len(text).to_bytes(4, "big") + MAGIC)
        os.fsync(descriptor)


def unseal(descriptor: int) -> tuple[int, Footer]:
    """Size of the object in this file, and its footer; `Permanent` when the file is damaged."""
    length = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, TAIL, max(0, length - TAIL))
    text_length = int.from_bytes(tail[-12:-8], "big")
    size = length - 12 - text_length
    if not tail.endswith(MAGIC) or size < 0 or text_length + 12 > len(tail):
        raise Permanent("A stored object is damaged (its end is missing): restore it from a backup.")
    return size, msgspec.json.decode(tail[-12 - text_length : -12], type=Footer)


def place(partial: Path, target: Path, root: Path) -> None:
    """Move `partial` to `target` below `root`, replacing what is there; folders are made as needed."""
    with disk_errors():
        for attempt in range(PLACING_TRIES):
            try:
                made = make_folders(target.parent)
                partial.replace(target)
                break
            except FileNotFoundError:  # somebody pruned the empty folder that we were about to use: again
                if attempt == PLACING_TRIES - 1:
                    raise
        with suppress(FileNotFoundError):  # deleted again already
            sync_folder(target.parent)
            for folder in made:
                if folder.is_relative_to(root):
                    sync_folder(folder.parent)


def forget(path: Path, root: Path) -> bool:
    """Delete `path` and the folders this leaves empty, up to `root`; returns whether it was there."""
    with disk_errors():
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        with suppress(FileNotFoundError):
            sync_folder(path.parent)
    for folder in path.parents:
        if folder == root:
            break
        try:
            folder.rmdir()
        except OSError:  # not empty
            break
    return True


def make_folders(folder: Path) -> list[Path]:
    """Make `folder` and what is missing above it, all for the owner alone; returns those that were missing.

    (`Path.mkdir` gives parents to everybody, and fails when another process removes what it just found.)
    """
    missing = [folder]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    for path in reversed(missing[:-1]):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    return missing[:-1]


def append(source: int, target: int, size: int, at: int) -> None:
    """Copy the first `size` bytes of `source` to offset `at` of `target`, by the kernel where it can (Btrfs and XFS share)."""
    done = 0
    copy_range: Callable[..., int] | None = getattr(os, "copy_file_range", None)
    while done < size:
        if copy_range is not None:
            try:
                moved = copy_range(source, target, size - done, done, at + done)
            except OSError as error:
                if error.errno not in NO_RANGE_COPY:
                    raise
                copy_range = None
                continue
        else:
            moved = os.pwrite(target, os.pread(source, min(BLOCK, size - done), done), at + done)
        if not moved:
            raise Permanent("A stored part is damaged (its end is missing): upload the file again.")
        done += moved


def sync_folder(folder: Path) -> None:
    """Make sure that the names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Body(io.RawIOBase):
    """The bytes of an object's file without its footer. Owns the descriptor."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("seek before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._size - self._at))
        found = os.pread(self._descriptor, wanted, self._at)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _check_space(descriptor: int, reserve: int) -> None:
    disk = os.fstatvfs(descriptor)
    if disk.f_bavail * disk.f_frsize < reserve:
        raise full()
