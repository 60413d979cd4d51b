"""When the keys of sign-ins are exchanged. Pure.

They stay in one place, because mounted Secrets are renewed in running pods: the next key is published at once, signs when
everybody knows it, and the one before verifies until its last token has ended. Time alone moves it on; nobody is rolled.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from auricle.adapters.signing.ring import AHEAD
from auricle.ports.signing import LEEWAY, LONGEST, KeySet
from auricle_operator.api.managedsecret import State
from auricle_operator.secrets.rotation import SOON, Action, Drop, HandOut, Make, Note, Seen, due, next_rotation

OVERSLEPT = AHEAD - timedelta(minutes=5)
"""A next key that would sign sooner than this after it is published was made too long ago: readers would not know it yet."""


def next_ring_action(seen: Seen, keys: KeySet | None, written: bool) -> Action | None:
    """The one thing to do now. `keys` are the newest version's; `written`: the tenant's Secrets hold them."""
    newest = seen.newest
    if newest is None or keys is None:
        return Make(seen.highest + 1, seen.manner.steps[-1], "", "there is none")
    if newest.handed_out is None:
        if written:
            return HandOut(newest.number)
        overslept = bool(seen.older) and keys.keys[-1].not_before - seen.now < OVERSLEPT
        return Drop(newest.number, False) if overslept else None
    if seen.older:
        return Drop(seen.older[0].number, False)  # the newest holds its keys, too
    moving = ring_state(keys, seen.now)
    if moving is State.ROLLING and seen.wanted and seen.wanted != newest.asked:
        return Note(newest.number)
    why = due(seen, newest)
    return Make(seen.highest + 1, seen.manner.steps[0], "", why) if why and moving is State.STABLE else None


def ring_state(keys: KeySet | None, now: datetime) -> State:
    """In one word."""
    if keys is None:
        return State.WAITING
    if now < keys.keys[-1].not_before:
        return State.ROLLING
    return State.OVERLAPPING if _ends(keys, now) else State.STABLE


def ring_ends(keys: KeySet | None, now: datetime) -> datetime | None:
    """When the last token of a key that signs no more has ended; None when all have."""
    return max(_ends(keys, now), default=None) if keys else None


def ring_delay(seen: Seen, keys: KeySet | None) -> float | None:
    """Seconds after which to look again."""
    moments = [next_rotation(seen), ring_ends(keys, seen.now)]
    if keys and seen.now < keys.keys[-1].not_before:
        moments.append(keys.keys[-1].not_before)
    left = [(moment - seen.now).total_seconds() for moment in moments if moment]
    return max(SOON / 10, min(left)) if left else None


def _ends(keys: KeySet, now: datetime) -> list[datetime]:
    return [key.retire_after + LONGEST + LEEWAY for key in keys.keys if key.retire_after is not None and not key.ended(now)]
