"""When a speech process is ready: its models verified and in memory, brought there in the background while probes answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from auricle.errors import AuricleError

log = logging.getLogger(__name__)
AGAIN_SECONDS = 15.0
"""Between tries: a volume that is filled later makes the process ready by itself."""


class Warming:
    """Loads models in a thread of its own and says, at any time, what is still missing."""

    def __init__(self, models: Sequence[str], warm_up: Callable[[Sequence[str]], None], again: float = AGAIN_SECONDS) -> None:
        """`warm_up` (a `Pool`'s) verifies and loads; nothing begins before somebody asks: servers fork after the start."""
        self._models = tuple(models)
        self._warm_up = warm_up
        self._again = again
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._trouble = f"The speech model {' and '.join(self._models)} is being verified and loaded."

    def trouble(self) -> str:
        """Empty when everything is warm; else a sentence on what is missing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._go, name="warming", daemon=True)
                self._thread.start()
            return self._trouble

    def _go(self) -> None:
        waiting = threading.Event()
        while not self._warmed():
            waiting.wait(self._again)
        with self._lock:
            self._trouble = ""
        log.info("warm: %s", ", ".join(self._models))

    def _warmed(self) -> bool:
        try:
            self._warm_up(self._models)
        except Exception as error:  # whatever a library raises: the process stays, says so, and tries again
            known = isinstance(error, AuricleError)
            found = str(error) if known else f"The speech model {' and '.join(self._models)} cannot be loaded: {error}"
            with self._lock:
                news, self._trouble = found != self._trouble, found
            if news:
                log.error("not ready: %s", found, exc_info=not known)
            return False
        return True
