"""What the embedded host takes over from the shell it was started in, and hands on to its children."""

from __future__ import annotations

import os
from collections.abc import Mapping

SECRETS = frozenset(
    {
        "DATABASE_URL",
        "EVENT_KEY",
        "BLOBS_KEY",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
        "BUCKET_TOKEN",
    }
)
"""Given only to the children that need them: by the plan, never by inheritance."""


def inherited() -> dict[str, str]:
    """The variables of this process."""
    return dict(os.environ)


def without_secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """What a child without any credential may see."""
    return {name: value for name, value in variables.items() if name not in SECRETS}
