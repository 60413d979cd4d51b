"""Looking at database, broker, bytes and disk for `/health`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from auricle.errors import AuricleError
from auricle.runtime.telemetry import masked

if TYPE_CHECKING:
    from auricle.runtime.wiring import Wiring

SECONDS = 3.0
LOW_DISK = 2**30
"""Bytes; below this the next uploads may not fit."""


class DeploymentComponents:
    """`ports.health.Components` of this process's wiring."""

    def __init__(self, wiring: Wiring) -> None:
        """Checks run side by side, so that one that hangs hides no other."""
        self._wiring = wiring

    def check(self) -> dict[str, str]:
        """Each component's word."""
        checks: dict[str, Callable[[], str]] = {"database": self._database, "broker": self._broker, "blobs": self._blobs}
        if self._wiring.settings.data_dir:
            checks["disk"] = self._disk
        pool = ThreadPoolExecutor(len(checks))
        found = {name: pool.submit(check) for name, check in checks.items()}
        words: dict[str, str] = {}
        for name, future in found.items():
            try:
                words[name] = future.result(SECONDS)
            except TimeoutError:
                words[name] = f"No answer within {SECONDS:.0f} s."
            except AuricleError as error:
                words[name] = str(error)
            except Exception as error:
                words[name] = masked(f"{type(error).__name__}: {error}")[:200]
        pool.shutdown(wait=False)
        return words

    def _database(self) -> str:
        from sqlalchemy import text

        with self._wiring.database.work() as connection:
            connection.execute(text("select 1"))
        return "ok"

    def _broker(self) -> str:
        return self._wiring.sink.alive()

    def _blobs(self) -> str:
        from auricle.ports.blobs import BlobStore

        self._wiring.provide(BlobStore).stat("health/none")
        return "ok"

    def _disk(self) -> str:
        free = shutil.disk_usage(self._wiring.settings.data_dir).free
        return "ok" if free > LOW_DISK else f"Only {free // 2**20} MiB are free in the data folder. Make room."
