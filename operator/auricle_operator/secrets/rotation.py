"""When a secret is made, handed out, shut and forgotten. Pure: what is seen in, the next step out.

A version is made beside the one at work, consumers move over, and once everybody has it the overlap begins; only after that is
the old one shut. What happened stands on the versions' master Secrets, so a lost status or a restart changes nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from auricle_operator.api.managedsecret import State

LINGER = timedelta(minutes=15)
"""How long a Secret that nobody needs any more stays at most: pods of an older revision may still be starting from it."""
FORSAKE = "lose-what-is-sealed"
"""Value of the annotation `auricle.dev/rotate` by which a person begins anew although the old keys are lost."""
SOON = 10.0
"""Seconds until consumers are looked at again."""


class Strategy(StrEnum):
    """How one value takes over from another."""

    EXCHANGE = "exchange"  # the new one beside the old, which is shut after the overlap
    REPLACE = "replace"  # the new one at once: whoever starts reads it
    RING = "ring"  # keys in one place, each published before it signs
    LIST = "list"  # the old one stays in the value, beside the new one
    ONCE = "once"  # by hand alone, because it interrupts
    COPY = "copy"  # somebody else's: follows what they write


class Step(StrEnum):
    """Which of an exchange's values a version holds. Most have but one."""

    LEARN = "learn"  # everybody learns the new key; the old one is still the first
    USE = "use"  # the new one is the first
    DROP = "drop"  # the old one is not believed any more


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How secrets of one purpose are exchanged."""

    strategy: Strategy
    turns: tuple[str, ...] = ()
    """Places outside that take turns (logins). Empty: each version has a place of its own, or none."""
    steps: tuple[Step, ...] = (Step.USE,)
    precious: bool = False
    """Whether something is lost for ever with the last copy: then none is made in its place unless a person says so."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What its master Secret tells of it, but the values."""

    number: int
    created: datetime
    digest: str
    step: Step = Step.USE
    turn: str = ""
    asked: str = ""
    handed_out: datetime | None = None  # since when all consumers have it
    shut: datetime | None = None  # intent: from here on it is to be shut outside, and forgotten
    copied: bool = False  # whether the tenant's Secret is there, as it should be


class Consumer(msgspec.Struct, frozen=True):
    """A Service: the versions that its template names, and whether a revision of just this template serves."""

    name: str
    names: frozenset[int]
    ready: bool


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides. `highest`: the greatest number that was ever seen, so that none comes twice."""

    manner: Manner
    versions: tuple[Version, ...]  # ascending
    highest: int = 0
    published: bool = False  # the status names the newest version, so that consumers can follow
    consumers: tuple[Consumer, ...] = ()
    busy: tuple[str, ...] = ()  # jobs at work with it
    wanted: str = ""  # the annotation
    source: str = ""  # digest of what somebody else wrote; empty: there is none
    outdated: bool = False  # its place has another address now
    interval: timedelta | None = None
    overlap: timedelta = timedelta(hours=24)
    now: datetime

    @property
    def newest(self) -> Version | None:
        """What consumers shall have."""
        return max((v for v in self.versions if v.shut is None), key=lambda v: v.number, default=None)

    @property
    def older(self) -> tuple[Version, ...]:
        """What it replaces."""
        return tuple(v for v in self.versions if v != self.newest)

    @property
    def following(self) -> Step | None:
        """The step of this exchange that is still to come."""
        steps, newest = self.manner.steps, self.newest
        if newest is None or newest.step not in steps or newest.step is steps[-1]:
            return None
        return steps[steps.index(newest.step) + 1]

    @property
    def missing(self) -> tuple[str, ...]:
        """Consumers that do not have the newest."""
        return tuple(c.name for c in self.consumers if not c.ready or self._elsewhere(c))

    @property
    def astray(self) -> tuple[str, ...]:
        """Consumers whose template names another."""
        return tuple(c.name for c in self.consumers if self._elsewhere(c))

    @property
    def linger(self) -> timedelta:
        """From when everybody has the newest until the older ones go."""
        return self.overlap if self.manner.strategy is Strategy.EXCHANGE else min(self.overlap, LINGER)

    def superseded(self, version: Version) -> bool:
        """Whether a younger one took its place outside, so that it works no more and must not be admitted again."""
        return bool(version.turn) and any(v.turn == version.turn and v.number > version.number for v in self.versions)

    def _elsewhere(self, consumer: Consumer) -> bool:
        return self.newest is None or consumer.names != {self.newest.number}


class Make(msgspec.Struct, frozen=True):
    """A new version."""

    number: int
    step: Step
    turn: str
    why: str


class HandOut(msgspec.Struct, frozen=True):
    """All consumers have it: the overlap begins."""

    number: int


class TakeBack(msgspec.Struct, frozen=True):
    """A consumer went back to another: the overlap will begin anew."""

    number: int


class Note(msgspec.Struct, frozen=True):
    """The exchange under way is what somebody asks for."""

    number: int


class Shut(msgspec.Struct, frozen=True):
    """Write down that it is to be shut."""

    number: int


class Drop(msgspec.Struct, frozen=True):
    """Shut it outside (`revoke`), then forget it."""

    number: int
    revoke: bool


class Revive(msgspec.Struct, frozen=True):
    """It was to be shut, perhaps it is, and a consumer went back to it: admit it again."""

    number: int


Action = Make | HandOut | TakeBack | Note | Shut | Drop | Revive


def next_action(seen: Seen) -> Action | None:
    """The one thing to do now; None when there is nothing, or something is to be waited for."""
    newest = seen.newest
    if (action := _finish(seen)) is not None:
        return action
    if newest is None:
        return _begin(seen)
    for rule in (_follow, _note, _shut, _hand_out, _take_back, _go_on, _renew):
        if (action := rule(seen, newest)) is not None:
            return action
    return None


def lost(seen: Seen) -> bool:
    """Whether keys are gone that nobody can make again."""
    return seen.manner.precious and seen.newest is None and seen.highest > 0 and seen.wanted != FORSAKE


def due(seen: Seen, newest: Version) -> str:
    """Why it is to be exchanged now; empty when it is not."""
    if seen.manner.strategy is Strategy.COPY:
        return ""
    if seen.wanted and seen.wanted != newest.asked:
        return "somebody asked for it"
    if seen.outdated:
        return "it names an address that is not right any more"
    renewal = next_rotation(seen)
    return "its interval is over" if renewal and seen.now >= renewal else ""


def next_rotation(seen: Seen) -> datetime | None:
    """When it is exchanged by itself."""
    if seen.interval is None or seen.newest is None or seen.manner.strategy in (Strategy.ONCE, Strategy.COPY):
        return None
    return seen.newest.created + seen.interval


def waits_for(seen: Seen) -> tuple[str, ...]:
    """Who keeps an exchange that is due from beginning."""
    if seen.manner.strategy is Strategy.REPLACE:
        return seen.busy  # a job that connects again would be refused
    # A login that somebody may still use is not given another password.
    return seen.missing if len(seen.manner.turns) > 1 else ()


def settled(seen: Seen) -> bool:
    """Whether nobody's consumers need be looked at: one version, complete, and not due."""
    newest = seen.newest
    complete = newest is not None and newest.copied and seen.published and not seen.older and seen.following is None
    return complete and newest is not None and not due(seen, newest)


