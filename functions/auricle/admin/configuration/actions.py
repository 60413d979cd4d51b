"""The one reader of the configuration, and the one way to change it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from auricle.admin.configuration.model import MOST_AGE, Held, Row, Section
from auricle.admin.configuration.store import ConfigurationStore
from auricle.contract.store import Units
from auricle.errors import Retryable
from auricle.ports.sealing import HOUSE, Sealing

log = logging.getLogger(__name__)
T = TypeVar("T")


class Configuration:
    """What is set, for this process.

    Doors call `fresh` before they open a unit of work: reading takes one of its own, and a request that held one connection
    and waited for another could wait for its like. All others just ask.
    """

    def __init__(self, units: Units, sealing: Callable[[], Sealing], clock: Callable[[], float] = time.monotonic) -> None:
        """`sealing` is asked for only when a secret is opened or kept: most functions hold no key. `clock` in seconds."""
        self._units = units
        self._sealing = sealing
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._rows: Mapping[str, Row] = {}

    def fresh(self) -> None:
        """Read anew what is older than `MOST_AGE`."""
        self._current(MOST_AGE)

    def of(self, section: Section[T], default: T, id: str = "") -> T:
        """What is set of a section (or of the one `id` of several); `default`, which is the environment's, where nothing is."""
        held = self.held(section, id)
        return default if held is None else held.value

    def held(self, section: Section[T], id: str = "") -> Held[T] | None:
        """The section as it was set; None where nobody set it."""
        row = self._current().get(section.named(id) if id else section.name)
        return None if row is None else decoded(section, row)

    def all(self, section: Section[T]) -> dict[str, Held[T]]:
        """All there are of a section of several, by id."""
        prefix = section.named("")
        rows = {name.removeprefix(prefix): row for name, row in self._current().items() if name.startswith(prefix)}
        return {id: decoded(section, row) for id, row in sorted(rows.items())}

    def secret(self, section: Section[Any], id: str = "") -> str | None:
        """The secret beside a section; None where there is none. `Permanent` when it does not open."""
        name = section.named(id) if id else section.name
        row = self._current().get(name)
        if row is None or row.sealed is None:
            return None
        return self._sealing().open(HOUSE, _purpose(name), row.sealed).decode()

    def put(
        self,
        db: Any,
        section: Section[T],
        value: T,
        secret: str | msgspec.UnsetType | None,
        by: UUID | None,
        *,
        id: str = "",
        expected: int | None,
    ) -> Held[T]:
        """Set a section in the unit of work `db`, with the secret that it has from now on (UNSET: the one that it has);
        `Conflict` as the store says."""
        name = section.named(id) if id else section.name
        store = ConfigurationStore(db)
        if isinstance(secret, msgspec.UnsetType):
            known = store.get(name)
            sealed = known.sealed if known is not None else None
        else:
            sealed = None if secret is None else self._sealing().seal(HOUSE, _purpose(name), secret.encode())
        row = store.put(name, msgspec.json.encode(value), sealed, by, expected)
        self.forget()
        return decoded(section, row)

    def drop(self, db: Any, section: Section[Any], id: str = "") -> bool:
        """Forget a section; False when it was not set."""
        self.forget()
        return ConfigurationStore(db).drop(section.named(id) if id else section.name)

    def forget(self) -> None:
        """Read anew at the next use."""
        with self._lock:
            self._read_at = None

    def _current(self, most_age: float = 3 * MOST_AGE) -> Mapping[str, Row]:
        now = self._clock()
        with self._lock:
            if self._read_at is not None and now - self._read_at < most_age:
                return self._rows
        with self._units.unit() as db:
            rows = ConfigurationStore(db).all()
        with self._lock:
            self._rows, self._read_at = rows, now
        return rows


def decoded(section: Section[T], row: Row) -> Held[T]:
    """A row as values. What cannot be read is an error, never a default: a default could let in whom the setting kept out."""
    try:
        value = msgspec.json.decode(row.value, type=section.type)
    except msgspec.ValidationError as error:
        log.exception("The settings %s cannot be read. Set them anew: PUT /api/settings/%s.", row.name, row.name)
        raise Retryable("The settings of this house cannot be read. Whoever runs it finds why in its log.", delay=60) from error
    return Held(value=value, sealed=row.sealed, version=row.version, changed_at=row.changed_at, changed_by=row.changed_by)


def _purpose(name: str) -> str:
    return f"configuration {name}"
