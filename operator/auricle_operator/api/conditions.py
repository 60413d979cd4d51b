"""Conditions: what holds of a resource, since when, and what to do where it does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from auricle_operator.api.rules import about


class Truth(StrEnum):
    """Of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Finding(msgspec.Struct, frozen=True):
    """What was found of one condition, without the time. `reason` is CamelCase, for machines; `message` is for people."""

    type: str
    status: Truth
    reason: str
    message: str = ""


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """As it stands in a status (Kubernetes' own shape)."""

    type: str
    status: Truth
    reason: str
    message: str = ""
    last_transition_time: str
    observed_generation: int = 0


Conditions = Annotated[
    tuple[Condition, ...], about("What holds, and what to do where it does not: one for each type.", unique="type")
]
"""Of a status."""


def conditions(found: Iterable[Finding], before: Sequence[Condition], generation: int, now: datetime) -> list[Condition]:
    """`found` with the times: a condition's changes only when its status does. What was not found this time goes away."""
    known = {condition.type: condition for condition in before}
    return [
        Condition(
            type=finding.type,
            status=finding.status,
            reason=finding.reason,
            message=finding.message[:32_000],
            observed_generation=generation,
            last_transition_time=known[finding.type].last_transition_time
            if finding.type in known and known[finding.type].status is finding.status
            else stamp(now),
        )
        for finding in found
    ]


def summary(found: Sequence[Finding], type: str = "Ready", ignoring: Iterable[str] = ()) -> Finding:
    """All of `found` in one: True when all are; else the first that is not says why."""
    counted = [finding for finding in found if finding.type not in frozenset(ignoring)]
    for truth in (Truth.FALSE, Truth.UNKNOWN):
        for finding in counted:
            if finding.status is truth:
                return Finding(type, truth, finding.reason, f"{finding.type}: {finding.message}")
    return Finding(type, Truth.TRUE, "Ready")


def stamp(moment: datetime) -> str:
    """RFC 3339 to the second, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(stamped: str) -> datetime:
    """The time that `stamp` (or Kubernetes) wrote."""
    return datetime.fromisoformat(stamped)
