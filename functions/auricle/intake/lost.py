"""Dropped objects that nobody told us of: the store's message was lost, or it has none to send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from uuid import UUID

from auricle.errors import Rejected
from auricle.intake import actions
from auricle.intake.model import DROPS, Arrival, dropped_by
from auricle.ports.blobs import Blob

LOOKED_UP = 500
"""Objects whose arrival is looked up with one query."""
TAKEN = 100
"""Files of one sweep: its unit of work stays short, the next one goes on."""


def take_lost(desk: actions.Desk, most: int = TAKEN) -> int:
    """Make files of dropped objects that have none yet, `most` at a time; returns how many."""
    taken, known = 0, _Owners(desk)
    for blobs in _batches(blob for blob in desk.blobs.list(DROPS) if known.owns(blob.key)):
        settled = desk.intake.arrived_of((blob.key, blob.etag) for blob in blobs)
        for blob in blobs:
            if (blob.key, blob.etag) in settled:
                continue
            taken += _take(blob, desk)
            if taken == most:
                return taken
    return taken


def _take(blob: Blob, desk: actions.Desk) -> bool:
    try:
        return actions.arrived(Arrival(key=blob.key, etag=blob.etag, size=blob.size), desk) is not None
    except Rejected:  # a key that the store takes and we do not: nobody's upload, and no reason to leave the others
        return False


class _Owners:
    """Who there is to drop something for, each asked for once."""

    def __init__(self, desk: actions.Desk) -> None:
        self._desk = desk
        self._exists: dict[UUID, bool] = {}

    def owns(self, key: str) -> bool:
        """Whether `key` is under somebody's prefix."""
        owner = dropped_by(key)
        if owner is None or "\0" in key:
            return False
        if owner not in self._exists:
            self._exists[owner] = self._desk.intake.has_principal(owner)
        return self._exists[owner]


def _batches(blobs: Iterable[Blob]) -> Iterator[list[Blob]]:
    rest = iter(blobs)
    while batch := list(islice(rest, LOOKED_UP)):
        yield batch
