"""The laptop's own keys of sign-in and its setup code: files of the data folder, made and rotated before anything is served."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from pathlib import Path

ROTATED_AFTER = timedelta(days=90)
"""Age at which the youngest key gets a successor, at the next start; NIST SP 800-57 part 1 (5.3.6) allows years."""
CODE = "setup-code"


class LocalIdentity:
    """What `auricle up` has where administrators of clusters mount Secrets."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists and is its owner's alone."""
        self._folder = folder

    @property
    def settings(self) -> dict[str, str]:
        """The settings that name the files. Each function is given those that it needs."""
        names = {"signing_keys_file": "signing-keys.json", "jwks_file": "jwks.json", "setup_code_file": CODE}
        return {setting: str(self._folder / name) for setting, name in names.items()}

    def prepare(self, now: datetime) -> str:
        """Make what is missing, rotate what is old; returns the setup code. One process at a time."""
        from auricle.adapters.signing.ringfiles import RingFiles, private_file  # the supervisor only asks for names

        ring = RingFiles(self._folder)
        if not ring.there:
            ring.make(now)
        elif max(key.not_before for key in ring.keys().keys) + ROTATED_AFTER <= now:
            ring.rotate(now)
        ring.publish(now)  # without what has ended since, and again if somebody removed it
        code = self._folder / CODE
        if not code.exists():
            private_file(code, setup_code().encode())
        return code.read_text().strip()


def setup_code() -> str:
    """Twenty hex digits: there are few tries."""
    return secrets.token_hex(10)
