"""Ids of what is new."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

RANDOM_BITS = 74
_one_at_a_time = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """RFC 9562 version 7: sortable by creation, in one process strictly (§6.2, method 2), between processes to the millisecond.

    What happened first in a request sorts first, also when both happened within one millisecond.
    """
    global _last
    drawn = int.from_bytes(os.urandom(14), "big")
    moment = time.time_ns() // 1_000_000 << RANDOM_BITS | drawn & ((1 << RANDOM_BITS) - 1)
    with _one_at_a_time:
        if moment <= _last:  # in the same millisecond, or the clock was set back
            moment = _last + 1 + (drawn >> RANDOM_BITS + 6)
        _last = moment
    above, below = moment >> 62, moment & ((1 << 62) - 1)
    return UUID(int=above >> 12 << 80 | 0x7 << 76 | (above & 0xFFF) << 64 | 0x2 << 62 | below)
