"""Models in a folder that somebody filled: of the node, or of a mounted volume."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from auricle.errors import Permanent
from auricle_gpu.manifest import ModelFile

BLOCK = 2**20


class Directory:
    """`Source` in a folder of the file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        """As `Source` says. Links that lead out of the folder are refused."""
        path = (self._folder / file.path).resolve()
        if not path.is_relative_to(self._folder.resolve()) or not path.is_file():
            raise Permanent(f"{self._folder} has no file {file.path}: put it there, or correct the source's uri.")
        target.parent.mkdir(parents=True, exist_ok=True)
        there = target.stat().st_size if target.is_file() else 0
        with path.open("rb") as source, target.open("ab") as copy:
            source.seek(there)
            while there <= file.size and (block := source.read(BLOCK)):
                copy.write(block)
                there += len(block)
                progress(min(there, file.size))
            copy.flush()
            os.fsync(copy.fileno())
        if there != file.size:
            target.unlink()
            raise Permanent(f"{file.path} in {self._folder} has another size than {file.size} bytes: put the right one there.")
