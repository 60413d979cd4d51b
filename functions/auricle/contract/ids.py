"""Ids of what is new."""

from __future__ import annotations

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """RFC 9562 version 7: sortable by creation to the millisecond, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
