"""Folders of models, whole and verified or not there at all: for whoever fetches models, by hand or as a job.

Files gather in `NAME-DIGEST.partial` (the digest names exactly this content, so a killed fetch goes on and a changed one
starts afresh), are verified by size and sha256, get their `.ok`, and the folder is exchanged with the one in place by one
rename: who reads the old files keeps them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from auricle.errors import Conflict, Permanent
from auricle_gpu.manifest import OK, PARTIAL, Manifest, ModelFile, describe, differs, manifest_of, write_manifest
from auricle_gpu.sources import Source

EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""
AT_CWD = -100
NO_LINKS = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems say that cannot link these two files."""


def leads_out(path: str) -> bool:
    """Whether a file's path would leave the folder, or be one of ours (`.ok`)."""
    parts = PurePosixPath(path).parts
    return not parts or PurePosixPath(path).is_absolute() or ".." in parts or parts[0].startswith(OK) or "\0" in path


def partial_of(models_dir: Path, name: str, digest: str) -> Path:
    """Where the content `digest` of a model gathers."""
    return models_dir / f"{name}-{digest[:12]}{PARTIAL}"


def opened(partial: Path, files: Sequence[ModelFile]) -> Path:
    """`partial`, to go on with. An exchange that was cut off has left there what was in place before: readers may have it open,
    so it is removed and not written into."""
    manifest = manifest_of(partial)
    if manifest is not None and {(f.path, f.size) for f in manifest.files} != {(f.path, f.size) for f in files}:
        discard(partial)
    distrust(partial)
    partial.mkdir(exist_ok=True)
    return partial


def gather(source: Source, wanted: Sequence[ModelFile], partial: Path, progress: Callable[[ModelFile, int], None]) -> int:
    """Fetch what `partial` lacks; returns how many bytes came. `progress` hears the file and the bytes of all files."""
    done = fetched = 0
    for file in wanted:
        target = partial / file.path
        there = _kept(target, file.size)

        def tell(there: int, file: ModelFile = file, done: int = done) -> None:
            progress(file, done + there)

        if there == file.size and target.is_file():
            fsync(target)
            tell(there)
        else:
            source.fetch(file, target, tell)
        done += file.size
        fetched += file.size - there
    return fetched


def _kept(target: Path, size: int) -> int:
    """Bytes of an unfinished file that a fetch goes on from. What is too long, or also somebody else's, is not written into."""
    if not target.is_file():
        return 0
    found = target.stat()
    if found.st_size > size or (found.st_nlink > 1 and found.st_size != size):
        target.unlink()
        return 0
    return found.st_size


def wrong_files(folder: Path, wanted: Sequence[ModelFile], progress: Callable[[ModelFile, int], None]) -> dict[str, str]:
    """The files of `folder` that are missing or not what they should be, by path, each with the end of a sentence. Every byte
    is read; `progress` hears the file and the bytes of all files."""
    wrong: dict[str, str] = {}
    done = 0
    for file in wanted:
        path = folder / file.path
        found = differs(file, describe(path, file.path)) if path.is_file() else "is missing"
        if found:
            wrong[file.path] = found
        done += file.size
        progress(file, done)
    return wrong


def verified(name: str, wanted: Sequence[ModelFile], partial: Path) -> tuple[ModelFile, ...]:
    """The files as they are on disk. A wrong one is removed, so that the next try fetches just that one again."""
    found: list[ModelFile] = []
    for file in wanted:
        path = partial / file.path
        actual = describe(path, file.path)
        wrong = differs(file, actual)
        if wrong:
            path.unlink()
            raise Permanent(f"{file.path} of {name} {wrong}: it was thrown away. Run `auricle models pull {name}` again.")
        found.append(actual)
    return tuple(found)


def publish(partial: Path, manifest: Manifest) -> Path:
    """Write `.ok` into the verified folder `partial`, make it last on disk and exchange it with what lies in its place."""
    target = partial.with_name(manifest.model)
    for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
        fsync_folder(folder)
    write_manifest(partial, manifest)
    fsync_folder(partial)
    if not target.exists():
        partial.rename(target)
    elif _exchanged(partial, target):
        fsync_folder(target.parent)
        discard(partial)
    else:
        old = target.with_name(f"{target.name}-{'0' * 12}{PARTIAL}")
        discard(old)
        target.rename(old)
        partial.rename(target)
        fsync_folder(target.parent)
        discard(old)
    fsync_folder(target.parent)
    return target


def discard(folder: Path) -> None:
    """Remove a folder; its `.ok` goes first, so that nobody takes half of it for a model."""
    distrust(folder)
    shutil.rmtree(folder, ignore_errors=True)


def distrust(folder: Path) -> None:
    """From now on no function takes this folder: its `.ok` goes, for good."""
    with suppress(FileNotFoundError, NotADirectoryError):
        (folder / OK).unlink()
        fsync_folder(folder)


def leftovers(models_dir: Path, name: str) -> list[Path]:
    """Unfinished folders of the model, of whatever content."""
    ours = re.compile(rf"^{re.escape(name)}-([0-9a-f]{{12}}|old){re.escape(PARTIAL)}$")
    return [path for path in models_dir.iterdir() if ours.match(path.name)]


def link_known(models_dir: Path, partial: Path, name: str, wanted: Sequence[ModelFile]) -> int:
    """Give `partial` the files that a verified folder, or the model's own one, has already, as hard links; returns their bytes.
    Who calls verifies them like all others."""
    known = {(file.sha256, file.size): models_dir / name / file.path for file in wanted}
    known = {what: path for what, path in known.items() if path.is_file() and path.stat().st_size == what[1]}
    for folder in sorted(models_dir.iterdir()):
        manifest = manifest_of(folder) if folder.is_dir() and folder.suffix != PARTIAL else None
        for file in manifest.files if manifest else ():
            if file.sha256 and not leads_out(file.path):
                known.setdefault((file.sha256, file.size), folder / file.path)
    linked = 0
    for file in wanted:
        target, other = partial / file.path, known.get((file.sha256, file.size))
        if other is None or (target.is_file() and target.stat().st_size == file.size):
            continue
        if _linked(other, target, file.size):
            linked += file.size
    return linked


def _linked(other: Path, target: Path, size: int) -> bool:
    if not other.is_file() or other.is_symlink() or other.stat().st_size != size:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        target.unlink()
    try:
        target.hardlink_to(other)
    except OSError as error:
        if error.errno in NO_LINKS:
            return False
        raise
    return True


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the two could be given each other's name in one step; not every file system can (NFS, overlay of old kernels)."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(AT_CWD, os.fsencode(one), AT_CWD, os.fsencode(other), EXCHANGE) == 0)


def fsync(path: Path) -> None:
    """Make a file's bytes last."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Make names in a folder last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(models_dir: Path, name: str, waiting: Callable[[], None] | None = None, pause: float = 1.0) -> Iterator[None]:
    """One at a time on a model's folder, whatever process or pod it is. `waiting` is called every `pause` seconds until it is
    our turn; without it, `Conflict`."""
    with (models_dir / f".{name}.lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if waiting is None:
                    raise Conflict(f"The model {name} is being pulled already: wait for that to end.") from error
            waiting()
            time.sleep(pause)
        yield
