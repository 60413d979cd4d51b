"""Argon2id (RFC 9106) through argon2-cffi, which lets other threads run while it works."""

from __future__ import annotations

import logging
import secrets
import threading
from typing import TYPE_CHECKING

import msgspec

from auricle.errors import Invalid, Retryable
from auricle.ports.hashing import normalised

if TYPE_CHECKING:
    import argon2

log = logging.getLogger(__name__)

WEAKEST = ((47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5))
"""Memory in KiB with the passes it needs: OWASP's Password Storage Cheat Sheet holds these for equally strong."""
_MOST = (1_048_576, 32, 16)
"""Memory in KiB, passes and lanes of any hash. What is kept is believed no further: a row with m=4294967295 would make the
kernel kill whatever else runs here, since many machines promise memory that they do not have."""
_BUSY = ("Memory allocation error", "Threading failure")
"""What libargon2 calls it; the bindings keep its words and not its numbers."""


class Cost(msgspec.Struct, frozen=True):
    """What one hash costs, us and whoever guesses: memory in KiB, passes over it, lanes that run side by side.

    The default is OWASP's: 19 MiB, two passes, one lane; some 30 ms of one core. All pods must be given the same.
    """

    memory: int = 19_456
    passes: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        """Weaker than the weakest that OWASP recommends is a mistake in a setting."""
        enough = any(self.memory >= memory and self.passes >= passes for memory, passes in WEAKEST)
        if not enough or self.lanes < 1:
            least = ", ".join(f"{memory} KiB with {passes}" for memory, passes in WEAKEST)
            raise ValueError(f"Passwords would be hashed too cheaply. Give Argon2id at least one of: {least} passes.")
        if not _bearable(self.memory, self.passes, self.lanes):
            raise ValueError(f"One sign-in would take too much of the machine. At most {_MOST} KiB, passes and lanes.")


class Argon2id:
    """Implements `ports.hashing.PasswordHasher`. Each running hash holds `cost.memory`: threads times that is the pod's."""

    def __init__(self, cost: Cost | None = None) -> None:
        self._cost = cost or Cost()
        self._making = threading.Lock()
        self._made: argon2.PasswordHasher | None = None
        self._nobodys: str | None = None

    def hash(self, secret: str) -> str:
        """As the port says: the PHC string, 16 bytes of salt and 32 of hash."""
        return self._hashed(normalised(secret))

    def verify(self, secret: str, kept: str | None) -> bool:
        """As the port says."""
        try:
            data = normalised(secret)
        except Invalid:
            return False  # by what was typed alone, hence the same for every account
        # A nobody's hash is worked through like any other, and is never right, whatever its random secret was.
        right = self._matches(kept if kept is not None else self._nobody(), data)
        if right is None:
            log.error("a kept password hash is no Argon2 hash of ours: its account cannot sign in with it")
            self._matches(self._nobody(), data)
        return bool(right) and kept is not None

    def needs_rehash(self, kept: str) -> bool:
        """As the port says. A text that is no hash needs nothing: it never verifies."""
        try:
            return self._hasher().check_needs_rehash(kept)
        except ValueError:  # InvalidHashError is one
            return False

    def prepare(self) -> None:
        """Make what the first `verify(…, None)` would make, before the first request: it would take two hashes' time."""
        self._nobody()

    def _hasher(self) -> argon2.PasswordHasher:
        import argon2

        if self._made is None:
            self._made = argon2.PasswordHasher(
                time_cost=self._cost.passes,
                memory_cost=self._cost.memory,
                parallelism=self._cost.lanes,
                hash_len=32,
                salt_len=16,
                type=argon2.Type.ID,
            )
        return self._made

    def _matches(self, kept: str, data: bytes) -> bool | None:
        """None: `kept` is no hash, or none that can be worked through."""
        from argon2 import extract_parameters
        from argon2.exceptions import VerificationError, VerifyMismatchError

        try:
            told = extract_parameters(kept)
            if not _bearable(told.memory_cost, told.time_cost, told.parallelism):
                return None
            return self._hasher().verify(kept, data)
        except VerifyMismatchError:
            return False
        except VerificationError as error:
            _refuse_if_busy(error)
            return None
        except ValueError:  # InvalidHashError is one, text that is not ASCII is another
            return None

    def _hashed(self, data: bytes) -> str:
        from argon2.exceptions import HashingError

        try:
            return self._hasher().hash(data)
        except HashingError as error:
            _refuse_if_busy(error)
            raise

    def _nobody(self) -> str:
        with self._making:
            if self._nobodys is None:
                self._nobodys = self._hashed(secrets.token_bytes(32))
            return self._nobodys


def _bearable(memory: int, passes: int, lanes: int) -> bool:
    return all(value <= most for value, most in zip((memory, passes, lanes), _MOST, strict=True))


def _refuse_if_busy(error: Exception) -> None:
    """No memory and no thread say nothing about the password: nobody's attempt may count as wrong for them."""
    if str(error) in _BUSY:
        raise Retryable("The server is too busy to check passwords. Try again in a moment.") from error
