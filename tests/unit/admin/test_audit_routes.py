"""The trail over HTTP: auditors read, export and verify it, each of that is told, and the timers keep its days."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import urllib3
from sqlalchemy import select, text

from auricle.access.permissions import Role
from auricle.access.store import sessions
from auricle.admin.audit import inspecting
from auricle.admin.audit.chain import Entry, Walk, first_break
from auricle.admin.audit.export import object_key, read_day
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.contract.ids import uuid7
from auricle.ports.blobs import BlobStore
from builders.audit_trail import Trail, event
from builders.house import House, house
from builders.persons import Person, person
from builders.postgres_server import Server

TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def home(database_url: str, postgres_server: Server, database_name: str) -> Iterator[House]:
    past = Trail(postgres_server, database_name)
    for days in (2, 1):
        past.live(TODAY - timedelta(days=days), 3)
    past.close()
    with house(database_url) as made:
        yield made


@pytest.fixture(scope="module")
def auditor(home: House) -> Person:
    return person(home.bound.wiring, Role.AUDITOR)


def add(home: House, count: int = 1, **more: Any) -> None:
    with home.bound.wiring.database.work() as db:
        for _ in range(count):
            AuditStore(db).append(event(**more))


def last(home: House) -> AuditRow:
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(1, None, AuditFilter())[0]


def test_auditors_read_it_in_pages_and_that_is_told(home: House, auditor: Person) -> None:
    whom = uuid7()
    add(home, 5, actor=whom)
    seen: list[str] = []
    cursor = ""
    while True:
        page = home.ask("GET", f"/api/audit?actor={whom}&limit=2{cursor}", **auditor.headers)
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert (len(seen), seen) == (5, sorted(set(seen), reverse=True))
    entry = last(home)
    assert (entry.kind, entry.actor, entry.details["count"], entry.subject_id) == ("audit.read", auditor.id, 1, "trail")


def test_every_filter_narrows(home: House, auditor: Person) -> None:
    trace, subject = "ab" * 16, str(uuid7())
    add(home, 1, trace_id=trace, address="2001:db8::17", subject_id=subject)
    for query in (
        f"trace_id={trace}",
        f"subject_kind=user&subject_id={subject}&kind=auth.login&kind=auth.logout&outcome=success",
        f"address=2001:0db8:0:0::17&trace_id={trace}",
        f"function=identity&since=2020-01-01T00:00:00Z&trace_id={trace}",
    ):
        assert len(home.ask("GET", f"/api/audit?{query}", **auditor.headers)["items"]) == 1, query
    for query in (f"trace_id={trace}&outcome=failure", f"trace_id={trace}&until=2020-01-01T00:00:00Z"):
        assert home.ask("GET", f"/api/audit?{query}", **auditor.headers)["items"] == []
    for query in ("address=nowhere", "kind=made.up", "since=2020-01-01T00:00:00", "colour=red"):
        assert home.raw("GET", f"/api/audit?{query}", **auditor.headers).status_code == 422, query


def test_administrators_do_not_read_the_record_of_themselves(home: House) -> None:
    for role, status in ((Role.ADMIN, 403), (Role.MEMBER, 403), (Role.GUEST, 403), (Role.OWNER, 200), (Role.AUDITOR, 200)):
        assert home.raw("GET", "/api/audit", **person(home.bound.wiring, role).headers).status_code == status


def test_an_export_is_the_chain_itself_and_that_is_told(home: House, auditor: Person) -> None:
    add(home, 3)
    answer = home.raw("GET", "/api/audit/export", **auditor.headers)
    assert "audit.jsonl" in answer.headers["Content-Disposition"]
    entries = [msgspec.json.decode(line, type=Entry) for line in answer.get_data().splitlines()]
    walk = Walk()
    assert [walk.step(entry) for entry in entries] == [None] * len(entries)
    told = last(home)
    assert (told.kind, told.details["format"], told.actor) == ("audit.export", "jsonl", auditor.id)


def test_exports_are_narrowed_and_come_in_other_words(home: House, auditor: Person) -> None:
    trace = "cd" * 16
    add(home, 2, trace_id=trace)
    table = home.raw("GET", f"/api/audit/export?format=csv&trace_id={trace}", **auditor.headers).get_data(as_text=True)
    assert [row["trace_id"] for row in csv.DictReader(io.StringIO(table))] == [trace, trace]
    lines = home.raw("GET", f"/api/audit/export?format=cef&trace_id={trace}", **auditor.headers).get_data(as_text=True)
    assert [line[:6] for line in lines.splitlines()] == ["CEF:0|"] * 2
    assert home.raw("GET", "/api/audit/export?format=xml", **auditor.headers).status_code == 422


def test_more_exports_at_once_than_connections_end_all_the_same(home: House, auditor: Person) -> None:
    sizes: list[int] = []

    def export() -> None:
        sizes.append(len(home.raw("GET", "/api/audit/verify", **auditor.headers).get_data()))
        sizes.append(len(home.raw("GET", "/api/audit/export", **auditor.headers).get_data()))

    threads = [threading.Thread(target=export) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(sizes) == 16
    assert min(sizes) > 0


def test_the_chain_is_verified_a_stretch_at_a_time(home: House, auditor: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "STRETCH", 4)
    add(home, 6)
    first, calls, checked = 1, 0, 0
    while True:
        found = home.ask("GET", f"/api/audit/verify?first={first}", **auditor.headers)
        assert found["whole"], found
        calls, checked = calls + 1, checked + found["checked"]
        assert found["checked"] <= 4
        if found["next"] is None:
            break
        assert found["next"] == found["last"] + 1
        first = found["next"]
    assert calls >= 3
    assert checked == found["last"]
    bounded = home.ask("GET", "/api/audit/verify?first=2&last=7", **auditor.headers)
    assert (bounded["first"], bounded["last"], bounded["next"]) == (2, 5, 6)
    rest = home.ask("GET", "/api/audit/verify?first=6&last=7", **auditor.headers)
    assert (rest["last"], rest["next"]) == (7, None)


def test_the_timers_publish_days_that_are_over_and_they_verify_by_themselves(home: House, auditor: Person) -> None:
    wiring = home.bound.wiring
    assert home.ask("GET", "/api/audit/published", **auditor.headers)["items"] == []
    home.tick("publish_audit")
    days = home.ask("GET", "/api/audit/published", **auditor.headers)["items"]
    assert [(day["day"], day["first"], day["last"], day["whole"], day["pruned"]) for day in days] == [
        (str(TODAY - timedelta(days=2)), 1, 3, True, False),
        (str(TODAY - timedelta(days=1)), 4, 6, True, False),
    ]
    answer = home.raw("GET", f"/api/audit/published/{days[1]['day']}", **auditor.headers)
    assert answer.status_code == 302
    data = urllib3.request("GET", answer.headers["Location"], retries=False, timeout=10).data
    assert hashlib.sha256(data).hexdigest() == days[1]["sha256"]
    anchor, entries = read_day(iter(gzip.decompress(data).splitlines(keepends=True)))
    assert first_break(entries, anchor) is None
    told = last(home)
    assert (told.kind, told.details["day"]) == ("audit.export", days[1]["day"])
    home.tick("publish_audit")  # nothing is due any more
    assert wiring.provide(BlobStore).stat(object_key(TODAY)) is None
    home.tick("prune_audit")  # nothing is old enough
    assert home.ask("GET", "/api/audit/verify", **auditor.headers)["whole"]
    one = home.ask("GET", f"/api/audit/published?since={days[1]['day']}", **auditor.headers)["items"]
    assert [day["day"] for day in one] == [days[1]["day"]]
    for wrong in ("2020-01-01", "yesterday"):
        assert home.raw("GET", f"/api/audit/published/{wrong}", **auditor.headers).status_code == 404


def test_sweeps_forget_what_is_over_for_long(home: House) -> None:
    wiring = home.bound.wiring
    old, new = person(wiring), person(wiring)
    with wiring.database.work() as db:
        when = "update sessions set ends_at = now() - interval '31 days' where principal_id = :id"
        db.execute(text(when), {"id": old.id})
        db.execute(
            text(
                "insert into idempotency_keys (principal_id, route, key, request_hash, created_at) "
                "values (:id, 'r', 'old', 'x', now() - interval '25 hours'), (:id, 'r', 'new', 'x', now())"
            ),
            {"id": new.id},
        )
    for timer in ("sweep_sessions", "sweep_ephemeral", "forget"):
        home.tick(timer)
    with wiring.database.work() as db:
        left = select(sessions.c.principal_id).where(sessions.c.principal_id.in_([old.id, new.id]))
        assert set(db.execute(left).scalars()) == {new.id}
        assert db.execute(text("select key from idempotency_keys where route = 'r'")).scalars().all() == ["new"]
