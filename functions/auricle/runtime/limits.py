"""Numbers and words that doors share."""

from __future__ import annotations

MAX_BODY = 2**20
"""Bytes of a request body, 1 MiB. Media never passes through a function: it goes to signed URLs."""
HEALTH = "/health"
"""The one path that a suspended deployment still answers, beside the probes."""
