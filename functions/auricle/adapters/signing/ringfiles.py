"""A ring and its published half as two files side by side: the private one for identity alone, the public one for everybody."""

from __future__ import annotations

import os
import secrets
from datetime import datetime, timedelta
from pathlib import Path

from auricle.adapters.signing.ring import AHEAD, Ring, fresh_ring
from auricle.errors import Conflict, NotFound
from auricle.ports.signing import KeySet

PRIVATE = "signing-keys.json"
PUBLIC = "jwks.json"


class RingFiles:
    """For `auricle keys`, `auricle manifests secrets` and `auricle up`. One at a time changes them; readers always find whole
    files, and each key published before anything is signed with it."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists and is its owner's alone."""
        self.private = folder / PRIVATE
        self.public = folder / PUBLIC

    @property
    def there(self) -> bool:
        """Whether there are keys already."""
        return self.private.exists()

    def keys(self) -> KeySet:
        """What everybody may know of them; `NotFound` where there are none."""
        return self._ring().public

    def make(self, now: datetime) -> None:
        """The first key, which signs at once; `Conflict` where there are keys, for every sign-in stands on them."""
        if self.there:
            raise Conflict(f"{self.private} is there already. Rotate it instead: `auricle keys rotate`.")
        self._write(fresh_ring(now), now)

    def rotate(self, now: datetime, ahead: timedelta = AHEAD) -> None:
        """A next key, published now and signing `ahead` later; keys whose last tokens have ended go."""
        self._write(self._ring().rotated(now, ahead), now)

    def remove(self, kid: str, now: datetime) -> None:
        """Without a stolen key: what it signed is refused as soon as the public file is read again."""
        ring = self._ring()
        if kid not in {key.kid for key in ring.public.keys}:
            raise NotFound(f"{self.private} has no key {kid}. `auricle keys list` shows them.")
        if len(ring.keys) == 1:
            ring = ring.rotated(now, timedelta(0))  # else nobody could sign in
        self._write(ring.without(kid, now), now)

    def publish(self, now: datetime) -> None:
        """Write the public half anew where it is not what the private one says now."""
        if not self.public.exists() or self.public.read_bytes() != self.keys().document(now):
            private_file(self.public, self.keys().document(now))

    def _ring(self) -> Ring:
        try:
            return Ring.from_text(self.private.read_bytes())
        except FileNotFoundError:
            raise NotFound(f"There is no {self.private}. `auricle keys new` makes it.") from None

    def _write(self, ring: Ring, now: datetime) -> None:
        private_file(self.public, ring.public.document(now))
        private_file(self.private, ring.text())


def private_file(path: Path, data: bytes) -> None:
    """Replace `path`, whole or not at all, readable by its owner alone and safe on the disk."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
