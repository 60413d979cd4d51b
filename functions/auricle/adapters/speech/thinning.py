"""Fewer voices to cluster in very long recordings, chosen so that nobody who speaks rarely is lost."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from auricle.adapters.speech.clustering import Labels, Vectors, condensed

NEAR_IDENTICAL = 0.15
"""Cosine distance. The same voice in overlapping windows is about this near itself."""


def thinned(voices: NDArray[numpy.floating], limit: int, group: int = 2_000) -> Labels:
    """Rising row numbers of at most `limit` of the `voices` (n, d; in time order).

    Near-identical ones within groups of `group` rows stand for each other: large clusters give up members first, evenly
    over time, small ones keep all.
    """
    if len(voices) <= limit:
        return numpy.arange(len(voices))
    unit: Vectors = voices / numpy.maximum(numpy.linalg.norm(voices, axis=1, keepdims=True), 1e-12)
    _, counts, rows = condensed(unit.astype(numpy.float64), NEAR_IDENTICAL, group)
    if len(counts) > limit:
        return _spread(numpy.arange(len(voices)), limit)
    cap = _largest_cap(counts, limit)
    by_cluster = numpy.split(numpy.argsort(rows, kind="stable"), numpy.cumsum(counts)[:-1])
    return numpy.sort(numpy.concatenate([_spread(members, cap) for members in by_cluster]))


def _spread(items: Labels, count: int) -> Labels:
    """At most `count` of the items, at even distances."""
    if len(items) <= count:
        return items
    return items[numpy.linspace(0, len(items) - 1, count).round().astype(numpy.int64)]


def _largest_cap(counts: Labels, limit: int) -> int:
    """The most members a cluster may keep so that all clusters together keep at most `limit`; at least 1."""
    low, high = 1, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        if int(numpy.minimum(counts, middle).sum()) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
