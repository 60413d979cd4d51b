"""`auricle audit verify` over files, without any server: whole days and exports pass, whatever was done to them does not."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import flask
import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from auricle.admin.audit.export import Format, object_key, stream
from auricle.admin.audit.retention import publish_due
from auricle.cli.audit import audit
from builders.audit_trail import Trail
from builders.house import house
from builders.memory_blobs import MemoryBlobs

TODAY = datetime.now(UTC).date()


def verify(*paths: Path) -> Result:
    return CliRunner().invoke(audit, ["verify", *map(str, paths)])


@pytest.fixture(scope="module")
def served(opened_trail: Trail, database_url: str) -> Iterator[list[str]]:
    """A house that is really served, with a past; the options that name it."""
    opened_trail.empty()
    opened_trail.live(TODAY - timedelta(days=1), 3)
    with house(database_url) as home:
        home.tick("publish_audit")
        app = flask.Flask("served")
        app.register_error_handler(404, lambda error: home.bound(flask.request))
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield ["--server", f"http://127.0.0.1:{server.port}", "--token", home.token]
        server.shutdown()
        thread.join()


def test_a_server_is_listed_exported_fetched_and_verified(served: list[str], tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        done = CliRunner().invoke(audit, [*words, *served])
        assert done.exit_code == 0, done.output
        return done

    assert "audit.publish" in run("list", "--limit", "5", "--kind", "audit.publish").output
    run("export", "--output", str(tmp_path / "all.jsonl"))
    assert verify(tmp_path / "all.jsonl").exit_code == 0
    assert run("export", "--format", "cef").output.startswith("CEF:0|")
    run("fetch", str(tmp_path / "days"))
    assert "3 entries checked" in verify(tmp_path / "days").output
    assert run("fetch", str(tmp_path / "days")).output == ""
    assert "The trail is whole" in run("verify").output


@pytest.fixture
def days(trail: Trail, blobs: MemoryBlobs, tmp_path: Path) -> list[Path]:
    """Three published days as files."""
    for ago in (3, 2, 1):
        trail.live(TODAY - timedelta(days=ago), 4)
    publish_due(trail, blobs)
    found = []
    for ago in (3, 2, 1):
        day = TODAY - timedelta(days=ago)
        path = tmp_path / f"{day}.jsonl.gz"
        path.write_bytes(blobs.open(object_key(day)).read())
        found.append(path)
    return found


def rewritten(path: Path, old: bytes, new: bytes) -> None:
    text = gzip.decompress(path.read_bytes())
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new, 1)))


def test_published_days_hold(days: list[Path], tmp_path: Path) -> None:
    assert verify(*reversed(days)).output == "The trail is whole: 12 entries checked.\n"
    assert verify(tmp_path).exit_code == 0


def test_an_altered_entry_a_cut_day_and_a_missing_day_show(days: list[Path]) -> None:
    whole = [path.read_bytes() for path in days]
    rewritten(days[1], b'"success"', b'"failure"')
    assert "is broken at entry 5" in verify(*days).output
    days[1].write_bytes(gzip.compress(b"".join(gzip.decompress(whole[1]).splitlines(keepends=True)[:-1])))
    assert verify(*days).exit_code == 1
    days[1].write_bytes(whole[1])
    assert "a day is missing" in verify(days[0], days[2]).output
    days[1].write_bytes(whole[1][:-20])
    assert verify(days[1]).exit_code == 1


def test_an_export_of_everything_holds_and_one_with_a_gap_does_not(trail: Trail, tmp_path: Path) -> None:
    trail.add(5)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(stream(trail, Format.JSONL)))
    assert "5 entries checked" in verify(path).output
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert "Entries 3 to 3 are gone" in verify(path).output
    path.write_bytes(b"".join(lines[2:]))  # the beginning was pruned
    assert verify(path).exit_code == 0
    path.write_bytes(b"not a line\n")
    assert verify(path).exit_code == 1
