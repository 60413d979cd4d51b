"""Rate limits: how often who may ask what, and what answers tell of it (NIST 800-53 SC-5, AC-7; OWASP ASVS 5.0, 6.3.1).

Limits of identity fail closed: when the store is away, nobody signs in. The default limits of all other routes fail open and
say so in the log: they are there for fairness between people who have proved who they are, and a vault that stops answering
because nobody counts would be the outage that they are meant to prevent. (Their callers' tokens are checked against the same
store, which does fail closed.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from auricle.contract.choices import Guarded
from auricle.errors import Retryable
from auricle.identity.lockout import account_key, address_key
from auricle.ports.ephemeral import Allowance, Ephemeral, Limit

log = logging.getLogger(__name__)
MINUTE, HOUR, DAY = 60, 3600, 86400
NOBODY = "unknown"
"""Whose hits are counted where nobody vouches for an address: all of them together."""


OPEN_WHEN_AWAY = frozenset({Guarded.PUBLIC, Guarded.DEFAULT})
"""What is allowed while the store is away."""


class By(StrEnum):
    """Whose hits are counted together."""

    ADDRESS = "address"
    NAME = "name"  # the account as it was typed, whether or not there is one
    PRINCIPAL = "principal"


class Policy(msgspec.Struct, frozen=True):
    """One limit of one thing, for each address, name or principal."""

    by: By
    limit: Limit


def _policy(by: By, count: int, seconds: int, burst: int) -> Policy:
    return Policy(by, Limit(count, seconds, burst))


POLICIES: dict[Guarded, tuple[Policy, ...]] = {
    # By address alone: a limit by name could be used up by strangers, to keep the owner out. Names have the lockout, which
    # tells a known device from a stranger's; so has the second factor.
    Guarded.LOGIN: (_policy(By.ADDRESS, 30, 5 * MINUTE, 15),),
    Guarded.REGISTER: (_policy(By.ADDRESS, 10, HOUR, 5),),
    Guarded.SETUP: (_policy(By.ADDRESS, 10, HOUR, 5),),
    # Three mails an hour to one mailbox, whoever asks; the third one comes at once, as people expect. Strangers who use them
    # up keep nobody out: each of the mails has a link that works.
    Guarded.RESET_ASK: (_policy(By.ADDRESS, 10, HOUR, 5), _policy(By.NAME, 3, HOUR, 3)),
    Guarded.RESET_USE: (_policy(By.ADDRESS, 10, HOUR, 5),),
    Guarded.FACTOR: (_policy(By.ADDRESS, 30, 5 * MINUTE, 15),),
    Guarded.FACTOR_ENROL: (_policy(By.PRINCIPAL, 20, HOUR, 10),),
    # Every 15 minutes for each device and open page; an office shares an address.
    Guarded.REFRESH: (_policy(By.ADDRESS, 300, 5 * MINUTE, 150),),
    Guarded.PASSKEY_BEGIN: (_policy(By.ADDRESS, 60, 5 * MINUTE, 30),),
    Guarded.PASSKEY_FINISH: (_policy(By.ADDRESS, 30, 5 * MINUTE, 15),),
    Guarded.OIDC_BEGIN: (_policy(By.ADDRESS, 60, 5 * MINUTE, 30),),
    Guarded.OIDC_CALLBACK: (_policy(By.ADDRESS, 60, 5 * MINUTE, 30),),
    # One per session that ends, all from the provider's few addresses.
    Guarded.OIDC_BACKCHANNEL: (_policy(By.ADDRESS, 600, MINUTE, 300),),
    Guarded.INVITATION: (_policy(By.ADDRESS, 20, HOUR, 10),),
    Guarded.INVITE: (_policy(By.PRINCIPAL, 100, HOUR, 50),),
    Guarded.SHARE: (_policy(By.PRINCIPAL, 600, HOUR, 300),),
    Guarded.PASSWORD_CHANGE: (_policy(By.PRINCIPAL, 10, HOUR, 5),),
    Guarded.EMAIL_CHANGE: (_policy(By.PRINCIPAL, 3, HOUR, 3),),
    Guarded.EMAIL_CONFIRM: (_policy(By.ADDRESS, 10, HOUR, 5),),
    Guarded.TOKEN_CREATE: (_policy(By.PRINCIPAL, 30, HOUR, 15),),
    Guarded.TEST_CONNECTION: (_policy(By.PRINCIPAL, 20, HOUR, 10),),
    Guarded.LOGOUT: (_policy(By.ADDRESS, 120, MINUTE, 60),),
    Guarded.REFUSED: (_policy(By.ADDRESS, 120, MINUTE, 60),),
    Guarded.PUBLIC: (_policy(By.ADDRESS, 600, MINUTE, 300),),
    Guarded.DEFAULT: (_policy(By.PRINCIPAL, 1200, MINUTE, 600),),
}
"""Never more than `count` in `seconds`, `burst` at once; steadily it is one per `seconds / (count - burst + 1)`."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, as far as it is known: a vouched-for address, the name as typed, the principal's id."""

    address: str | None = None
    name: str | None = None
    principal: str | None = None

    def key(self, by: By) -> str:
        """What stands for the caller in a counter's key. Who is unknown shares one: leaving something out helps nobody."""
        # Marked, so that somebody who calls themselves "unknown" is not all strangers.
        if by is By.ADDRESS:
            return f"={address_key(self.address)}" if self.address is not None else NOBODY
        if by is By.NAME:
            return f"={account_key(self.name)}" if self.name is not None else NOBODY
        return f"={self.principal}" if self.principal is not None else NOBODY


