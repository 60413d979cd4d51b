"""Handing events to the broker: the one client, and the ids of what is new. No database: secretless functions use it too."""

from __future__ import annotations

import os
import time
from uuid import UUID

from auricle.contract.event import Envelope
from auricle.errors import Retryable
from auricle.runtime.cloudevent import binary


def uuid7() -> UUID:
    """RFC 9562 version 7: sortable by creation, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


class Sink:
    """Where envelopes are posted: one broker, one keep-alive pool."""

    def __init__(self, url: str) -> None:
        """`url` is the broker's ingress."""
        import urllib3

        self._url = url
        self._pool = urllib3.PoolManager(maxsize=8, retries=False, timeout=urllib3.Timeout(connect=2, read=15))
        self._failures = (urllib3.exceptions.HTTPError, OSError)

    def post(self, event: Envelope) -> None:
        """Hand over one event; `Retryable` unless the broker took it."""
        headers, body = binary(event)
        try:
            answer = self._pool.request("POST", self._url, body=body, headers=headers)
        except self._failures as error:
            raise Retryable("The event broker is away; what happened is kept and will be sent.") from error
        if answer.status >= 300:
            raise Retryable(f"The event broker answered {answer.status}; what happened is kept and will be sent.")
