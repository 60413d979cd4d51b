"""Amounts and spans of time as Kubernetes and Go write them."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

SUFFIXES = {letter: Decimal(1000) ** power for power, letter in enumerate(("m", "", "k", "M", "G", "T", "P"), -1)} | {
    f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTP", 1)
}
UNITS = {"h": 3600, "m": 60, "s": 1}


def amount(written: str) -> int:
    """`500Gi` in bytes (or pieces)."""
    return int(_exact(written))


def reached(quota: dict[str, Any], name: str, most: str) -> bool:
    """Whether a ResourceQuota has no more of `name` to give."""
    used = quota["status"].get("used", {}).get(name, "0")
    return most != "0" and _exact(used) >= _exact(most)


def _exact(written: str) -> Decimal:
    number, suffix = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", written).groups()  # type: ignore[union-attr]
    return Decimal(number) * SUFFIXES[suffix]


def span(written: str) -> timedelta:
    """`1h30m` as a time."""
    return timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in re.findall(r"([0-9]+)([hms])", written)))


def readable(count: int) -> str:
    """Bytes for people: `1.5 GB`."""
    for letter in "TGMk":
        if count >= SUFFIXES[letter]:
            return f"{count / SUFFIXES[letter]:.1f} {letter}B"
    return f"{count} bytes"
