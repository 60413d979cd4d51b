"""Part uploads of the filesystem store: one folder each, with a file per part.

`upload.json` says what is being uploaded. Once finishing has begun, `plan.json` holds the chosen parts and `whole` grows by
one part after the other, each forgotten as soon as it is safely in: the disk never holds more than the file and one part, and
whoever finishes after a crash goes on where it stopped.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from auricle.adapters.blobs.filesystem.durable import (
    Footer,
    append,
    aside,
    disk_errors,
    make_folders,
    place,
    seal,
    sync_folder,
    unseal,
)
from auricle.adapters.blobs.keys import check_complete
from auricle.errors import Conflict, NotFound
from auricle.ports.blobs import Blob, Part

REFERENCE = re.compile(r"[0-9a-f]{32}")
PART_FILE = re.compile(r"[0-9]{5}")

Parts = list[Part]


class Upload(msgspec.Struct, frozen=True):
    """What is being uploaded."""

    key: str
    type: str


class Uploads:
    """The unfinished part uploads in `folder`; `incoming` is for files being written."""

    def __init__(self, folder: Path, incoming: Path) -> None:
        self._folder = folder
        self._incoming = incoming

    def begin(self, key: str, content_type: str) -> str:
        """Open an upload; returns its reference."""
        reference = secrets.token_hex(16)
        made = self._incoming / reference
        with disk_errors():
            make_folders(self._folder)
            make_folders(made)
            self._record(made / "upload.json", Upload(key, content_type))
            made.replace(self._folder / reference)  # a crash before this leaves nothing that looks like an upload
            sync_folder(self._folder)
        return reference

    def add(self, key: str, reference: str, number: int, partial: Path) -> None:
        """Take the sealed file `partial` as part `number`, replacing an earlier one."""
        with self._opened(key, reference, fcntl.LOCK_SH | fcntl.LOCK_NB) as (folder, _):
            if (folder / "plan.json").exists():
                raise Conflict("This upload is being finished: it takes no more parts.")
            place(partial, folder / f"{number:05}", self._folder)

    def parts(self, key: str, reference: str) -> Parts:
        """The parts that are there, by number."""
        return self._parts(self._existing(key, reference))

    def finish(self, key: str, reference: str, parts: Sequence[Part], deliver: Callable[[Path], None]) -> Blob:
        """Join `parts` to one sealed file, hand it to `deliver`, which moves it away, and forget the upload."""
        with self._opened(key, reference, fcntl.LOCK_EX) as (folder, upload):
            self._choose(folder, parts)
            blob = self._join(folder, upload, parts)
            deliver(folder / "whole")
            self._forget(folder)
        return blob

    def abort(self, key: str, reference: str) -> None:
        """Forget the upload and its bytes; fine when it is gone. Waits for a finish that is under way."""
        with suppress(NotFound), self._opened(key, reference, fcntl.LOCK_EX) as (folder, _):
            self._forget(folder)

    def under(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Key and reference of every upload whose key starts with `prefix`."""
        for path in self._folder.glob("*/upload.json"):
            try:
                upload = msgspec.json.decode(path.read_bytes(), type=Upload)
            except FileNotFoundError:  # finished while we looked
                continue
            if upload.key.startswith(prefix):
                yield upload.key, path.parent.name

    def _existing(self, key: str, reference: str) -> Path:
        """The upload's folder; `NotFound` when there is none, or it is for another key."""
        folder = self._folder / reference
        if REFERENCE.fullmatch(reference):
            try:
                upload = msgspec.json.decode((folder / "upload.json").read_bytes(), type=Upload)
            except FileNotFoundError:
                upload = None
            if upload is not None and upload.key == key:
                return folder
        raise NotFound("There is no such upload (any more): it was finished or given up. Begin a new one.")

    @contextmanager
    def _opened(self, key: str, reference: str, lock: int) -> Iterator[tuple[Path, Upload]]:
        """The upload's folder and description, locked against other threads and processes."""
        folder = self._existing(key, reference)
        try:
            descriptor = os.open(folder / "upload.json", os.O_RDONLY)
        except FileNotFoundError:
            raise NotFound("This upload was finished or given up just now. Begin a new one.") from None
        try:
            try:
                fcntl.flock(descriptor, lock)
            except OSError as error:
                if error.errno != errno.EWOULDBLOCK:
                    raise
                raise Conflict("This upload is being finished: it takes no more parts.") from None
            self._existing(key, reference)  # it may have been finished while we waited
            yield folder, msgspec.json.decode(os.pread(descriptor, 65536, 0), type=Upload)
        finally:
            os.close(descriptor)

    def _parts(self, folder: Path) -> Parts:
        try:
            return msgspec.json.decode((folder / "plan.json").read_bytes(), type=Parts)
        except FileNotFoundError:
            names = sorted(path for path in folder.iterdir() if PART_FILE.fullmatch(path.name))
            return [self._part(path) for path in names]

    def _part(self, path: Path) -> Part:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            size, footer = unseal(descriptor)
        finally:
            os.close(descriptor)
        return Part(int(path.name), size, footer.etag)

    def _choose(self, folder: Path, parts: Sequence[Part]) -> None:
        """Fix what becomes the object; `Invalid` when that is not what the caller thinks."""
        there = self._parts(folder)
        check_complete(parts, there)
        if not (folder / "plan.json").exists():
            self._record(folder / "plan.json", there)

    def _join(self, folder: Path, upload: Upload, parts: Sequence[Part]) -> Blob:
        """Make `whole` out of the parts, whatever of that was done before."""
        whole, at = folder / "whole", 0
        sizes = {part.number: part.size for part in self._parts(folder)}
        first = folder / f"{parts[0].number:05}"
        with disk_errors():
            if first.exists() and not whole.exists():
                first.replace(whole)
            try:
                target = os.open(whole, os.O_RDWR)
            except FileNotFoundError:
                raise NotFound("The parts of this upload are gone: it was finished before.") from None
            try:
                for part in parts:
                    self._take(folder / f"{part.number:05}", target, sizes[part.number], at)
                    at += sizes[part.number]
                blob = Blob(upload.key, at, joined_etag(parts), upload.type)
                seal(target, at, Footer(blob.etag, blob.content_type))
            finally:
                os.close(target)
        return blob

    def _take(self, part: Path, target: int, size: int, at: int) -> None:
        """Copy a part into the whole, then forget it; one that is gone is in already."""
        try:
            source = os.open(part, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            append(source, target, size, at)
        finally:
            os.close(source)
        os.fsync(target)
        part.unlink()

    def _forget(self, folder: Path) -> None:
        """Gone in one step, then its bytes: a crash in between leaves only what `tidy` sweeps."""
        grave = self._incoming / secrets.token_hex(16)
        with disk_errors():
            folder.replace(grave)
        shutil.rmtree(grave, ignore_errors=True)

    def _record(self, path: Path, value: object) -> None:
        with aside(self._incoming) as (descriptor, partial), disk_errors():
            os.write(descriptor, msgspec.json.encode(value))
            os.fsync(descriptor)
            partial.replace(path)
            sync_folder(path.parent)


def joined_etag(parts: Sequence[Part]) -> str:
    """The etag of an object made of `parts`: a hash of theirs, and how many there are."""
    return hashlib.blake2b("\n".join(part.etag for part in parts).encode(), digest_size=16).hexdigest() + f"-{len(parts)}"