class Spent(msgspec.Struct, frozen=True):
    """One limit, and what is left of it for this caller."""

    guarded: Guarded
    policy: Policy
    allowance: Allowance


def spend(store: Ephemeral, guarded: Guarded, caller: Caller) -> tuple[Spent, ...]:
    """Count one request against every limit of `guarded`, up to the first that refuses; `refused` tells whether one did.

    Before anything else is done, and in no unit of work. While the store is away: `Retryable`, or nothing at all where
    `OPEN_WHEN_AWAY`.
    """
    spent: list[Spent] = []
    try:
        for policy in POLICIES[guarded]:
            allowance = store.hit(f"{guarded} {policy.by} {caller.key(policy.by)}", policy.limit)
            spent.append(Spent(guarded, policy, allowance))
            if not allowance.allowed:
                break
    except Retryable:
        if guarded not in OPEN_WHEN_AWAY:
            raise
        log.warning("The rate limit %s is not counted: its store is away.", guarded)
    return tuple(spent)


def refused(spent: Sequence[Spent]) -> int | None:
    """After how many seconds to try again, if a limit was reached; None: go on."""
    return max((one.allowance.retry_after for one in spent if not one.allowance.allowed), default=None)


def headers(spent: Sequence[Spent]) -> dict[str, str]:
    """What an answer tells of its limits.

    `RateLimit-Policy` and `RateLimit` after draft-ietf-httpapi-ratelimit-headers-10 (structured fields, RFC 9651), and
    `RateLimit-Limit`, `-Remaining`, `-Reset` after draft -06 of the same, which clients in use read: of the limit that is
    nearest. `Retry-After` (RFC 9110, 10.2.3) when one refused. Limits by name are told by `Retry-After` alone: what is left
    of them would tell whether somebody else tries the same name.
    """
    told = [one for one in spent if one.policy.by is not By.NAME]
    found: dict[str, str] = {}
    if told:
        nearest = min(told, key=lambda one: (one.allowance.remaining, -one.allowance.reset_seconds))
        found |= {
            "RateLimit-Policy": ", ".join(
                f'"{_label(one)}";q={one.policy.limit.count};w={one.policy.limit.seconds}' for one in told
            ),
            "RateLimit": ", ".join(f'"{_label(one)}";r={one.allowance.remaining};t={_until_more(one)}' for one in told),
            "RateLimit-Limit": str(nearest.policy.limit.count),
            "RateLimit-Remaining": str(nearest.allowance.remaining),
            "RateLimit-Reset": str(_until_more(nearest)),
        }
    if (wait := refused(spent)) is not None:
        found["Retry-After"] = str(wait)
    return found


def _label(one: Spent) -> str:
    return f"{one.guarded}-by-{one.policy.by}"


def _until_more(one: Spent) -> int:
    """Seconds until all is back; never less than a refused caller is told to wait."""
    return max(one.allowance.reset_seconds, one.allowance.retry_after)
