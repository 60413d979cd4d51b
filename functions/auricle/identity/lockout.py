"""Lockout (NIST 800-53 AC-7): who guesses too often waits, 15 minutes at first, up to a day.

An attempt is counted *before* it is checked and given back if it was right, so that guesses made at the same moment cannot
all slip under the limit. Everything hangs on the name as it was typed: an unknown account is counted, locked and answered
as a known one, by the same calls.

Nobody can be locked out of their own account for good by somebody else's guesses: a device that has signed in before (it
holds a `device_proof` in a cookie) is counted by itself, apart from everybody else's attempts on the account and on the
address. So an owner's own devices keep working under attack; a stolen proof buys one more counter of the same kind. What is
not guessed (passkeys, another house's sign-in) needs no lockout and stays open, and a reset by mail or an administrator
unlocks.
"""

from __future__ import annotations

import base64
import hmac
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import NoReturn, TypeVar

import msgspec

from auricle.admin.configuration.model import Section
from auricle.errors import TooMany
from auricle.ports.ephemeral import Changed, Ephemeral

T = TypeVar("T")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`tries` failures within `within` lock, for `first`, then twice as long each time up to `longest`.

    How often it was locked is forgotten `memory` after the last lock ended.
    """

    tries: int
    within: timedelta
    first: timedelta = timedelta(minutes=15)
    longest: timedelta = timedelta(hours=24)
    memory: timedelta = timedelta(hours=24)

    def duration(self, level: int) -> timedelta:
        """Of the `level`-th lock in a row, from 1."""
        return min(self.longest, self.first * (1 << min(level - 1, 32)))


ACCOUNT = Rule(tries=5, within=timedelta(hours=24))
"""Failures in a row: a success clears them. At most five guesses a day once the locks are long: 100, as much as NIST
800-63B-4 (3.2.2) allows at all, take two weeks and seven ever longer locks, of which the owner hears."""
ADDRESS = Rule(tries=30, within=timedelta(hours=1))
"""A success clears nothing: whoever has one account could otherwise guess at all others. Loose enough for an office that
shares an address; an attacker with many addresses meets the accounts' own limit."""


class LockoutRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for names, and what for addresses."""

    account: Rule = ACCOUNT
    address: Rule = ADDRESS

    def __post_init__(self) -> None:
        """Rules that stop nobody who guesses, or that a single slip sets off, are a mistake in a setting."""
        for rule, most in ((self.account, 20), (self.address, 200)):
            if not 2 <= rule.tries <= most:
                raise ValueError("Lockout takes 2 to 20 failures for a name, and 2 to 200 for an address.")
            if not MINUTE <= rule.first <= rule.longest <= 30 * DAY or not MINUTE <= rule.within <= 30 * DAY:
                raise ValueError("Locks last, and failures count, for 1 minute to 30 days; first is not above longest.")
            if not timedelta(0) <= rule.memory <= 30 * DAY:
                raise ValueError("That it was locked is remembered for 30 days at most.")


MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
LOCKOUT = Section("lockout", LockoutRules)
"""As administrators set them."""


class Counter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Failures since `began` (the first of them), and the last lock. All times are the store's."""

    failures: int = 0
    began: datetime | None = None
    level: int = 0
    until: datetime | None = None

    def locked(self, now: datetime) -> bool:
        """Whether it is."""
        return self.until is not None and now < self.until

    def current(self, rule: Rule, now: datetime) -> Counter:
        """Without what is forgotten by now."""
        if self.until is not None and now >= self.until + rule.memory:
            return msgspec.structs.replace(self, level=0, until=None).current(rule, now)
        if self.began is not None and now >= self.began + rule.within:
            return msgspec.structs.replace(self, failures=0, began=None)
        return self

    def charged(self, rule: Rule, now: datetime) -> Counter:
        """With one failure more, which may lock. Only for a counter that is current and not locked."""
        failures = self.failures + 1
        if failures < rule.tries:
            return msgspec.structs.replace(self, failures=failures, began=self.began or now)
        level = self.level + 1
        return Counter(level=level, until=now + rule.duration(level))

    def refunded(self, rule: Rule, now: datetime) -> Counter:
        """With one failure less: an attempt turned out to be none. The lock that it set off goes with it."""
        if self.failures > 0:
            left = self.failures - 1
            return msgspec.structs.replace(self, failures=left, began=self.began if left else None)
        if self.until is None or not self.locked(now):
            return self
        # The lock's beginning stands in for the first failure's: forgotten a little later than it would have been.
        began = self.until - rule.duration(self.level) if rule.tries > 1 else None
        return Counter(failures=rule.tries - 1, began=began, level=self.level - 1)

    def kept_until(self, rule: Rule) -> datetime | None:
        """When nothing of it matters any more; None: now."""
        ends = [self.began + rule.within] if self.began else []
        ends += [self.until + rule.memory] if self.until else []
        return max(ends, default=None)


