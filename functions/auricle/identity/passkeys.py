"""Ceremonies with passkeys: what is begun is finished once, soon, and by whom it was begun for."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from auricle.errors import Conflict, Invalid
from auricle.ports.passkeys import CHALLENGE_BYTES, Passkey, PasskeyRefused, Presented, Refusal, Use

LIFE = timedelta(minutes=5)
"""What a person has to find the key: the longest that browsers wait by the standard's advice (Web Authentication, 15.1)."""
MOST = 20
"""Passkeys of one person."""
LONGEST_NAME = 100
HANDLE_BYTES = 64
"""As the standard recommends (14.6.1)."""
_ID_BYTES = 16


class Act(StrEnum):
    """Which ceremony."""

    REGISTER = "register"
    AUTHENTICATE = "authenticate"


class Ceremony(msgspec.Struct, frozen=True, kw_only=True):
    """A ceremony that was begun. `id`: what the client names it by; `person` None: the device will tell who it is.

    The caller keeps `encoded()` under `id` where it can be taken once only (`Ephemeral.put` and `take`, for `LIFE`).
    """

    id: str
    act: Act
    use: Use
    challenge: bytes
    person: UUID | None
    ends: datetime

    def encoded(self) -> bytes:
        """What to keep."""
        return msgspec.msgpack.encode(self)


def begin(act: Act, use: Use, person: UUID | None, now: datetime) -> Ceremony:
    """A ceremony with a fresh challenge. A passwordless sign-in is begun for nobody: with a name it would tell strangers who
    has an account."""
    if (person is None) != ((act, use) == (Act.AUTHENTICATE, Use.PASSWORDLESS)):
        raise ValueError("A passwordless sign-in is begun for nobody, everything else for somebody.")
    return Ceremony(
        id=secrets.token_urlsafe(_ID_BYTES),
        act=act,
        use=use,
        challenge=secrets.token_bytes(CHALLENGE_BYTES),
        person=person,
        ends=now + LIFE,
    )


def finish(taken: bytes | None, act: Act, use: Use, person: UUID | None, now: datetime) -> Ceremony:
    """The ceremony that an answer belongs to. `taken`: what was kept and is forgotten now; None when there was none.

    `PasskeyRefused` when it was begun for something or somebody else, is over, or never was.
    """
    ceremony = _decoded(taken)
    if ceremony is None or now >= ceremony.ends or (ceremony.act, ceremony.use, ceremony.person) != (act, use, person):
        raise PasskeyRefused(Refusal.CEREMONY)
    return ceremony


def new_handle() -> bytes:
    """What stands for a person on their devices, made once per person and kept: it tells nothing of who it is."""
    return secrets.token_bytes(HANDLE_BYTES)


def check_room(own: Sequence[Passkey]) -> None:
    """`Conflict` when the person has as many passkeys as there may be."""
    if len(own) >= MOST:
        raise Conflict(f"There can be {MOST} passkeys. Remove one that you no longer use.")


def check_new(made: Passkey, own: Sequence[Passkey], taken: bool) -> None:
    """After registering. `taken`: whether anybody has a passkey of this id (the standard's 7.1, 26); one that an attacker
    copied from somebody else's would otherwise sign in as either."""
    check_room(own)
    if taken or any(one.id == made.id for one in own):
        raise Conflict("This passkey is registered already. Use another device, or remove it first.")


def among(presented: Presented, candidates: Sequence[Passkey]) -> Passkey:
    """The passkey to check an answer with; an unknown one is refused as a wrong one is.

    `candidates`: of who owes a second factor, their own; for a passwordless sign-in whichever has the presented id, if any.
    """
    found = next((one for one in candidates if one.id == presented.id), None)
    if found is None:
        raise PasskeyRefused(Refusal.OTHER_PASSKEY)
    return found


def good_name(typed: str) -> str:
    """How a person calls a passkey in their list; `Invalid` when it says nothing."""
    name = " ".join(unicodedata.normalize("NFC", typed[: 4 * LONGEST_NAME]).split())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Invalid(f"Give the passkey a name of 1 to {LONGEST_NAME} characters, such as the device's.", field="name")
    return name


def _decoded(taken: bytes | None) -> Ceremony | None:
    """What an older release kept in another shape is no ceremony: it is begun again."""
    if taken is None:
        return None
    try:
        return msgspec.msgpack.decode(taken, type=Ceremony)
    except msgspec.DecodeError:
        return None
