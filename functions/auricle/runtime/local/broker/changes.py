"""What one transaction changes, as values: the broker decides on these, the store writes them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to keep. With a `cause` (a delivery) it is kept only if that delivery is finished by this very change."""

    id: int
    cause: int | None
    attributes: dict[str, str]
    trace: dict[str, str]
    data: bytes


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event that one subscription has to get, `wait` seconds from now."""

    id: int
    event: int
    cause: int | None
    subscription: str
    wait: float = 0.0
    dead: bool = False


class Postponed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to be tried again `wait` seconds from now."""

    id: int
    attempt: int
    losses: int
    wait: float


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that becomes true at once."""

    events: tuple[NewEvent, ...] = ()
    deliveries: tuple[NewDelivery, ...] = ()
    done: tuple[int, ...] = ()
    postponed: tuple[Postponed, ...] = ()


def together(changes: Iterable[Change]) -> Change:
    """Several changes as one."""
    all_of = list(changes)
    return Change(
        events=tuple(event for change in all_of for event in change.events),
        deliveries=tuple(delivery for change in all_of for delivery in change.deliveries),
        done=tuple(delivery for change in all_of for delivery in change.done),
        postponed=tuple(delivery for change in all_of for delivery in change.postponed),
    )


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as the tables have it, with its event."""

    id: int
    attempt: int
    losses: int
    dead: bool
    attributes: dict[str, str]
    trace: dict[str, str]
    data: bytes


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is due for one subscription. `more`: that was not all of it. Else the seconds until something will be, if ever."""

    due: tuple[Due, ...]
    more: bool = False
    next_in: float | None = None


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """How much waits for one subscription: `waiting` is due now (or under way), `later` is due after a pause."""

    subscription: str
    waiting: int
    later: int
    dead: int
    oldest_seconds: float