def state(seen: Seen) -> State:
    """In one word."""
    newest = seen.newest
    if newest is None:
        return State.WAITING
    if not seen.older and seen.following is None:
        return State.STABLE
    return State.ROLLING if newest.handed_out is None else State.OVERLAPPING


def revokes_at(seen: Seen) -> datetime | None:
    """When the older ones go, if everybody keeps what they have."""
    newest = seen.newest
    if newest is None or newest.handed_out is None or not (seen.older or seen.following):
        return None
    return newest.handed_out + (seen.linger if seen.older else seen.overlap)


def delay(seen: Seen) -> float | None:
    """Seconds after which to look again."""
    newest = seen.newest
    if newest is None:
        return None
    if state(seen) is State.ROLLING:
        return SOON
    moments = [moment for moment in (revokes_at(seen), next_rotation(seen)) if moment]
    if due(seen, newest) and state(seen) is State.STABLE:
        return SOON
    return max(SOON / 10, min((m - seen.now).total_seconds() for m in moments)) if moments else None


def _finish(seen: Seen) -> Action | None:
    """What was begun to be shut is shut, unless somebody came back to it while we were away."""
    for version in seen.versions:
        if version.shut is None:
            continue
        if not seen.superseded(version) and any(version.number in consumer.names for consumer in seen.consumers):
            return Revive(version.number)
        return Drop(version.number, not seen.superseded(version))
    return None


def _begin(seen: Seen) -> Action | None:
    if lost(seen) or (seen.manner.strategy is Strategy.COPY and not seen.source):
        return None
    return _make(seen, seen.manner.steps[-1], "there is none")


def _follow(seen: Seen, newest: Version) -> Action | None:
    if seen.manner.strategy is not Strategy.COPY or seen.source in ("", newest.digest):
        return None
    return _make(seen, newest.step, "its source changed")


def _note(seen: Seen, newest: Version) -> Action | None:
    if not seen.wanted or seen.wanted == newest.asked:
        return None
    # Not while the old one is merely dropped: who asked since the new one was used wants yet another.
    moving = state(seen) is State.ROLLING and newest.step is not Step.DROP
    return Note(newest.number) if moving or seen.manner.strategy is Strategy.COPY else None


def _hand_out(seen: Seen, newest: Version) -> Action | None:
    if state(seen) is not State.ROLLING or not newest.copied or not seen.published or seen.missing:
        return None
    return HandOut(newest.number)


def _take_back(seen: Seen, newest: Version) -> Action | None:
    return TakeBack(newest.number) if state(seen) is State.OVERLAPPING and seen.astray else None


def _shut(seen: Seen, newest: Version) -> Action | None:
    if not seen.published:
        return None
    over = newest.handed_out is not None and seen.now >= newest.handed_out + seen.linger and not seen.missing
    return next((Shut(v.number) for v in seen.older if over or seen.superseded(v)), None)


def _go_on(seen: Seen, newest: Version) -> Action | None:
    """The exchange's next step."""
    step = seen.following
    if step is None or newest.handed_out is None or seen.missing:
        return None
    if step is Step.DROP and (seen.older or seen.now < newest.handed_out + seen.overlap):
        return None
    return _make(seen, step, f"everybody has version {newest.number}")


def _renew(seen: Seen, newest: Version) -> Action | None:
    if state(seen) is not State.STABLE or not newest.copied or not seen.published or waits_for(seen):
        return None
    why = due(seen, newest)
    return _make(seen, seen.manner.steps[0], why) if why else None


def _make(seen: Seen, step: Step, why: str) -> Make:
    return Make(seen.highest + 1, step, _turn(seen), why)


def _turn(seen: Seen) -> str:
    """The place that nobody has; where all versions are lost, the one that the number says."""
    turns = seen.manner.turns
    if not turns:
        return ""
    first = turns[seen.highest % len(turns)]
    taken = {version.turn for version in seen.versions}
    return next((turn for turn in (first, *turns) if turn not in taken), first)
