"""The two ways into the trail.

`record` is for what happened: it belongs to the work's transaction, and the two stand or fall together (no effect without an
entry, no entry without an effect). `record_apart` is for what did not happen: a refused or failed request rolls back, and
its entry must stay. It opens a transaction of its own, so call it when the request's connection has been given back: with
two connections a pod, requests that hold one and wait for a second would wait for each other.
"""

from __future__ import annotations

import logging
from typing import Any

from auricle.admin.audit.chain import canonical
from auricle.admin.audit.model import AuditEvent
from auricle.admin.audit.store import AuditStore
from auricle.contract.store import Units

log = logging.getLogger(__name__)


def record(connection: Any, event: AuditEvent) -> None:
    """Write `event` within the current unit of work; `connection` is its SQLAlchemy connection."""
    AuditStore(connection).append(event)


def record_apart(units: Units, event: AuditEvent) -> bool:
    """Write `event` whatever becomes of the request. Never raises: the caller is about to answer with the real error.

    When the database does not take it, the whole entry goes to the log instead (NIST AU-5), and False comes back.
    """
    try:
        with units.unit() as connection:
            record(connection, event)
    except Exception:
        log.exception("An audit entry could not be written; here it is: %s", canonical(event).decode())
        return False
    return True
