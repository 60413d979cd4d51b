"""Keys as paths below a folder, and back: two different keys never share a file, on any file system we run on.

A segment becomes a folder of that name, the last one a file whose name ends in `~`, so that `a` and `a/b` can both exist.
Whatever could collide is percent-encoded: capitals (macOS ignores case), text that is not in Unicode normal form C (macOS
treats both forms alike), control characters, `%` and `~`. Everything else is readable as it was given.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from auricle.errors import Invalid

OBJECT = "~"
MAX_NAME_BYTES = 255
"""What ext4, XFS, Btrfs and APFS allow for one name."""


def path_of(root: Path, key: str) -> Path:
    """The file of `key`; `Invalid` when a segment is empty or too long for a file name."""
    segments = [_encoded(segment) for segment in key.split("/")]
    if not all(segments):
        raise Invalid("The object's key has an empty segment ('//' or a slash at the end): leave it away.")
    segments[-1] += OBJECT
    if any(len(segment.encode()) > MAX_NAME_BYTES for segment in segments):
        raise Invalid("A part of the object's name is too long for this disk: shorten it.")
    return root.joinpath(*segments)


def objects(root: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Key and file of every object whose key starts with `prefix`, in the order of the keys' UTF-8 bytes."""
    base = prefix[: prefix.rfind("/") + 1]
    segments = [_encoded(segment) for segment in base.split("/")[:-1]]
    if all(segments):
        yield from _walk(root.joinpath(*segments), base, prefix)


def _walk(folder: Path, base: str, prefix: str) -> Iterator[tuple[str, Path]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(_named(entry, base) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):  # nothing there, or deleted while we looked
        return
    for key, name in found:
        if not (key.startswith(prefix) or prefix.startswith(key)):
            continue
        if key.endswith("/"):
            yield from _walk(folder / name, key, prefix)
        elif key.startswith(prefix):
            yield key, folder / name


def _named(entry: os.DirEntry[str], base: str) -> tuple[str, str]:
    """What sorts as the keys do: folders with their slash."""
    if entry.name.endswith(OBJECT):
        return base + unquote(entry.name[: -len(OBJECT)]), entry.name
    return f"{base}{unquote(entry.name)}/", entry.name


def _encoded(segment: str) -> str:
    composed = unicodedata.is_normalized("NFC", segment)
    return "".join(char if _plain(char, composed) else "".join(f"%{byte:02x}" for byte in char.encode()) for char in segment)


def _plain(char: str, composed: bool) -> bool:
    if char in "%~/" or not char.isprintable():
        return False
    return char.casefold() == char and (composed or char.isascii())
