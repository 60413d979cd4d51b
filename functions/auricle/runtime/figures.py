"""How a deployment stands, for Prometheus: out of the database and the gateway's certificate.

`python -m auricle.runtime.figures gateway:443` is one small process that answers for all functions, so that nobody has to wake
one to know how many runs wait. It needs DATABASE_URL (of the role `auricle_app`) and listens at METRICS_PORT; without an
argument it watches no certificate.
"""

from __future__ import annotations

import logging
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from auricle.errors import AuricleError
from auricle.runtime.metrics import Door, Kind, Series
from auricle.runtime.settings import Settings, settings
from auricle.runtime.telemetry import start_logging

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

    from auricle.runtime.database import Database

log = logging.getLogger(__name__)
FRESH_SECONDS = 10.0
"""Several Prometheuses, or an impatient one, cost one look."""
PATIENCE_SECONDS = 10.0
"""A database that has not answered by then is away: a lost node refuses no connection, it just never answers."""
PORT = 9095


def _gauge(name: str, help: str, *labels: str) -> Series:
    return Series(name, Kind.GAUGE, help, labels)


UP = _gauge("auricle_database_up", "Whether the database answers (1) or not (0).")
CERTIFICATE_ENDS = _gauge("auricle_certificate_ends_timestamp_seconds", "When the gateway's certificate ends.")
QUERIES: dict[Series, str] = {
    _gauge("auricle_runs", "Runs by state.", "state"): (
        "select s.state, count(r.id) from (values ('queued'), ('running'), ('succeeded'), ('failed'), ('cancelled')) s(state)"
        " left join runs r on r.state = s.state group by s.state"
    ),
    _gauge("auricle_runs_waiting", "Active runs of which nobody works on a step, by what they wait for.", "awaited"): (
        "select a.awaited, count(distinct r.id) from (values ('gpu'), ('speech worker')) a(awaited)"
        " left join steps s on s.awaited = a.awaited and s.unattended_since < now() - interval '20 seconds'"
        " left join runs r on r.id = s.run_id and r.state in ('queued', 'running') group by a.awaited"
    ),
    _gauge("auricle_oldest_wait_seconds", "How long the longest waiting run has waited for somebody who works on it."): (
        "select coalesce(extract(epoch from now() - min(s.unattended_since)), 0) from steps s"
        " join runs r on r.id = s.run_id where s.unattended_since is not null and r.state in ('queued', 'running')"
    ),
    _gauge("auricle_oldest_run_seconds", "Age of the oldest run that is not over."): (
        "select coalesce(extract(epoch from now() - min(created_at)), 0) from runs where state in ('queued', 'running')"
    ),
    _gauge(
        "auricle_runs_stuck", "Active runs of which no piece was finished or begun in time, though none waits for a worker."
    ): (
        "select count(distinct r.id) from runs r join pieces p on p.run_id = r.id"
        " where r.state in ('queued', 'running') and p.state = 'released' and p.deadline < now() - interval '15 minutes'"
    ),
    _gauge(
        "auricle_pieces_under_way", "Pieces of work that are out, by step; begun: somebody works on them.", "step", "begun"
    ): ("select step, case when begun then 'yes' else 'no' end, count(*) from pieces where state = 'released' group by 1, 2"),
    _gauge("auricle_dead_letters", "Events that nobody could work on and nobody has replayed."): (
        "select count(*) from dead_letters where state = 'open'"
    ),
    _gauge("auricle_outbox_events", "Events that are committed and not sent yet."): "select count(*) from outbox",
    _gauge("auricle_leases_expired", "Events whose worker died, and which nobody has taken over yet."): (
        "select count(*) from inbox where done_at is null and lease_until < now() and envelope is not null"
    ),
    _gauge("auricle_files", "Files, without purged ones."): "select count(*) from files where purged_at is null",
    _gauge("auricle_stored_bytes", "Bytes of uploads that are kept, trash included."): (
        "select coalesce(sum(size), 0) from files where purged_at is null and key is not null"
    ),
    _gauge("auricle_database_bytes", "Size of the database."): "select pg_database_size(current_database())",
    _gauge("auricle_database_connections", "Connections to the database, whoever's."): (
        "select count(*) from pg_stat_activity where datname = current_database()"
    ),
    _gauge("auricle_database_connections_allowed", "How many connections the server takes."): (
        "select setting::int from pg_settings where name = 'max_connections'"
    ),
}
"""Metric → its rows: the labels' values, then the number. None names a person, a file or a run."""
SERIES = (UP, CERTIFICATE_ENDS, *QUERIES)


