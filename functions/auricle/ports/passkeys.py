"""Passkeys: keys that a person's device keeps, and that sign for one site only (W3C Web Authentication, level 3).

Bytes that go to and come from browsers are the JSON of `PublicKeyCredential.parseCreationOptionsFromJSON`,
`parseRequestOptionsFromJSON` and `toJSON()`, as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from auricle.errors import Unauthenticated

CHALLENGE_BYTES = 32
"""Of randomness; the standard (13.4.3) wants 16 at least."""
MAX_RESPONSE = 32 * 1024
"""Bytes of a browser's answer. Real ones have one or two thousand; the largest signature schemes ten."""
MAX_ID = 1023
"""Bytes of a passkey's id (the standard's 4, Credential ID)."""


class Use(StrEnum):
    """What a passkey is shown for."""

    SECOND_FACTOR = "second-factor"  # after a password: that somebody is there with the device is enough
    PASSWORDLESS = "passwordless"  # alone: the device has checked a PIN or a finger, and tells who it is


class Refusal(StrEnum):
    """Why a passkey was refused: for the audit trail, never for the one who sent it."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    ATTESTATION = "attestation"  # a statement that we did not ask for
    CROSS_ORIGIN = "cross-origin"  # made within a frame of another site
    NOT_VALID = "not-valid"  # challenge, origin, site, presence, verification or signature: the cause says which
    OTHER_PASSKEY = "other-passkey"
    OTHER_PERSON = "other-person"
    BACKUP = "backup"  # what can never change about a passkey has changed
    COUNTER = "counter"  # it did not count on: there may be a copy of the key. Worth an alarm, the signature was good
    NOT_PASSWORDLESS = "not-passwordless"
    CEREMONY = "ceremony"  # unknown, used up, too old, or begun for something or somebody else


class PasskeyRefused(Unauthenticated):
    """A passkey that is not good here. Its text is always the same; `why` stays with us."""

    def __init__(self, why: Refusal) -> None:
        super().__init__("This passkey could not be used. Try again, or sign in another way.")
        self.why = why


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose passkey it will be. `handle`: 1 to 64 random bytes that stand for the person (the standard's 14.6.1: no e-mail,
    no name, nothing that tells who it is); the others are what the device shows."""

    handle: bytes
    name: str
    display_name: str


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a passkey. Nothing in it is secret. `public_key` is a COSE key (RFC 9052, 7).

    `passwordless`: it may be shown alone. `synced`: it can be on several devices; `backed_up`: it is. `aaguid` names the kind
    of device, if that tells it, and is not attested.
    """

    id: bytes
    handle: bytes
    public_key: bytes
    sign_count: int
    passwordless: bool
    synced: bool
    backed_up: bool
    aaguid: str
    transports: tuple[str, ...] = ()


class Presented(msgspec.Struct, frozen=True):
    """What an answer says about itself, to find the passkey that it must be checked with. It proves nothing."""

    id: bytes
    handle: bytes | None


class Passkeys(Protocol):
    """Both ceremonies for one site. All that is refused is `PasskeyRefused`; each `challenge` is for one answer."""

    def registration_options(self, owner: Owner, use: Use, challenge: bytes, known: Sequence[Passkey]) -> bytes:
        """What `navigator.credentials.create` is asked. Devices that hold one of `known` (the owner's) say so and stop."""
        ...

    def register(self, response: bytes, owner: Owner, use: Use, challenge: bytes) -> Passkey:
        """The passkey that was made. For `PASSWORDLESS` the device must have checked who uses it."""
        ...

    def authentication_options(self, use: Use, challenge: bytes, allowed: Sequence[Passkey]) -> bytes:
        """What `navigator.credentials.get` is asked. `allowed`: a known person's; for `PASSWORDLESS` none, and the device
        tells who it is (naming any would tell a stranger who has an account)."""
        ...

    def presented(self, response: bytes) -> Presented:
        """Which passkey an answer claims to be of."""
        ...

    def authenticate(self, response: bytes, passkey: Passkey, use: Use, challenge: bytes) -> Passkey:
        """`passkey` as it is to be kept from now on, if the answer is its. Keep it only where `sign_count` is still the
        old one: two answers at once that claim the same count are a copy of the key."""
        ...
