"""What happens to files is told: who brought, read, changed and destroyed them, and never what they say or are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import urllib3
from sqlalchemy import text

from auricle.access.permissions import Role
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.admin.store import DeadLetterStore
from auricle.contract.event import Envelope
from auricle.contract.ids import uuid7
from auricle.files.model import FileId
from auricle.transcripts.model import Segment, Transcript
from auricle.transcripts.store import TranscriptStore
from builders.house import House, house
from builders.persons import Person, person

NAME = "unmistakable-title.mp3"
WORDS = "unmistakable words of somebody"


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url) as made:
        yield made


@pytest.fixture
def ada(home: House) -> Person:
    return person(home.bound.wiring)


def told(home: House, subject: str) -> list[AuditRow]:
    """What was told of it, in order."""
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(200, None, AuditFilter(subject_id=subject))[::-1]


def brought(home: House, who: Person, folder: Path) -> str:
    """A file of theirs with a transcript."""
    path = folder / NAME
    path.write_bytes(b"no sound at all")
    before, home.token = home.token, who.bearer
    try:
        id = UUID(home.upload(path)["id"])
    finally:
        home.token = before
    segment = Segment(id=uuid7(), start=0.0, end=1.0, speaker=None, text=WORDS, words=())
    transcript = Transcript(version=1, language="en", duration=1.0, speakers=(), segments=(segment,))
    with home.bound.wiring.database.work() as db:
        TranscriptStore(db).add(FileId(id), uuid7(), transcript, ())
    return str(id)


def test_the_life_of_a_file_is_told_and_never_what_it_says(home: House, ada: Person, tmp_path: Path) -> None:
    id = brought(home, ada, tmp_path)
    for _ in range(3):
        assert WORDS in str(home.ask("GET", f"/api/files/{id}/transcript", **ada.headers))
        assert home.raw("GET", f"/api/files/{id}/content", **ada.headers).status_code == 302
    home.ask("GET", f"/api/files/{id}/export?format=srt", **ada.headers)
    home.raw("GET", f"/api/files/{id}/content?download=true", **ada.headers)
    home.ask("PATCH", f"/api/files/{id}", {"name": "unmistakable-other.mp3"}, **ada.headers)
    home.ask("DELETE", f"/api/files/{id}", **ada.headers)
    home.ask("DELETE", f"/api/files/{id}", **ada.headers)  # there already
    home.ask("POST", f"/api/files/{id}/restore", **ada.headers)
    home.ask("POST", f"/api/files/{id}/restore", **ada.headers)
    home.ask("POST", f"/api/files/{id}/purge", **ada.headers)
    entries = told(home, id)
    assert [entry.kind.removeprefix("content.file.") for entry in entries] == [
        "upload",
        "read",
        "export",
        "export",
        "change",
        "trash",
        "restore",
        "purge",
    ]
    assert {entry.actor for entry in entries} == {ada.id}
    assert [entry.details.get("format") for entry in entries if entry.kind.endswith("export")] == ["srt", "original"]
    with home.bound.wiring.database.work() as db:
        everything = "\n".join(db.execute(text("select audit_events::text from audit_events")).scalars())
    assert "unmistakable" not in everything
    assert ada.email not in everything


def test_reading_is_told_for_everybody_who_reads(home: House, ada: Person, tmp_path: Path) -> None:
    id = brought(home, ada, tmp_path)
    bob = person(home.bound.wiring)
    home.ask("PUT", f"/api/files/{id}/grants", {"person": bob.email, "level": "viewer"}, **ada.headers)
    for who in (ada, bob, bob, ada):
        home.ask("GET", f"/api/files/{id}/transcript", **who.headers)
    readers = Counter(entry.actor for entry in told(home, id) if entry.kind == "content.file.read")
    assert readers == {ada.id: 1, bob.id: 1}


def test_what_the_store_and_the_timers_do_is_told_as_the_houses_own(home: House, ada: Person, tmp_path: Path) -> None:
    id = brought(home, ada, tmp_path)
    home.ask("DELETE", f"/api/files/{id}", **ada.headers)
    with home.bound.wiring.database.work() as db:
        db.execute(text("update files set trashed_at = now() - interval '31 days' where id = :id"), {"id": id})
    home.tick("purge_old_trash")
    drop = home.ask("POST", "/api/drops", {"name": NAME}, status=201, **ada.headers)
    urllib3.request("PUT", drop["url"], body=b"dropped", retries=False, timeout=10)
    home.tick("sweep_uploads")
    purged = told(home, id)[-1]
    assert (purged.kind, purged.actor_kind, purged.behalf_of, purged.function) == (
        "content.file.purge",
        "system",
        ada.id,
        "timers",
    )
    with home.bound.wiring.database.work() as db:
        (upload, *_) = AuditStore(db).page(5, None, AuditFilter(behalf_of=ada.id))
    assert (upload.kind, upload.actor_kind) == ("content.file.upload", "system")


def test_a_replayed_event_is_told(home: House) -> None:
    admin = person(home.bound.wiring, Role.ADMIN)
    letter = uuid7()
    event = Envelope(
        id="1",
        source="/t",
        type="auricle.tests.happened.v1",
        time=home.bound.wiring.now(),
        datacontenttype="application/json",
        data=b"{}",
    )
    with home.bound.wiring.database.work() as db:
        DeadLetterStore(db).keep(letter, "erase", event, "it broke", None)
    home.ask("POST", f"/api/dead-letters/{letter}/replay", **admin.headers)
    assert [(entry.kind, entry.actor, entry.subject_kind) for entry in told(home, str(letter))] == [
        ("admin.event.replay", admin.id, "event")
    ]
