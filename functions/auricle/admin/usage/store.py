"""Sums over the whole deployment."""

from __future__ import annotations

from auricle.contract.store import Store
from auricle.files.relations import bytes_kept
from auricle.runs.relations import runs_active


class UsageStore(Store):
    """What is taken now."""

    def bytes_kept(self) -> tuple[int, int]:
        """Bytes of originals that are here, and of those that uploads announced."""
        row = self.db.execute(bytes_kept).one()
        return int(row.stored), int(row.unfinished)

    def runs_active(self) -> tuple[int, int]:
        """Runs that are under way, and those that are not begun."""
        row = self.db.execute(runs_active).one()
        return row.under_way, row.queued
