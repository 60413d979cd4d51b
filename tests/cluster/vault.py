"""What tests do with a vault: put recordings in, wait, read transcripts; patient or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import auricle_gpu
from auricle.cli.client import Server, ServerError
from auricle.cli.following import OVER, run_of_file

DEMO = Path(auricle_gpu.__file__).parent / "demo"
MEETING = DEMO / "meeting.flac"
Answer = TypeVar("Answer")


def patiently(act: Callable[[], Answer], seconds: float = 180) -> Answer:
    """Do it again while the vault is away: its pods are being killed."""
    end = time.monotonic() + seconds
    while True:
        try:
            return act()
        except ServerError as error:
            if error.status not in (0, 500, 502, 503, 504) or time.monotonic() > end:
                raise
            time.sleep(0.5)


def uploaded(server: Server, path: Path, **options: Any) -> str:
    """Upload; returns the file's id."""
    return str(patiently(lambda: server.upload(path, options, None, lambda done, size: None))["id"])


def run_of(server: Server, file_id: str) -> str:
    """The id of the file's run."""
    return str(patiently(lambda: run_of_file(server, file_id))["id"])


def finished(server: Server, run_id: str, seconds: float = 300) -> dict[str, Any]:
    """The run, over."""
    end = time.monotonic() + seconds
    while (run := dict(patiently(lambda: server.call("GET", f"/api/runs/{run_id}"))))["state"] not in OVER:
        assert time.monotonic() < end, run
        time.sleep(1)
    return run


def transcript(server: Server, file_id: str) -> bytes:
    """As it is served."""
    return bytes(patiently(lambda: server.text(f"/api/files/{file_id}/transcript")))
