"""What identity must remember for a while: attempts, used-up codes, ended tokens, secrets that work once.

Every answer fails closed: a store that is away raises `Retryable`, and is never taken for "allowed", "first use" or "not
revoked". Times are the store's own clock, so that pods whose clocks differ count as one. Keys may hold names and addresses:
they are kept as keyed hashes only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import msgspec

MICROSECONDS = 1_000_000
SKEW = timedelta(minutes=5)
"""How far the clock that wrote a token's end may be from the store's: a revocation is kept for so much longer."""

T = TypeVar("T")


class Limit(msgspec.Struct, frozen=True):
    """Never more than `count` in any `seconds`, `burst` of them at once.

    The generic cell rate algorithm (ITU-T I.371, annex A) remembers one instant per key: when all that was taken will have
    been given back. The usual tuning (one every `seconds / count`) lets almost twice `count` through a window. Ours gives one
    back every `seconds / (count - burst + 1)`, the slowest that can still reach `count`: the promise is exact, as with a log
    of every hit, at the price of one instant. `burst == count` allows all at once, then one per `seconds`.
    """

    count: int
    seconds: int
    burst: int

    def __post_init__(self) -> None:
        """A limit that allows nothing, or everything, is a mistake."""
        if not (1 <= self.burst <= self.count and self.seconds >= 1):
            raise ValueError(f"A limit has 1 <= burst <= count and at least one second, not {self!r}.")

    @property
    def interval(self) -> int:
        """Microseconds after which one more is given; rounded up, so that rounding never breaks the promise."""
        return -(-self.seconds * MICROSECONDS // (self.count - self.burst + 1))

    @property
    def room(self) -> int:
        """Microseconds that the remembered instant may lie ahead of now."""
        return self.interval * self.burst

    def allowance(self, ahead: int, *, allowed: bool) -> Allowance:
        """What to tell, when the remembered instant lies `ahead` microseconds from now (after this hit, if it was allowed)."""
        ahead = max(0, ahead)
        missing = max(0, ahead + self.interval - self.room)
        return Allowance(
            allowed=allowed,
            remaining=max(0, (self.room - ahead) // self.interval) if allowed else 0,
            reset_seconds=ceil(ahead / MICROSECONDS),
            retry_after=0 if allowed else max(1, ceil(missing / MICROSECONDS)),
        )


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one hit. `remaining`: how many more at once now; `reset_seconds`: until all of the burst is back;
    `retry_after`: seconds until one more is allowed, 0 when this one was."""

    allowed: bool
    remaining: int
    reset_seconds: int
    retry_after: int


class Revocable(StrEnum):
    """What can be ended before its time."""

    TOKEN = "token"  # an access token, by its `jti`  # noqa: S105
    FAMILY = "family"  # all tokens that descend from one sign-in
    SESSION = "session"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the door asks of every token: `epoch` is the user's now, `revoked` whether any of the things asked for has ended.

    `since`: how far back the store remembers, None where it never forgets. A token issued before it cannot be known to be
    good: refuse it (`Unauthenticated`), its holder refreshes.
    """

    epoch: int
    revoked: bool
    since: datetime | None = None


class Changed(msgspec.Struct, Generic[T], frozen=True):
    """A rule's outcome: what to keep from now on (None: nothing), for how many `seconds`, and what to tell the asker."""

    value: bytes | None
    seconds: float
    answer: T


class Ephemeral(Protocol):
    """The store. All methods raise `Retryable` when it is away; each is one transaction of its own.

    What was counted, used or revoked stays so when the caller's unit of work rolls back.
    """

    def hit(self, key: str, limit: Limit) -> Allowance:
        """Count one hit on `key` if the limit allows it; one that is refused costs nothing."""
        ...

    def once(self, key: str, seconds: float) -> bool:
        """True for exactly one caller within `seconds`: a code, a `jti`, a nonce that must not come twice."""
        ...

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a secret that works once. It is sealed at rest with a key that only `key`'s presenter has."""
        ...

    def take(self, key: str) -> bytes | None:
        """Get and forget it; exactly one caller gets it. None: there is none (any more)."""
        ...

    def revoke(self, kind: Revocable, id: str, until: datetime) -> None:
        """End it; remembered until `until` (when it would have ended by itself) and `SKEW` longer."""
        ...

    def revoked(self, kind: Revocable, id: str) -> bool:
        """Whether it was ended."""
        ...

    def bump(self, user: UUID) -> int:
        """Begin a new epoch of the user: tokens that carry another one are ended. Returns the new one."""
        ...

    def epoch(self, user: UUID) -> int:
        """The user's epoch; 0 until the first `bump`. Never runs backwards, even if the store forgets."""
        ...

    def standing(self, user: UUID, things: Sequence[tuple[Revocable, str]]) -> Standing:
        """Epoch and revocations at once, for the door: one round trip."""
        ...

    def change(self, key: str, rule: Callable[[datetime, bytes | None], Changed[T]]) -> T:
        """Replace what is kept under `key` by what `rule` makes of it, as if nobody else were there.

        `rule` gets the store's time and the value (None: none); it is pure, since it may run more than once. A rule that keeps
        the value as it is costs one read, and does not renew its time.
        """
        ...

    def sweep(self) -> int:
        """Remove what has expired, for the house's timer; returns how many. Nothing depends on it but disk space."""
        ...
