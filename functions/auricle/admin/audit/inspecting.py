"""Verifying the trail in a request: a bounded stretch of the chain at a time, by the connection that the request has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from auricle.admin.audit.chain import Break
from auricle.admin.audit.store import AuditStore
from auricle.admin.audit.verifying import Verdict, verify

STRETCH = 50_000
"""Entries of one call: a few seconds of work."""


class Checked(Struct, frozen=True, kw_only=True):
    """What was looked at (entries `first` to `last`, `checked` of them held) and the first break, if any.

    `next`: where the following call begins; None when the chain's end, its head and its anchors were looked at, too.
    `hash` is that of entry `last`.
    """

    first: int
    last: int
    checked: int
    hash: str
    whole: bool
    broken: Break | None = None
    next: int | None = None


def check(store: AuditStore, first: int | None, last: int | None) -> Checked:
    """Walk from entry `first` to `last` (without them from the beginning to the end), at most `STRETCH` entries.

    Each stretch begins at the hash that stands before it, which the call before has verified.
    """
    head = store.head()
    begin = max(first or 1, head.floor + 1)
    end = min(head.seq, begin + STRETCH - 1) if last is None else min(last, begin + STRETCH - 1)
    to_the_end = last is None and end >= head.seq
    verdict = verify(_Own(store.db), begin, None if to_the_end else end)
    more = verdict.broken is None and not to_the_end and verdict.last == end and (last is None or end < last)
    return _told(verdict, verdict.last + 1 if more else None)


def _told(verdict: Verdict, next: int | None) -> Checked:
    return Checked(
        first=verdict.first,
        last=verdict.last,
        checked=verdict.checked,
        hash=verdict.hash,
        whole=verdict.broken is None,
        broken=verdict.broken,
        next=next,
    )


class _Own:
    """`contract.store.Units` on the connection that the request holds: one that held it and asked for a second would wait for
    its like."""

    def __init__(self, db: Any) -> None:
        self._db = db

    @contextmanager
    def unit(self) -> Iterator[Any]:
        """The request's own."""
        yield self._db
