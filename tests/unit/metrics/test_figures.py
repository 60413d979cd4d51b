"""How a deployment stands, out of its database, without waking anybody."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from auricle.deploy.catalogue import load
from auricle.errors import Retryable
from auricle.runtime.database import Database, engine_for
from auricle.runtime.figures import SERIES, Figures, certificate_ends
from auricle.runtime.metrics import exposition
from auricle.schema import metadata
from builders.postgres_server import Server

load()


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[Database]:
    made = Database(engine_for(database_url, 2))
    metadata.create_all(made.engine)
    yield made
    made.close()


def told(figures: Figures) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    _, body = exposition(figures.families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_runs_waits_pieces_dead_letters_and_bytes_are_told(database: Database) -> None:
    run, file, owner = uuid4(), uuid4(), uuid4()
    with database.work() as db:
        db.execute(
            text(
                "insert into files (id, owner, name, name_key, size, content_type, state, kind, key)"
                " values (:f, :o, 'Ann.wav', 'ann.wav', 1234, 'audio/wav', 'ready', 'audio', 'k')"
            ),
            {"f": file, "o": owner},
        )
        db.execute(
            text("insert into runs (id, file_id, owner, state, options) values (:r, :f, :o, 'running', '{}')"),
            {"r": run, "f": file, "o": owner},
        )
        db.execute(
            text(
                "insert into steps (run_id, name, position, state, unattended_since, awaited)"
                " values (:r, 'transcribe', 0, 'running', now() - interval '5 minutes', 'gpu')"
            ),
            {"r": run},
        )
        db.execute(
            text(
                'insert into pieces (run_id, step, "index", start, "end", weight, state, attempt, releases, fraction, deadline)'
                " values (:r, 'transcribe', 0, 0, 1, 1, 'released', 1, 1, 0, now() - interval '1 hour')"
            ),
            {"r": run},
        )
        db.execute(
            text("insert into dead_letters (id, function, type, reason, envelope) values (:i, 'export', 't', 'r', '')"),
            {"i": uuid4()},
        )
    found = told(Figures(database, lambda: 1e9))
    assert found["auricle_runs", (("state", "running"),)] == 1
    assert found["auricle_runs", (("state", "failed"),)] == 0
    assert found["auricle_runs_waiting", (("awaited", "gpu"),)] == 1
    assert 290 < found["auricle_oldest_wait_seconds", ()] < 400
    assert found["auricle_pieces_under_way", (("begun", "no"), ("step", "transcribe"))] == 1
    assert found["auricle_runs_stuck", ()] == 1
    assert found["auricle_dead_letters", ()] == 1
    assert found["auricle_stored_bytes", ()] == 1234
    assert found["auricle_database_up", ()] == 1
    assert found["auricle_certificate_ends_timestamp_seconds", ()] == 1e9
    assert {series.name for series in SERIES} <= {name for name, _ in found}


def test_no_figure_names_a_person_a_file_or_a_run(database: Database) -> None:
    named = {label for series in SERIES for label in series.labels}
    assert named == {"state", "awaited", "step", "begun"}
    assert b"Ann" not in exposition(Figures(database, lambda: None).families)[1]


def test_a_database_that_is_away_is_said_and_nothing_else_is_made_up() -> None:
    away = Database(engine_for("postgresql+pg8000://nobody:x@127.0.0.1:1/none", 1))
    found = told(Figures(away, lambda: None))
    assert found["auricle_database_up", ()] == 0
    assert not any(name == "auricle_runs" for name, _ in found)


class Hanging(Database):
    """A database on a node that was lost: it refuses nothing and answers nothing."""

    def __init__(self) -> None:
        super().__init__(engine_for("postgresql+pg8000://nobody:x@127.0.0.1:1/none", 1))
        self.answers = threading.Event()

    def work(self) -> NoReturn:
        self.answers.wait()
        raise Retryable("The database went away.")


def test_a_database_that_never_answers_is_away_too_and_the_certificate_is_told_all_the_same() -> None:
    hanging = Hanging()
    figures = Figures(hanging, lambda: 1e9, patience=0.05)
    try:
        told(figures)
        for _ in range(2):
            found = told(figures)
            assert found["auricle_database_up", ()] == 0
            assert found["auricle_certificate_ends_timestamp_seconds", ()] == 1e9
        assert len([t for t in threading.enumerate() if t.name == "figures"]) == 1  # one waits, however often one asks
    finally:
        hanging.answers.set()


def test_a_database_without_tables_is_no_quiet_zero(postgres_server: Server) -> None:
    empty = Database(engine_for(postgres_server.owner_url(postgres_server.new_database()), 1))
    with pytest.raises(ProgrammingError):
        told(Figures(empty, lambda: None))
    empty.close()


def test_the_process_ends_by_itself_when_it_is_told_to(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "DATABASE_URL": database_url, "METRICS_PORT": str(port)}
    command = [sys.executable, "-m", "auricle.runtime.figures"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < end
                    assert process.poll() is None
                    time.sleep(0.02)
            process.terminate()
            assert process.wait(10) == 0  # its own end, not the signal's: process 1 of a container has no default ones
        finally:
            process.kill()


def test_looking_again_at_once_costs_no_query(database: Database) -> None:
    figures = Figures(database, lambda: None)
    before = told(figures)["auricle_dead_letters", ()]
    with database.work() as db:
        db.execute(
            text("insert into dead_letters (id, function, type, reason, envelope) values (:i, 'export', 't', 'r', '')"),
            {"i": uuid4()},
        )
    assert told(figures)["auricle_dead_letters", ()] == before
    assert told(Figures(database, lambda: None))["auricle_dead_letters", ()] == before + 1


def test_the_end_of_the_shown_certificate_is_read_off(tmp_path: Path) -> None:
    ends = datetime(2031, 2, 3, tzinfo=UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "auricle.test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=3000))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "both.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake() -> None:
            line, _ = listener.accept()
            with line, context.wrap_socket(line, server_side=True):
                pass

        thread = threading.Thread(target=shake, daemon=True)
        thread.start()
        assert certificate_ends("127.0.0.1", listener.getsockname()[1]) == ends.timestamp()
        thread.join(5)


def test_no_gateway_no_certificate() -> None:
    assert certificate_ends("127.0.0.1", 1) is None
