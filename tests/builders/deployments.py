"""A house whose deployment is told something else for a while, as a new revision of its functions would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from auricle.intake.model import UploadLimits
from auricle.runs.model import Pace
from builders.house import House


@contextmanager
def told(home: House, **settings: Any) -> Iterator[House]:
    """The house with these settings, until the block ends."""
    wiring = home.bound.wiring
    before = wiring.settings
    _tell(home, msgspec.structs.replace(before, **settings))
    try:
        yield home
    finally:
        _tell(home, before)


def _tell(home: House, settings: Any) -> None:
    home.bound.wiring.settings = settings
    for kind in (Pace, UploadLimits):  # made of settings, and kept
        home.bound.wiring.__dict__.get("_ports", {}).pop(kind, None)
