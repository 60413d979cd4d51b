"""What a model's folder says of itself: its `.ok`, written last, with every file's size and digest.

Standard library and msgspec only: whoever fetches models needs none of what runs them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from auricle.errors import Invalid

OK = ".ok"
"""The file in a model's folder that lists its verified files. A folder without it was put there by hand."""
PARTIAL = ".partial"
NAME = re.compile(r"^[a-z0-9][a-z0-9._-]{0,79}$")


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a model: `path` inside its folder, `size` in bytes, `sha256` in hex (empty: nobody knows it yet)."""

    path: str
    size: int
    sha256: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The `.ok` file, written last: what was verified, and where it came from. Whoever fills a volume writes the same JSON.

    `source` is the repository (or "by hand"), `revision` its exact commit (empty by hand).
    """

    model: str
    revision: str
    source: str = ""
    files: tuple[ModelFile, ...]


class _OlderManifest(msgspec.Struct, frozen=True, kw_only=True):
    """`.ok` as the first version wrote it: `source` held repository and commit."""

    name: str
    source: str
    files: tuple[ModelFile, ...]


def content(model: str, files: Iterable[ModelFile]) -> str:
    """Names a model's bytes, wherever they come from: sha256, in hex, over its name and its files' paths, sizes and digests."""
    said = [model, *sorted((file.path, file.size, file.sha256) for file in files)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def differs(expected: ModelFile, actual: ModelFile) -> str:
    """How a file is not what it should be, as the end of a sentence; empty when it is right."""
    if actual.size != expected.size:
        return f"has {actual.size} bytes instead of {expected.size}"
    if expected.sha256 and actual.sha256 != expected.sha256:
        return "has another sha256"
    return ""


def describe(path: Path, name: str) -> ModelFile:
    """Size and digest of one file on disk."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return ModelFile(path=name, size=path.stat().st_size, sha256=digest.hexdigest())


def manifest_of(folder: Path) -> Manifest | None:
    """The folder's `.ok`, if it has a readable one."""
    try:
        written = (folder / OK).read_bytes()
    except OSError:
        return None
    try:
        return msgspec.json.decode(written, type=Manifest)
    except msgspec.DecodeError:
        return _older(written)


def _older(written: bytes) -> Manifest | None:
    try:
        older = msgspec.json.decode(written, type=_OlderManifest)
    except msgspec.DecodeError:
        return None
    source, _, revision = older.source.partition("@")
    return Manifest(model=older.name, revision=revision, source=source, files=older.files)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `.ok`, whole or not at all."""
    temporary = folder / f"{OK}.new"
    with temporary.open("w") as file:
        json.dump(msgspec.to_builtins(manifest), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / OK)


def checked(name: str) -> str:
    """`name` when it can be a folder's name; `Invalid` for anything that could lead elsewhere."""
    if not NAME.match(name):
        raise Invalid(f"“{name[:80]}” is no name of a model: use small letters, digits, dots and dashes.")
    return name