Rows = list[tuple[Series, list[tuple[tuple[str, ...], float]]]]
Seen = TypeVar("Seen")


class Look(Generic[Seen]):
    """What `look` sees, kept for `FRESH_SECONDS`. A look has a thread of its own: one that hangs keeps nobody but itself."""

    def __init__(self, look: Callable[[], Seen], otherwise: Seen) -> None:
        """`otherwise` is seen while a look takes too long."""
        self._look = look
        self._otherwise = otherwise
        self._seen = otherwise
        self._trouble: Exception | None = None
        self._lock = threading.Lock()
        self._until = 0.0
        self._over: threading.Event | None = None

    def begin(self) -> threading.Event:
        """Look, unless it was just done or is being done; set when the newest look is over."""
        with self._lock:
            if self._over is None or (self._over.is_set() and time.monotonic() >= self._until):
                self._over = threading.Event()
                threading.Thread(target=self._do, args=(self._over,), name="figures", daemon=True).start()
            return self._over

    def seen(self, until: float) -> Seen:
        """The newest look's, waited for until then (monotonic); raises what the look raised."""
        if not self.begin().wait(max(0.0, until - time.monotonic())):
            return self._otherwise
        if self._trouble is not None:
            raise self._trouble
        return self._seen

    def _do(self, over: threading.Event) -> None:
        try:
            self._seen, self._trouble = self._look(), None
        except Exception as trouble:
            self._trouble = trouble
        self._until = time.monotonic() + FRESH_SECONDS
        over.set()


class Figures:
    """What a scrape is told; nobody waits for it longer than `patience` (seconds)."""

    def __init__(
        self, database: Database, certificate_ends: Callable[[], float | None], patience: float = PATIENCE_SECONDS
    ) -> None:
        """`certificate_ends` gives seconds since the epoch, None when there is no gateway to ask."""
        self._database = database
        self._patience = patience
        self._rows: Look[Rows] = Look(self._queried, [])
        self._ends: Look[float | None] = Look(certificate_ends, None)

    def families(self) -> Iterator[Family]:
        """As the library wants it. Raises what a query raised that the database refused, as it does before it is migrated."""
        from prometheus_client.core import GaugeMetricFamily

        for series, rows in self._told():
            family = GaugeMetricFamily(series.name, series.help, labels=series.labels)
            for labels, value in rows:
                family.add_metric(labels, value)
            yield family

    def _told(self) -> Rows:
        until = time.monotonic() + self._patience
        self._ends.begin()
        rows = self._rows.seen(until)
        ends = self._ends.seen(until)
        told: Rows = [(UP, [((), 1.0 if rows else 0.0)]), *rows]
        if ends is not None:
            told.append((CERTIFICATE_ENDS, [((), ends)]))
        return told

    def _queried(self) -> Rows:
        """Every query's rows; none when the database is away."""
        from sqlalchemy import text

        try:
            with self._database.work() as connection:
                return [(series, [_row(row) for row in connection.execute(text(query))]) for series, query in QUERIES.items()]
        except AuricleError as error:
            log.warning("the database does not answer: %s", error)
            return []


def _row(row: Any) -> tuple[tuple[str, ...], float]:
    *labels, value = row
    return tuple(str(label) for label in labels), float(value)


def certificate_ends(host: str, port: int) -> float | None:
    """When the certificate ends that is shown there; seconds since the epoch, None when nobody shows one.

    It is looked at and not believed: who it is for and who signed it is its readers' business.
    """
    from cryptography.x509 import load_der_x509_certificate

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=5) as line, context.wrap_socket(line) as secured:
            shown = secured.getpeercert(binary_form=True)
    except OSError as error:
        log.warning("no certificate at %s:%d: %s", host, port, error)
        return None
    return load_der_x509_certificate(shown).not_valid_after_utc.timestamp() if shown else None


def main(arguments: Sequence[str], chosen: Settings) -> None:
    """Answer scrapes until somebody ends this process."""
    from auricle.runtime.database import Database, engine_for

    # A container's first process hears no SIGTERM that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, _, port = (arguments[0] if arguments else "").partition(":")
    database = Database(engine_for(chosen.database_url, 1))
    figures = Figures(database, lambda: certificate_ends(host, int(port or 443)) if host else None)
    Door(chosen.metrics_port or PORT, figures.families).serve_forever()


if __name__ == "__main__":
    start_logging(settings().log_level)
    main(sys.argv[1:], settings())
