"""What sign-ins leave behind, and when it goes."""

from __future__ import annotations

from auricle.contract.function import timer
from auricle.identity.store import IdentityStore
from auricle.ports.ephemeral import Ephemeral

KEPT_DAYS = 30
"""Days that a session which is over stays listed for its person; the audit trail knows it longer."""
AT_ONCE = 5000


@timer(minutes=15)
def sweep_ephemeral(ephemeral: Ephemeral) -> None:
    """Remove counters, marks and one-time secrets that have expired."""
    ephemeral.sweep()


@timer(minutes=60)
def sweep_sessions(identity: IdentityStore) -> None:
    """Forget sessions that are over for long, with their refresh tokens."""
    identity.forget_sessions(KEPT_DAYS, AT_ONCE)
