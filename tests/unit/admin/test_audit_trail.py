"""The trail in a real PostgreSQL: who may write what, how writers chain, and that every tampering is found."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, exc, text

from auricle.admin.audit import actions
from auricle.admin.audit.chain import digest
from auricle.admin.audit.kinds import ActorKind, EventKind, Outcome, Reason
from auricle.admin.audit.model import AuditFilter, AuditRow, Details
from auricle.admin.audit.store import AuditStore, audit_events
from auricle.admin.audit.verifying import Verdict, verify
from auricle.contract.ids import uuid7
from auricle.errors import Denied, Retryable
from auricle.runtime import grants
from auricle.runtime.database import engine_for
from auricle.schema import metadata
from builders.audit_trail import Trail, event, fault

TABLES = ("audit_events", "audit_links", "audit_head", "audit_anchors")


def test_migrations_and_descriptions_agree(trail: Trail) -> None:
    ours = MetaData()
    for name in TABLES:
        metadata.tables[name].to_metadata(ours)
    with trail.root.work() as connection:
        options = {"include_name": lambda name, kind, parents: kind != "table" or name in TABLES}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), ours) == []


# Writing.


def test_entries_are_chained_in_the_order_of_their_commits(trail: Trail) -> None:
    made = trail.add(5)
    with trail.unit() as connection:
        entries = AuditStore(connection).entries(0, 10)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.event.id for entry in entries] == [each.id for each in made]
    assert [entry.sealed_at for entry in entries] == sorted(entry.sealed_at for entry in entries)
    assert verify(trail) == Verdict(first=1, last=5, checked=5, hash=entries[-1].hash)


def test_several_entries_of_one_transaction_follow_each_other(trail: Trail) -> None:
    made = [event() for _ in range(3)]
    with trail.unit() as connection:
        for each in made:
            actions.record(connection, each)
    trail.add()
    with trail.unit() as connection:
        entries = AuditStore(connection).entries(0, 10)
    assert [entry.event.id for entry in entries[:3]] == [each.id for each in made]
    assert fault(verify(trail)) is None


def refused_after_its_entry(trail: Trail) -> None:
    """A request that is refused late."""
    with trail.unit() as connection:
        actions.record(connection, event())
        raise Denied("No.")


def test_an_entry_goes_with_the_work_it_belongs_to(trail: Trail) -> None:
    with pytest.raises(Denied):
        refused_after_its_entry(trail)
    trail.add()
    verdict = verify(trail)
    assert (verdict.checked, fault(verdict)) == (1, None)


def test_an_entry_apart_stays_when_the_work_is_rolled_back(trail: Trail) -> None:
    refused = event(kind=EventKind.ACCESS_DENIED, outcome=Outcome.FAILURE, details=Details(reason=Reason.MISSING_SCOPE))
    with pytest.raises(Denied):
        refused_after_its_entry(trail)
    assert actions.record_apart(trail, refused)
    with trail.unit() as connection:
        assert [row.id for row in AuditStore(connection).page(10, None)] == [refused.id]


class Away:
    """A database that is away."""

    def unit(self) -> Connection:  # type: ignore[override]
        raise Retryable("The database is away.")


def test_an_entry_that_the_database_does_not_take_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    refused = event(kind=EventKind.LOGIN, outcome=Outcome.FAILURE)
    assert not actions.record_apart(Away(), refused)  # type: ignore[arg-type]
    assert str(refused.id) in caplog.text
    assert '"kind":"auth.login"' in caplog.text


def test_an_entry_that_is_recorded_twice_is_refused(trail: Trail) -> None:
    made = trail.add()[0]
    with pytest.raises(exc.IntegrityError), trail.unit() as connection:
        actions.record(connection, made)
    assert fault(verify(trail)) is None


def test_writers_at_the_same_time_make_one_chain(trail: Trail) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: trail.add(25), range(8)))
    verdict = verify(trail)
    assert (verdict.checked, fault(verdict)) == (200, None)


def test_a_clock_that_was_set_back_does_not_mix_the_days(trail: Trail) -> None:
    trail.live(datetime.now(UTC).date() + timedelta(days=1), 1)
    trail.add(2)
    with trail.unit() as connection:
        sealed = [entry.sealed_at for entry in AuditStore(connection).entries(0, 10)]
    assert sealed == sorted(sealed)
    assert fault(verify(trail)) is None


def test_a_request_that_takes_long_after_its_entry_holds_nobody_up(trail: Trail) -> None:
    with trail.unit() as connection:
        actions.record(connection, event())
        trail.add(3)  # would wait for ever if an entry took the chain's lock when it is written
    verdict = verify(trail)
    assert (verdict.checked, fault(verdict)) == (4, None)


def test_two_requests_that_wait_for_each_others_rows_do_not_wait_for_the_chain(trail: Trail) -> None:
    with engine_for(trail.server.owner_url(trail.database), 1).begin() as connection:
        connection.execute(text("create table if not exists probe (id int primary key, n int)"))
        connection.execute(text("grant select, insert, update on probe to auricle_app"))
        connection.execute(text("insert into probe values (1, 0) on conflict do nothing"))
    wrote = threading.Event()

    def first() -> None:
        with trail.unit() as connection:
            connection.execute(text("update probe set n = n + 1 where id = 1"))
            wrote.set()
            time.sleep(0.05)  # so that the other one is waiting for the row by now, its entry written
            actions.record(connection, event())

    def second() -> None:
        wrote.wait(10)
        with trail.unit() as connection:
            actions.record(connection, event())
            connection.execute(text("update probe set n = n + 1 where id = 1"))

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result(20)
    assert verify(trail).checked == 2


def with_an_old_snapshot(trail: Trail) -> None:
    """A transaction that does not see what was committed since it began."""
    with trail.unit() as connection:
        connection.execute(text("set transaction isolation level repeatable read"))
        connection.execute(text("select 1 from audit_head")).all()
        trail.add()
        actions.record(connection, event())


def test_an_old_snapshot_cannot_fork_the_chain(trail: Trail) -> None:
    with pytest.raises(Retryable):
        with_an_old_snapshot(trail)
    verdict = verify(trail)
    assert (verdict.checked, fault(verdict)) == (1, None)


# Rights.


OWN = {("owner", "update", "audit_head"), ("owner", "update", "audit_anchors")}
"""What the owner may do, because its functions do it."""
DOORS = [
    (role, what, table)
    for role in ("app", "owner", "root")
    for what in ("update", "delete", "truncate")
    for table in TABLES
    if (role, what, table) not in OWN
]


@pytest.mark.parametrize(("role", "what", "table"), DOORS)
def test_nobody_changes_or_deletes_by_the_front_door(trail: Trail, role: str, what: str, table: str) -> None:
    trail.live(datetime.now(UTC).date() - timedelta(days=1), 2)
    trail.tamper("insert into audit_anchors values ('2020-01-01', 0, '', 0, '', '', '', true, now(), null)")
    statement = {
        "update": f"update {table} set {'pruned_at = now()' if table == 'audit_anchors' else 'hash = hash'}",
        "delete": f"delete from {table}",
        "truncate": f"truncate {table}",
    }[what]
    if table == "audit_events":
        statement = statement.replace("hash = hash", "outcome = 'success'")
    urls = {"app": trail.server.app_url, "owner": trail.server.owner_url}
    url = urls[role](trail.database) if role in urls else trail.server.postgres.url("postgres", trail.database)
    with (
        engine_for(url, 1).connect() as connection,
        pytest.raises(exc.ProgrammingError, match=r"permission denied|append-only|alone"),
    ):
        connection.execute(text(statement))
    assert fault(verify(trail)) is None


@pytest.mark.parametrize("table", ["audit_links", "audit_head", "audit_anchors"])
def test_functions_do_not_write_the_chain(trail: Trail, table: str) -> None:
    with pytest.raises(exc.ProgrammingError, match="permission denied"), trail.unit() as connection:
        connection.execute(text(f"insert into {table} select * from {table}"))


def test_rights_that_are_granted_again_by_mistake_change_nothing(trail: Trail) -> None:
    trail.add(3)
    grants.grant_rows(trail.server.owner_url(trail.database))
    try:
        for statement in (
            "update audit_events set outcome = 'success'",
            "delete from audit_events",
            "delete from audit_links",
            "update audit_head set seq = 0",
            "insert into audit_links values (9, gen_random_uuid(), now(), '')",
            "insert into audit_anchors values ('2020-01-01', 0, '', 9, '', '', '', true, now(), now())",
        ):
            with pytest.raises(exc.ProgrammingError, match=r"append-only|alone|denied"), trail.unit() as connection:
                connection.execute(text(statement))
        assert fault(verify(trail)) is None
    finally:
        with trail.root.work() as connection:
            connection.execute(text(f"revoke all on {', '.join(TABLES)} from auricle_app"))
            connection.execute(text("grant select, insert on audit_events to auricle_app"))
            connection.execute(text("grant select on audit_links, audit_head, audit_anchors to auricle_app"))


def test_an_entry_without_a_proper_digest_is_refused(trail: Trail) -> None:
    with pytest.raises(exc.DBAPIError, match="audit_events_digest"), trail.unit() as connection:
        connection.execute(
            text(
                "insert into audit_events (id, at, kind, outcome, actor_kind, digest) "
                "values (gen_random_uuid(), now(), 'auth.login', 'success', 'system', 'short')"
            )
        )


# Reading.


def test_pages_go_backwards_without_gaps_or_repeats(trail: Trail) -> None:
    made = trail.add(7)
    seen, before = [], None
    with trail.unit() as connection:
        while rows := AuditStore(connection).page(3, before):
            seen += [row.id for row in rows]
            before = rows[-1].id
    assert seen == sorted((each.id for each in made), reverse=True)


def test_entries_come_back_as_they_were_recorded(trail: Trail) -> None:
    made = trail.add(behalf_of=uuid7(), credential_id=uuid7())[0]
    with trail.unit() as connection:
        row = AuditStore(connection).page(1, None)[0]
    for name in row.__struct_fields__:
        if name != "details":
            assert getattr(row, name) == getattr(made, name)
    assert row.details == {"count": 3, "scopes": ["files:read"]}


def test_filters_narrow_to_what_was_asked(trail: Trail) -> None:
    trail.add(3)
    now = datetime.now(UTC)
    wanted = trail.add(
        kind=EventKind.ROLE_CHANGED, address="2001:db8::1", function="admin", trace_id="1" * 32, behalf_of=uuid7(), at=now
    )[0]
    trail.add(2, outcome=Outcome.FAILURE, actor_kind=ActorKind.ANONYMOUS, actor=None)
    filters = [
        AuditFilter(kinds=(EventKind.ROLE_CHANGED, EventKind.MFA_RESET)),
        AuditFilter(actor=wanted.actor),
        AuditFilter(behalf_of=wanted.behalf_of),
        AuditFilter(subject_kind=wanted.subject_kind, subject_id=wanted.subject_id),
        AuditFilter(address="2001:db8::1"),
        AuditFilter(function="admin"),
        AuditFilter(trace_id="1" * 32),
        AuditFilter(since=now, until=now + timedelta(microseconds=1)),
    ]
    with trail.unit() as connection:
        store = AuditStore(connection)
        for each in filters:
            assert [row.id for row in store.page(10, None, each)] == [wanted.id], each
        assert len(store.page(10, None, AuditFilter(outcome=Outcome.FAILURE))) == 2
        assert store.page(10, None, AuditFilter(actor=wanted.actor, outcome=Outcome.FAILURE)) == []
        assert [entry.event.id for entry in store.entries(0, 10, filters[0])] == [wanted.id]


def test_a_word_of_a_newer_release_is_read_and_holds(trail: Trail) -> None:
    newer = AuditRow(
        id=uuid7(), at=datetime.now(UTC), kind="auth.telepathy", outcome="success", actor_kind="person", actor=uuid7()
    )
    row = {name: getattr(newer, name) for name in AuditRow.__struct_fields__} | {"digest": digest(newer)}
    with trail.unit() as connection:
        connection.execute(audit_events.insert().values(**row))
    with trail.unit() as connection:
        assert AuditStore(connection).page(1, None) == [newer]
    assert fault(verify(trail)) is None
