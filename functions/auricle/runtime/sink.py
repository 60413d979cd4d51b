"""Handing events to the broker: the one client. No database: secretless functions use it too."""

from __future__ import annotations

from auricle.contract.event import Envelope
from auricle.errors import Retryable
from auricle.runtime.cloudevent import binary


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

    def alive(self) -> str:
        """`ok`, or what is wrong. A broker answers a GET with 405; any answer means that it is there."""
        try:
            self._pool.request("GET", self._url)
        except self._failures:
            return "The event broker is away. Uploads are kept; processing goes on when it is back."
        return "ok"
