"""Run by a job: put one file where the variable TARGET says (a signed URL), whole or with an error that says why."""

from __future__ import annotations

import sys
from pathlib import Path

import urllib3

from auricle_operator.settings import snapshot_target


def send(path: Path, url: str) -> str:
    """PUT `path` to `url`; returns what to tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        answer = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=600)).request(
            "PUT", url, body=file, headers={"Content-Length": str(size)}, retries=False
        )
    if answer.status != 200:
        raise SystemExit(f"The object store answered {answer.status} to {size} bytes: the dump was not kept.")
    return f"{size} bytes are kept."


if __name__ == "__main__":
    sys.stdout.write(send(Path(sys.argv[1]), snapshot_target()) + "\n")
