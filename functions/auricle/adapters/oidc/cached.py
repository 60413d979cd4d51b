"""A value that costs a request: kept for a while, fetched by one thread at a time, and not at once again when that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from auricle.errors import AuricleError, Retryable

T = TypeVar("T")
PATIENCE_SECONDS = 5.0
"""After a failure: as long as everybody else is told the same, so that a provider that is down costs one wait, not one each."""


class Cached(Generic[T]):
    """`read` behind a cache of `seconds`; `monotonic` is a clock that never goes back."""

    def __init__(self, read: Callable[[], T], seconds: float, monotonic: Callable[[], float]) -> None:
        self._read = read
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._value: tuple[float, T] | None = None
        self._failure: tuple[float, AuricleError] | None = None

    def get(self) -> T:
        """The value, at most `seconds` old."""
        with self._lock:
            if self._value and self._monotonic() - self._value[0] < self._seconds:
                return self._value[1]
            return self._fetch()

    def renewed(self, unless_younger: float) -> T:
        """The value, read anew unless that was done within `unless_younger` seconds, so that no stranger sets the pace."""
        with self._lock:
            if self._value and self._monotonic() - self._value[0] < unless_younger:
                return self._value[1]
            return self._fetch()

    def _fetch(self) -> T:
        if self._failure and self._monotonic() - self._failure[0] < PATIENCE_SECONDS:
            raise _again(self._failure[1])
        try:
            value = self._read()
        except AuricleError as error:
            self._failure = (self._monotonic(), error)
            raise
        self._failure, self._value = None, (self._monotonic(), value)
        return value


def _again(error: AuricleError) -> AuricleError:
    """The same failure for the next caller: raising one exception twice would tie their tracebacks together."""
    if isinstance(error, Retryable):
        return Retryable(str(error), delay=error.delay)
    return type(error)(str(error))
