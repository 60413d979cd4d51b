"""The laptop's secrets: random, made on first use, in one file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from auricle.runtime.local.errors import CannotStart


class Keys:
    """`DIR/secrets.json`: hex of 32 random bytes under a name, made when first asked for and never changed."""

    def __init__(self, path: Path) -> None:
        """`path` need not exist; its folder must. One process at a time writes (the host's lock sees to that)."""
        self.path = path

    def __getitem__(self, name: str) -> str:
        """The secret called `name`: 64 hex digits, so it needs no quoting in URLs or SQL."""
        known = self._read()
        if name not in known:
            known[name] = secrets.token_hex(32)
            self._write(known)
        return known[name]

    def _read(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise CannotStart(
                f"{self.path} is damaged. It holds the passwords of the database: restore it from a backup."
            ) from error
        return found

    def _write(self, known: dict[str, str]) -> None:
        partial = self.path.with_suffix(".new")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file, indent=2)
            file.flush()
            os.fsync(file.fileno())  # a password that a crash loses locks everybody out of the database
        partial.replace(self.path)
