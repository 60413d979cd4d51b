"""`auricle models pull`: from the hub into `MODELS_DIR/NAME`, whole and verified or not at all.

Files gather in `NAME-DIGEST.partial` (the digest names exactly this content, so a killed pull goes on and a changed one
starts afresh), are verified, and the folder is renamed into place with its `.ok` inside.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from auricle.errors import Conflict, Invalid, NotFound, Permanent, Retryable
from auricle_gpu.download import fetch
from auricle_gpu.models import (
    PARTIAL,
    Entry,
    Kind,
    Manifest,
    ModelFile,
    catalogue,
    checked,
    describe,
    differs,
    manifest_of,
    write_manifest,
)

WANTED: dict[Kind, tuple[str, ...]] = {
    Kind.WHISPER: ("model.bin", "config.json", "tokenizer.json", "preprocessor_config.json", "vocabulary.*"),
    Kind.VOICES: ("*.onnx",),
    Kind.PYANNOTE: ("config.yaml", "**/*.bin", "**/*.npz"),
}
"""What of a repository is the model; the rest is pictures and prose."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a hub has of a repository: `revision` is the exact commit."""

    revision: str
    files: tuple[ModelFile, ...]


class Hub(Protocol):
    """Where models are published."""

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """The repository's files at `revision`. `NotFound`, `Permanent` (terms, sign-in) or `Retryable`."""
        ...

    def fetch(self, repo: str, revision: str, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        """Fill `target`, going on where it stops. `progress` hears bytes."""
        ...


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What `pull` did. `first_use` names files whose digests nobody had pinned: they are trusted from now on."""

    name: str
    path: Path
    revision: str
    files: tuple[ModelFile, ...]
    first_use: tuple[str, ...]
    fetched_bytes: int


class HuggingFace:
    """The Hugging Face hub, or one that speaks like it. Signs in with `hf auth login`'s token, if there is one."""

    def __init__(self, endpoint: str | None = None, pause: float = 1.0) -> None:
        """`endpoint` None is the public hub; `pause` seconds lie between tries."""
        self._endpoint = endpoint
        self._pause = pause

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            info = HfApi(endpoint=self._endpoint).model_info(repo, revision=revision, files_metadata=True, timeout=30)
        except GatedRepoError as error:
            raise Permanent(f"{repo} asks you to accept its terms: do so on the hub, then run `hf auth login`.") from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise NotFound(f"The hub has no {repo} at {revision}: check repo and revision in models.toml.") from error
        except (HfHubHTTPError, OSError, RuntimeError) as error:
            raise Retryable("The model hub does not answer: check the connection and try again.") from error
        except Exception as error:
            if type(error).__module__.startswith(("httpx", "httpcore")):  # its client's own errors, whichever client it is
                raise Retryable("The model hub cannot be reached: check the connection and try again.") from error
            raise
        files = tuple(
            ModelFile(path=sibling.rfilename, size=int(sibling.size or 0), sha256=sibling.lfs.sha256 if sibling.lfs else "")
            for sibling in info.siblings or ()
        )
        return Snapshot(revision=str(info.sha), files=files)

    def fetch(self, repo: str, revision: str, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        from huggingface_hub import get_token, hf_hub_url

        url = hf_hub_url(repo, file.path, revision=revision, endpoint=self._endpoint)
        token = get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        fetch(url, target, file.size, progress, headers=headers, pause=self._pause)


def pull(name: str, models_dir: Path, progress: Callable[[float], None], hub: Hub | None = None) -> Pulled:
    """Bring the model `name` of models.toml to `models_dir`; a second pull of what is there only looks at the hub.

    Raises `NotFound` for unknown names, `Invalid` for built-in ones, `Permanent` for wrong bytes, `Retryable` when the
    connection breaks: the next pull goes on from there.
    """
    entry = _published(name)
    hub = hub or HuggingFace()
    models_dir.mkdir(parents=True, exist_ok=True)
    with _alone(models_dir / f".{name}.lock", name):
        snapshot = hub.snapshot(entry.repo, entry.revision)
        wanted = _wanted(entry, snapshot)
        target = models_dir / name
        manifest = manifest_of(target)
        if manifest is not None and manifest.source == _source(entry, snapshot) and _all_there(target, manifest):
            progress(1.0)
            return Pulled(
                name=name, path=target, revision=snapshot.revision, files=manifest.files, first_use=(), fetched_bytes=0
            )
        partial = models_dir / f"{name}-{_digest(entry, snapshot, wanted)[:12]}{PARTIAL}"
        partial.mkdir(exist_ok=True)
        fetched = _gather(hub, entry, snapshot, wanted, partial, progress)
        files = _verified(name, wanted, partial)
        write_manifest(partial, Manifest(name=name, source=_source(entry, snapshot), files=files))
        _publish(partial, target)
        for stale in models_dir.glob(f"{name}-*{PARTIAL}"):
            shutil.rmtree(stale, ignore_errors=True)
    pinned = {file.path for file in entry.files if file.sha256}
    first_use = tuple(file.path for file in files if file.path not in pinned)
    return Pulled(name=name, path=target, revision=snapshot.revision, files=files, first_use=first_use, fetched_bytes=fetched)


def _published(name: str) -> Entry:
    entry = catalogue().get(checked(name))
    if entry is None:
        known = ", ".join(sorted(n for n, e in catalogue().items() if e.repo))
        raise NotFound(f"models.toml has no model “{name}”. It can pull: {known}.")
    if not entry.repo:
        raise Invalid(f"The model {name} comes with Auricle: there is nothing to pull.")
    return entry


def _wanted(entry: Entry, snapshot: Snapshot) -> tuple[ModelFile, ...]:
    """The files to fetch: the pinned ones with their digests, or what of the repository makes the model."""
    there = {file.path: file for file in snapshot.files}
    if entry.files:
        for file in entry.files:
            if file.path not in there:
                raise Permanent(f"{entry.repo} no longer has {file.path}: pin another revision in models.toml.")
        return entry.files
    patterns = WANTED[entry.kind]
    wanted = tuple(f for f in snapshot.files if any(PurePosixPath(f.path).match(pattern) for pattern in patterns))
    if not wanted:
        raise Permanent(f"{entry.repo} holds no {entry.kind} model: check repo and revision in models.toml.")
    for file in wanted:
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts:
            raise Permanent(f"{entry.repo} holds a file whose path leads elsewhere ({file.path}): it is not fetched.")
    return wanted


def _gather(
    hub: Hub,
    entry: Entry,
    snapshot: Snapshot,
    wanted: tuple[ModelFile, ...],
    partial: Path,
    progress: Callable[[float], None],
) -> int:
    """Fetch what `partial` lacks; returns how many bytes came."""
    total = max(1, sum(file.size for file in wanted))
    done = fetched = 0
    for file in wanted:
        target = partial / file.path
        before = target.stat().st_size if target.is_file() else 0

        def tell(there: int, done: int = done) -> None:
            progress((done + there) / total)

        hub.fetch(entry.repo, snapshot.revision, file, target, tell)
        done += file.size
        fetched += max(0, file.size - before)
    return fetched


def _verified(name: str, wanted: tuple[ModelFile, ...], partial: Path) -> tuple[ModelFile, ...]:
    """The files as they are on disk. A wrong one is removed, so that the next pull fetches just that one again."""
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


def _publish(partial: Path, target: Path) -> None:
    """Rename the finished folder into place and make that last; an older one of the same name goes."""
    for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
        _fsync_folder(folder)
    old = target.with_name(f"{target.name}-old{PARTIAL}")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    _fsync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _fsync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _source(entry: Entry, snapshot: Snapshot) -> str:
    return f"{entry.repo}@{snapshot.revision}"


def _digest(entry: Entry, snapshot: Snapshot, wanted: tuple[ModelFile, ...]) -> str:
    """Names exactly this content."""
    return hashlib.sha256(_source(entry, snapshot).encode() + msgspec.json.encode(wanted)).hexdigest()


def _all_there(target: Path, manifest: Manifest) -> bool:
    paths = ((target / file.path, file.size) for file in manifest.files)
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


@contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    """One pull of a model at a time, whatever process it runs in."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"The model {name} is being pulled already: wait for that to end.") from error
        yield
