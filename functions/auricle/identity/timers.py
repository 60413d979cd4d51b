"""What ends by itself: links nobody followed, accounts nobody uses."""

from __future__ import annotations

from datetime import UTC, datetime

from auricle.admin.audit.trail import SYSTEM, Facts, Trail
from auricle.contract.function import timer
from auricle.identity.accounts.store import LinkStore
from auricle.identity.people.inactivity import disable_unused
from auricle.identity.people.model import Inactivity
from auricle.identity.people.store import PeopleStore
from auricle.identity.store import IdentityStore


@timer(minutes=60)
def sweep_links(links: LinkStore) -> None:
    """Remove links, registrations and invitations that are over."""
    links.sweep()


@timer(minutes=60)
def disable_unused_accounts(people: PeopleStore, store: IdentityStore, inactivity: Inactivity) -> None:
    """Disable accounts that nobody used for as long as is allowed (AC-2(3))."""
    trail = Trail(Facts(function="timers"), lambda: datetime.now(UTC), str, people.db, SYSTEM)
    disable_unused(people, store, trail, inactivity.days)
