"""One file over HTTP into one file on disk, going on where an earlier try stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from auricle.errors import Permanent, Retryable

BLOCK = 2**16
"""Bytes that a breaking connection may cost: what lies in an unfinished block is fetched again."""
TRIES = 5
"""Tries in a row that bring no byte; any progress starts the count anew."""


class Advice(msgspec.Struct, frozen=True):
    """What a person does when a server refuses, as sentences: who they are (401, 403), or anything else."""

    refused: str
    missing: str


class _Broke(Exception):
    """The connection, or a server that is in trouble: trying again may help."""


def fetch(
    url: str,
    target: Path,
    size: int,
    progress: Callable[[int], None],
    *,
    headers: Mapping[str, str] | None = None,
    pause: float = 1.0,
    advice: Advice,
) -> None:
    """Fill `target` with the `size` bytes behind `url` and fsync it; what `target` holds already is not fetched again.

    `progress` hears how many bytes are there. `pause` seconds (doubling) lie between tries. Raises `Permanent` when the
    server refuses (with `advice`), `Retryable` when it is away: calling again goes on from there. The disk's own errors
    (`OSError`) are not tried again.
    """
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=60))
    failures = 0
    if size == 0:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    while (there := _size(target)) < size:
        try:
            _one_try(pool, url, target, size, progress, headers or {}, advice)
        except (HTTPError, _Broke) as error:
            if _size(target) > there:
                failures = 0
            failures += 1
            if failures >= TRIES:
                raise Retryable("The download stopped: check the connection, then run the same command again.") from error
            time.sleep(pause * 2 ** (failures - 1))
    if _size(target) > size:
        target.unlink()
        raise Permanent(f"{target.name} came out longer than it should be: run the same command again.")
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    progress(size)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _one_try(
    pool: urllib3.PoolManager,
    url: str,
    target: Path,
    size: int,
    progress: Callable[[int], None],
    headers: Mapping[str, str],
    advice: Advice,
) -> None:
    there = _size(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={there}-"} if there else {})}
    answer = pool.request(
        "GET", url, headers=asked, preload_content=False, retries=urllib3.Retry(total=None, redirect=5, connect=0, read=0)
    )
    try:
        if answer.status >= 500 or answer.status == 429:
            raise _Broke(f"the server answered {answer.status}")
        if answer.status not in (200, 206):
            advised = advice.refused if answer.status in (401, 403) else advice.missing
            raise Permanent(f"The server refuses {target.name} (HTTP {answer.status}). {advised}")
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
        _receive(answer, target, there if goes_on else 0, size, progress)
    finally:
        answer.release_conn()


def _receive(answer: BaseHTTPResponse, target: Path, there: int, size: int, progress: Callable[[int], None]) -> None:
    """Append to `target` from byte `there`, stopping after the first byte too many."""
    with target.open("ab" if there else "wb") as file:
        for block in answer.stream(BLOCK):
            file.write(block)
            there += len(block)
            progress(min(there, size))
            if there > size:
                return
    if there < size:
        raise _Broke("the connection closed early")
