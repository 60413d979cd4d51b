"""`auricle models pull`: from the hub into `MODELS_DIR/NAME`, whole and verified or not at all.

`folders` does the work on the disk, `sources.hub` the talking.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec

from auricle.errors import Invalid, NotFound, Permanent
from auricle_gpu.folders import alone, discard, gather, leads_out, leftovers, opened, partial_of, publish, verified
from auricle_gpu.manifest import Manifest, ModelFile, checked, manifest_of
from auricle_gpu.models import Entry, Kind, catalogue
from auricle_gpu.sources.hub import Hub, HuggingFace, Snapshot

WANTED: dict[Kind, tuple[str, ...]] = {
    Kind.WHISPER: ("model.bin", "config.json", "tokenizer.json", "preprocessor_config.json", "vocabulary.*"),
    Kind.VOICES: ("*.onnx",),
    Kind.PYANNOTE: ("config.yaml", "**/*.bin", "**/*.npz"),
}
"""What of a repository is the model; the rest is pictures and prose."""


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What `pull` did. `first_use` names files whose digests nobody had pinned: they are trusted from now on."""

    name: str
    path: Path
    revision: str
    files: tuple[ModelFile, ...]
    first_use: tuple[str, ...]
    fetched_bytes: int


def pull(name: str, models_dir: Path, progress: Callable[[float], None], hub: Hub | None = None) -> Pulled:
    """Bring the model `name` of models.toml to `models_dir`; a second pull of what is there only looks at the hub.

    Raises `NotFound` for unknown names, `Invalid` for built-in ones, `Permanent` for wrong bytes, `Retryable` when the
    connection breaks: the next pull goes on from there.
    """
    entry = _published(name)
    hub = hub or HuggingFace()
    models_dir.mkdir(parents=True, exist_ok=True)
    with alone(models_dir, name):
        snapshot = hub.snapshot(entry.repo, entry.revision)
        wanted = _wanted(entry, snapshot)
        target = models_dir / name
        manifest = manifest_of(target)
        same = manifest is not None and (manifest.source, manifest.revision) == (entry.repo, snapshot.revision)
        if manifest is not None and same and _all_there(target, manifest):
            progress(1.0)
            return Pulled(
                name=name, path=target, revision=snapshot.revision, files=manifest.files, first_use=(), fetched_bytes=0
            )
        partial = opened(partial_of(models_dir, name, _digest(entry, snapshot, wanted)), wanted)
        total = max(1, sum(file.size for file in wanted))
        source = hub.at(entry.repo, snapshot.revision)
        fetched = gather(source, wanted, partial, lambda _, there: progress(there / total))
        files = verified(name, wanted, partial)
        publish(partial, Manifest(model=name, revision=snapshot.revision, source=entry.repo, files=files))
        for stale in leftovers(models_dir, name):
            discard(stale)
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
        if leads_out(file.path):
            raise Permanent(f"{entry.repo} holds a file whose path leads elsewhere ({file.path}): it is not fetched.")
    return wanted


def _source(entry: Entry, snapshot: Snapshot) -> str:
    return f"{entry.repo}@{snapshot.revision}"


def _digest(entry: Entry, snapshot: Snapshot, wanted: tuple[ModelFile, ...]) -> str:
    """Names exactly this content."""
    return hashlib.sha256(_source(entry, snapshot).encode() + msgspec.json.encode(wanted)).hexdigest()


def _all_there(target: Path, manifest: Manifest) -> bool:
    paths = ((target / file.path, file.size) for file in manifest.files)
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)