class Counters(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account's counters: strangers' attempts together, those of each known device apart. One value, changed at once."""

    strangers: Counter = Counter()
    devices: Mapping[str, Counter] = {}

    def of(self, device: str | None) -> Counter:
        """The counter that attempts from `device` go to."""
        return self.strangers if device is None else self.devices.get(device, Counter())

    def with_(self, device: str | None, counter: Counter) -> Counters:
        """With this counter in its place."""
        if device is None:
            return msgspec.structs.replace(self, strangers=counter)
        return msgspec.structs.replace(self, devices={**self.devices, device: counter})

    def current(self, rule: Rule, now: datetime) -> Counters:
        """Without what is forgotten by now."""
        devices = {name: counter.current(rule, now) for name, counter in self.devices.items()}
        kept = {name: counter for name, counter in devices.items() if counter != Counter()}
        return Counters(strangers=self.strangers.current(rule, now), devices=kept)

    def kept_until(self, rule: Rule) -> datetime | None:
        """When nothing of it matters any more; None: now."""
        ends = (counter.kept_until(rule) for counter in (self.strangers, *self.devices.values()))
        return max((end for end in ends if end is not None), default=None)


class Guess(StrEnum):
    """What is guessed at; each has counters of its own."""

    PASSWORD = "password"  # noqa: S105
    SECOND_FACTOR = "second-factor"


class Attempt(msgspec.Struct, frozen=True):
    """Somebody's attempt to prove who they are.

    `name`: the login name as it was typed, or where the first factor is done the account's id. `address`: the client's, None
    where nobody vouches for it. `device`: the known device that it comes from, *after* its proof was checked.
    """

    name: str
    address: str | None = None
    device: str | None = None


class Lockout:
    """Counts guesses of one kind.

    For each attempt: `admit` it, check it, then say `succeeded`; say `withdrawn` if it could not be checked. A failure is
    counted already. Never call it inside the unit of work's transaction expecting a rollback to undo it: it does not.
    """

    def __init__(self, store: Ephemeral, guess: Guess, account: Rule = ACCOUNT, address: Rule = ADDRESS) -> None:
        """`account` holds for strangers and for each known device; `address` for strangers only."""
        self._store = store
        self._guess = guess
        self._account = account
        self._address = address

    @classmethod
    def by(cls, rules: LockoutRules, store: Ephemeral, guess: Guess) -> Lockout:
        """As administrators want it."""
        return cls(store, guess, rules.account, rules.address)

    def admit(self, attempt: Attempt) -> None:
        """Count the attempt; `TooMany` (with `retry_after` seconds) if it may not be made, which then counts for nothing."""
        # The address first: one that is locked must not use up anybody's attempts.
        if (until := self._charge_address(attempt)) is not None:
            _refuse(until)
        if (until := self._charge_account(attempt)) is not None:
            self._refund_address(attempt)
            _refuse(until)

    def succeeded(self, attempt: Attempt) -> None:
        """It was right: failures of the account (or of the known device) are forgotten, those of the address are not."""
        self._change_account(attempt.name, lambda kept, now: (kept.with_(attempt.device, Counter()), None))
        self._refund_address(attempt)

    def withdrawn(self, attempt: Attempt) -> None:
        """It could not be checked (a directory was away): it counts for nothing."""
        self._change_account(
            attempt.name,
            lambda kept, now: (kept.with_(attempt.device, kept.of(attempt.device).refunded(self._account, now)), None),
        )
        self._refund_address(attempt)

    def unlock(self, name: str) -> None:
        """An administrator's, or a reset by mail's: forget the failures of the account and of all its devices."""
        self._change_account(name, lambda kept, now: (Counters(), None))

    def unlock_address(self, address: str) -> None:
        """An administrator's: forget the failures from an address."""
        self._change_address(address, lambda kept, now: (Counter(), None))

    def locked_until(self, name: str, device: str | None = None) -> datetime | None:
        """For administrators: until when strangers, or that device, cannot sign in with this name; None: they can."""
        return self._change_account(name, lambda kept, now: (kept, _lock(kept.of(device), now)))

    def _charge_account(self, attempt: Attempt) -> int | None:
        def charge(kept: Counters, now: datetime) -> tuple[Counters, int | None]:
            counter = kept.of(attempt.device)
            if counter.until is not None and counter.locked(now):
                return kept, _seconds(counter.until - now)
            return kept.with_(attempt.device, counter.charged(self._account, now)), None

        return self._change_account(attempt.name, charge)

    def _charge_address(self, attempt: Attempt) -> int | None:
        def charge(counter: Counter, now: datetime) -> tuple[Counter, int | None]:
            if counter.until is not None and counter.locked(now):
                return counter, _seconds(counter.until - now)
            return counter.charged(self._address, now), None

        if attempt.address is None or attempt.device is not None:
            return None
        return self._change_address(attempt.address, charge)

    def _refund_address(self, attempt: Attempt) -> None:
        if attempt.address is not None and attempt.device is None:
            self._change_address(attempt.address, lambda counter, now: (counter.refunded(self._address, now), None))

    def _change_account(self, name: str, act: Callable[[Counters, datetime], tuple[Counters, T]]) -> T:
        def rule(now: datetime, value: bytes | None) -> Changed[T]:
            kept = msgspec.json.decode(value, type=Counters) if value else Counters()
            after, answer = act(kept.current(self._account, now), now)
            return _changed(value, after, Counters(), after.kept_until(self._account), now, answer)

        return self._store.change(f"lockout {self._guess} account {account_key(name)}", rule)

    def _change_address(self, address: str, act: Callable[[Counter, datetime], tuple[Counter, T]]) -> T:
        def rule(now: datetime, value: bytes | None) -> Changed[T]:
            kept = msgspec.json.decode(value, type=Counter) if value else Counter()
            after, answer = act(kept.current(self._address, now), now)
            return _changed(value, after, Counter(), after.kept_until(self._address), now, answer)

        return self._store.change(f"lockout {self._guess} address {address_key(address)}", rule)


def account_key(name: str) -> str:
    """One key for all ways to type the same name: whoever guesses gets no second counter for capitals or wide letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def address_key(address: str) -> str:
    """The network that one subscriber holds: an IPv4 address, or an IPv6 /64 (RFC 6177). What is no address stays itself."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return str(found)


def device_proof(key: bytes, name: str, device: str) -> str:
    """What a device is given, as a cookie of its own, when it has signed in with `name`: `device` (a random id) and a proof.

    `key`: 32 bytes, kept for this purpose alone. After the OWASP device cookie; it proves no identity and opens nothing.
    """
    return f"{device}.{_device_mac(key, name, device)}"


def known_device(key: bytes, name: str, proof: str | None) -> str | None:
    """The id of the device that presents `proof`, if it was given for this name; None: a stranger's. Never raises."""
    device, _, mac = (proof or "").rpartition(".")
    if not device or not hmac.compare_digest(mac.encode(errors="replace"), _device_mac(key, name, device).encode()):
        return None
    return device


def _device_mac(key: bytes, name: str, device: str) -> str:
    told = f"known device\0{device}\0{account_key(name)}".encode(errors="replace")
    return base64.urlsafe_b64encode(hmac.digest(key, told, "sha256")).decode().rstrip("=")


def _changed(
    value: bytes | None,
    after: Counter | Counters,
    nothing: Counter | Counters,
    until: datetime | None,
    now: datetime,
    answer: T,
) -> Changed[T]:
    if after == nothing or until is None:
        return Changed(None, 0, answer)
    encoded = msgspec.json.encode(after)
    return Changed(encoded, max(1.0, (until - now).total_seconds()), answer) if encoded != value else Changed(value, 0, answer)


def _lock(counter: Counter, now: datetime) -> datetime | None:
    return counter.until if counter.locked(now) else None


def _seconds(left: timedelta) -> int:
    return max(1, -(-left // timedelta(seconds=1)))


def _refuse(seconds: int) -> NoReturn:
    wait = f"{-(-seconds // 60)} minutes" if seconds > 60 else "a minute"
    raise TooMany(
        f"There were too many attempts. Try again in {wait}, or now from a device on which you have signed in before. "
        "An administrator can unlock you sooner.",
        retry_after=seconds,
    )
