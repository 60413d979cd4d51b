"""Dead letters and health as operators see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NewType
from uuid import UUID

import msgspec

DeadLetterId = NewType("DeadLetterId", UUID)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be worked on. `event` has its attributes and data, URLs masked; `reason` is a sentence."""

    id: DeadLetterId
    function: str
    type: str
    reason: str
    state: str  # open | replayed
    created_at: datetime
    run_id: UUID | None = None
    replayed_at: datetime | None = None
    event: dict[str, Any] = {}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is `ok` or `degraded`; a component's value is `ok` or a sentence that says what is wrong."""

    status: str
    version: str
    components: dict[str, str]
