"""`auricle doctor --cluster`: what a platform engineer would look at in a deployment, without changing anything.

`findings(seen)` is pure: a snapshot in (`seen.Seen`), sentences out. `reading.look` takes the snapshot; lightkube is known only
there.
"""

from __future__ import annotations

from auricle.cli.clusterdoctor import platform  # isort: skip  # the order of these lines is the order of the report
from auricle.cli.clusterdoctor import functions  # isort: skip
from auricle.cli.clusterdoctor import events  # isort: skip
from auricle.cli.clusterdoctor import release  # isort: skip
from auricle.cli.clusterdoctor import walls  # isort: skip
from auricle.cli.clusterdoctor import doors  # isort: skip
from auricle.cli.clusterdoctor import storage  # isort: skip
from auricle.cli.clusterdoctor import gpu  # isort: skip
from auricle.cli.clusterdoctor.seen import Lack, Seen, Sight
from auricle.cli.clusterdoctor.table import CHECKS, Finding, findings

MODULES = (platform, functions, events, release, walls, doors, storage, gpu)
"""Where checks are; importing them fills the table."""

__all__ = ["CHECKS", "MODULES", "Finding", "Lack", "Seen", "Sight", "findings"]
