"""Which NIST SP 800-53 controls hold, by which modules, shown by which tests: read from tests/house/controls.toml."""

from __future__ import annotations

from pathlib import Path

import msgspec

CONTROLS = Path(__file__).parents[3] / "tests" / "house" / "controls.toml"


class Control(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One control. `how` says in sentences what holds; `tests` are named from the folder tests/."""

    id: str
    title: str
    how: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    control: tuple[Control, ...]


def controls() -> tuple[Control, ...]:
    """All of them, in the order of the catalogue of controls."""
    return msgspec.toml.decode(CONTROLS.read_bytes(), type=_File).control
