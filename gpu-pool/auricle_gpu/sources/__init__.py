"""Where models come from: one kind of place per module, all of them filling one file at a time, going on where they stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from auricle_gpu.manifest import ModelFile


class Source(Protocol):
    """A published model at one revision."""

    def fetch(self, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        """Fill `target` with the file's bytes and fsync it; what it holds already is not fetched again. `progress` hears how
        many bytes are there. `Permanent` when the place refuses, `Retryable` when it is away: calling again goes on. Nobody
        has compared digests yet."""
        ...
