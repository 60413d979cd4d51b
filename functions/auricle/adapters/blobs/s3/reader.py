"""Reading an object as a file: ranges are fetched as they are wanted, in blocks that grow while reading goes straight on."""

from __future__ import annotations

import io
from collections.abc import Callable

FIRST_BLOCK = 2**20
LARGEST_BLOCK = 8 * 2**20
KEPT = 3
"""Blocks. Containers are read at two or three places in turn (sound, picture, index)."""

Fetch = Callable[[int, int], bytes]
"""Bytes `start` up to, not including, `end`."""


class RangeReader(io.RawIOBase):
    """A seekable reader over `size` bytes that holds at most 24 MiB of them. `first` is the beginning, fetched already."""

    def __init__(self, fetch: Fetch, size: int, first: bytes) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._at = 0
        self._blocks: list[tuple[int, bytes]] = [(0, first)]  # last used first

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("seek before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._at >= self._size:
            return 0
        start, block = self._block()
        found = block[self._at - start : self._at - start + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        self._blocks.clear()
        super().close()

    def _block(self) -> tuple[int, bytes]:
        """The block that holds the current position, fetched when none of the kept ones does."""
        for index, (start, block) in enumerate(self._blocks):
            if start <= self._at < start + len(block):
                self._blocks.insert(0, self._blocks.pop(index))
                return self._blocks[0]
        end = min(self._at + self._length(), self._size)
        del self._blocks[KEPT - 1 :]  # before fetching, which needs the room
        self._blocks.insert(0, (self._at, self._fetch(self._at, end)))
        return self._blocks[0]

    def _length(self) -> int:
        """Twice the block that this one continues; the first length after a jump."""
        before = next((len(block) for start, block in self._blocks if start + len(block) == self._at), 0)
        return min(LARGEST_BLOCK, max(FIRST_BLOCK, 2 * before))
