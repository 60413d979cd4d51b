"""The dead-letter function: keeps what the broker could not deliver, and tells the conductor."""

from __future__ import annotations

import base64
import binascii

from auricle.admin.actions import bury
from auricle.admin.store import DeadLetterStore
from auricle.contract.event import Envelope
from auricle.contract.function import stage
from auricle.ports.bus import Bus
from auricle.ports.keyring import Receipts


@stage(on=())
def dead_letter(event: Envelope, letters: DeadLetterStore, bus: Bus, receipts: Receipts) -> None:
    """Keep an undeliverable event for a person, and let its run go on without it."""
    function, reason = _buried(event)
    bury(event, function, reason, letters, bus, receipts)


def _buried(event: Envelope) -> tuple[str, str]:
    """Which function gave up, and why, from Knative's error attributes."""
    target = event.extensions.get("knativeerrordest", "").rstrip("/").rpartition("/")[2] or "unknown"
    code = event.extensions.get("knativeerrorcode")
    try:
        said = base64.b64decode(event.extensions.get("knativeerrordata", ""), validate=True).decode(errors="replace").strip()
    except (binascii.Error, ValueError):
        said = ""
    answered = f"answered {code}" if code and code != "-1" else "could not be reached in time"
    return target, f"{target} {answered} at the last try{': ' + said[:300] if said else '.'}"
