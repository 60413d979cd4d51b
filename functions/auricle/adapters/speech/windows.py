"""Which stretches of a chunk a Whisper model hears in one go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from auricle.ports.media import Clip

SHORTEST = 0.05
"""Seconds. What is shorter holds no word, and fewer than 400 samples make no spectrum."""


def windows_of(clips: Sequence[Clip], start: float, end: float, longest: float, bridge: float) -> list[Clip]:
    """Windows of at most `longest` seconds that cover the `clips` between `start` and `end`, in time order.

    A window takes in the next clip while the pause before it is at most `bridge` seconds (negative: never) and the window
    stays within `longest`. Longer clips are cut into equal pieces.
    """
    windows: list[Clip] = []
    for clip in sorted(clips, key=lambda c: (c.start, c.end)):
        inside = Clip(max(clip.start, start), min(clip.end, end))
        if inside.end - inside.start < SHORTEST:
            continue
        last = windows[-1] if windows else None
        if last is not None and bridge >= 0 and inside.start - last.end <= bridge and inside.end - last.start <= longest:
            windows[-1] = Clip(last.start, max(last.end, inside.end))
        else:
            windows.extend(pieces_of(inside, longest))
    return windows


def pieces_of(clip: Clip, longest: float) -> list[Clip]:
    """`clip` in the fewest equal pieces that are no longer than `longest` seconds."""
    length = clip.end - clip.start
    count = max(1, math.ceil(length / longest - 1e-9))
    edges = [clip.start + length * i / count for i in range(count)] + [clip.end]
    return [Clip(a, b) for a, b in pairwise(edges)]
