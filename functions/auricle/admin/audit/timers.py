"""The trail's daily work: a day that is over is published, and old days leave the database."""

from __future__ import annotations

from auricle.admin.audit.model import AuditRules
from auricle.admin.audit.retention import prune_due, publish_due
from auricle.contract.function import timer
from auricle.contract.store import Units
from auricle.ports.blobs import BlobStore


@timer(minutes=15)
def publish_audit(units: Units, blobs: BlobStore) -> None:
    """Publish the days (UTC) that are over; soon after midnight there is one, and mostly there is none."""
    publish_due(units, blobs)


@timer(minutes=6 * 60)
def prune_audit(units: Units, rules: AuditRules) -> None:
    """Delete entries of published days that are older than they have to be kept."""
    prune_due(units, rules.keep_days)
