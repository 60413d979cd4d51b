"""The same list as a file on this machine, for an air gap: what Have I Been Pwned's downloader writes, ordered by digest."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import BinaryIO

from auricle.ports.breaches import breach_digest

log = logging.getLogger(__name__)

_LINE = re.compile(rb"([0-9A-Fa-f]{40}):([0-9]{1,12})\r?\n?")
_LONGEST = 64
"""Bytes of a line, and more than any has."""


class PwnedFile:
    """Implements `ports.breaches.BreachList` by halving: some thirty reads in the whole list of 40 GB. Safe for threads."""

    def __init__(self, path: Path) -> None:
        """`path`: lines `DIGEST:COUNT` in ascending order. It is opened for each question, so that it may be replaced."""
        self._path = path

    def count(self, password: str) -> int | None:
        """As the port says."""
        digest = breach_digest(password).encode()
        try:
            with self._path.open("rb") as file:
                return _find(file, digest)
        except (OSError, ValueError) as error:
            log.warning("the file of stolen passwords cannot be read: %s", type(error).__name__)
            return None


def _find(file: BinaryIO, digest: bytes) -> int:
    """The count beside `digest`, 0 when it is not there; `ValueError` when a line is none."""
    low, high = 0, file.seek(0, 2)  # the line, if it is there, begins at or after `low` and before `high`
    if high == 0:
        raise ValueError("an empty list")
    while low < high:
        middle = (low + high) // 2
        start, line = _line_from(file, middle)
        if start >= high:
            high = middle
            continue
        found, count = _parsed(line)
        if found == digest:
            return count
        low, high = (start + len(line), high) if found < digest else (low, middle)
    return 0


def _line_from(file: BinaryIO, position: int) -> tuple[int, bytes]:
    """The first line that begins at `position` or after it, and where; at the end of the file, nothing."""
    if position == 0:
        file.seek(0)
        return 0, file.readline(_LONGEST)
    file.seek(position - 1)  # from the byte before: a line that begins exactly here is not skipped
    start = position - 1 + len(file.readline(_LONGEST))
    return start, file.readline(_LONGEST)


def _parsed(line: bytes) -> tuple[bytes, int]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("a line that is no digest with its count")
    return match[1].upper(), int(match[2])
