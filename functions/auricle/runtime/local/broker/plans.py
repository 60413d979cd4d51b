"""Reads the plan for the broker and refuses, in a sentence, what it could not serve as a real broker would."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from auricle.runtime.local import plan as plans
from auricle.runtime.local.errors import CannotStart
from auricle.runtime.local.plan import Plan, Pool, Subscription

_NAME = re.compile(r"^[a-z][a-z0-9]*$")
_PATH = re.compile(r"^/[a-z0-9-]+/[a-z0-9-]+$")
_DIALECTS = frozenset({"exact", "prefix", "suffix", "all", "any", "not", "cesql", "attributes"})


def load(path: Path) -> Plan:
    """The plan in `path`; raises `CannotStart`."""
    try:
        plan = plans.read(path)
    except OSError as error:
        raise CannotStart(f"The plan {path} cannot be read: {error.strerror}.") from error
    except msgspec.ValidationError as error:
        if ".filter" in str(error):
            raise CannotStart(f"{_exact_only('a subscription')} (in {path}: {error})") from error
        raise CannotStart(f"The plan {path} is not right: {error}.") from error
    except msgspec.DecodeError as error:
        raise CannotStart(f"The plan {path} is not JSON: {error}.") from error
    check(plan)
    return plan


def check(plan: Plan) -> None:
    """Refuse what cannot work."""
    if not _PATH.match(plan.broker_path):
        raise CannotStart(
            f"The broker's path is /NAMESPACE/NAME in lower-case letters, digits and dashes, not {plan.broker_path!r}."
        )
    _unique("subscription", (s.name for s in plan.subscriptions))
    _unique("pool", (p.name for p in plan.pools))
    _unique("timer", (t.name for t in plan.timers))
    for pool in plan.pools:
        _check_pool(pool)
    names = {subscription.name for subscription in plan.subscriptions}
    pools = {pool.name for pool in plan.pools}
    for subscription in plan.subscriptions:
        _check_subscription(subscription, names, pools)
    for timer in plan.timers:
        _at_least(timer.minutes, 1, f"minutes of timer {timer.name}")


def _check_pool(pool: Pool) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", pool.name):
        raise CannotStart(f"{pool.name!r} cannot name a pool: it becomes the name of a log file.")
    if (pool.url is None) == (not pool.command):
        raise CannotStart(f"Pool {pool.name} needs either a url (it runs already) or a command (it is started by need).")
    if pool.url is not None and (urlsplit(pool.url).scheme != "http" or not urlsplit(pool.url).hostname):
        raise CannotStart(f"The url of pool {pool.name} must be http://HOST:PORT; it is {pool.url!r}.")
    _at_least(pool.max_workers, 1, f"max_workers of pool {pool.name}")
    _at_least(pool.concurrency, 1, f"concurrency of pool {pool.name}")


def _check_subscription(subscription: Subscription, names: set[str], pools: set[str]) -> None:
    name, delivery = subscription.name, subscription.delivery
    if subscription.pool not in pools:
        raise CannotStart(f"Subscription {name} is served by pool {subscription.pool!r}, which the plan does not have.")
    if not subscription.path.startswith("/"):
        raise CannotStart(f"The path of subscription {name} must begin with a slash.")
    for attribute, value in subscription.filter.items():
        if attribute in _DIALECTS or not _NAME.match(attribute):
            raise CannotStart(f"{_exact_only(f'subscription {name}')} ({attribute!r} is no attribute's name)")
        if not value:
            raise CannotStart(
                f"{_exact_only(f'subscription {name}')} (an empty value of {attribute!r} means something else to each broker)"
            )
    if delivery.dead_letter is not None and delivery.dead_letter not in names:
        raise CannotStart(f"Dead letters of subscription {name} go to {delivery.dead_letter!r}, which the plan does not have.")
    _at_least(subscription.parallelism, 1, f"parallelism of subscription {name}")
    _at_least(delivery.retry, 0, f"retry of subscription {name}")
    _at_least(delivery.delay, 0, f"delay of subscription {name}")
    if delivery.timeout <= 0:
        raise CannotStart(f"The timeout of subscription {name} must be above 0 seconds.")


def _exact_only(who: str) -> str:
    return (
        f'The filter of {who} is not one of exact attributes, such as {{"type": "auricle.files.received.v1"}}. Other dialects '
        "are refused, because not every broker knows them: filter on an attribute that the event carries."
    )


def _unique(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise CannotStart(f"The plan has two {kind}s called {name!r}.")
        seen.add(name)


def _at_least(value: float, least: int, what: str) -> None:
    if value < least:
        raise CannotStart(f"The {what} must be at least {least}; it is {value}.")
