"""The event doors on a real database: one effect per event, and only the four answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

import msgspec
import pytest
from flask import Flask, Request, Response, request
from sqlalchemy import Column, Integer, Table, Text, func, select
from werkzeug.test import EnvironBuilder

from auricle.admin.store import dead_letters
from auricle.contract.choices import Image, Scale
from auricle.contract.event import Envelope, Fact
from auricle.contract.function import Signature, Stage
from auricle.contract.store import Store
from auricle.errors import Permanent, Retryable
from auricle.ports.bus import Bus
from auricle.runs.events import StepFailed
from auricle.runs.model import RunId, StepName
from auricle.runtime import inbox
from auricle.runtime.cloudevent import binary
from auricle.runtime.eventdoor import door_of
from auricle.runtime.limits import MAX_BODY
from auricle.runtime.outbox import outbox
from auricle.runtime.settings import Settings
from auricle.runtime.wiring import Wiring
from auricle.schema import metadata
from auricle.speech.events import WorkFailed
from builders.sinks import RememberingSink

effects = Table("effects", metadata, Column("id", Integer, primary_key=True), Column("what", Text))


class Rung(Fact, frozen=True, kw_only=True):
    """A bell was rung."""

    TYPE: ClassVar[str] = "auricle.tests.rung.v1"
    who: str
    run_id: UUID | None = None
    work: StepName = StepName.PREPARE
    attempt: int = 1


class Heard(Fact, frozen=True, kw_only=True):
    """A bell was heard."""

    TYPE: ClassVar[str] = "auricle.tests.heard.v1"
    who: str


class EffectStore(Store):
    """Counts effects."""

    def add(self, what: str) -> None:
        """One more."""
        self.db.execute(effects.insert().values(what=what))


class Value(msgspec.Struct, frozen=True):
    """What slow work found."""

    what: str


@pytest.fixture(scope="module")
def wiring(database_url: str) -> Iterator[Wiring]:
    made = Wiring(Settings(database_url=database_url, database_pool=6, event_key="11" * 32))
    metadata.create_all(made.database.engine)
    yield made
    made.database.close()


@pytest.fixture
def sink(wiring: Wiring) -> RememberingSink:
    remembering = RememberingSink()
    wiring.__dict__["sink"] = remembering
    wiring.__dict__.pop("outbox", None)
    return remembering


def stage_of(handler: Callable[..., Any], *, then: Callable[..., Any] | None = None, where: bool = False, **more: Any) -> Stage:
    return Stage(
        function=more.pop("function", f"{handler.__name__}-{uuid4()}"),
        on=(Rung,),
        filter={"type": Rung.TYPE, **({"work": "prepare"} if where else {})},
        image=more.pop("image", Image.API),
        scale=Scale.BURST,
        handler=handler,
        signature=Signature.of(handler),
        then=then,
        then_signature=Signature.of(then) if then else None,
        replies=more.pop("replies", ()),
        failure=more.pop("failure", None),
    )


def signed(wiring: Wiring, fact: Fact, id: str | None = None) -> Envelope:
    return wiring.publisher.envelope(fact, id, None)


def delivered(event: Envelope) -> Request:
    headers, body = binary(event)
    return Request(EnvironBuilder(method="POST", path="/", data=body, headers=headers).get_environ())


def deliver(stage: Stage, wiring: Wiring, event: Envelope) -> Response:
    with Flask("test").app_context():
        return door_of(stage, wiring)(delivered(event))


def count(wiring: Wiring, what: str) -> int:
    with wiring.database.work() as db:
        return int(db.execute(select(func.count()).select_from(effects).where(effects.c.what == what)).scalar_one())


def test_an_event_delivered_five_times_has_one_effect(wiring: Wiring, sink: RememberingSink) -> None:
    def ring(event: Rung, store: EffectStore, bus: Bus) -> None:
        store.add(event.who)
        bus.publish(Heard(who=event.who))

    stage, event = stage_of(ring), signed(wiring, Rung(who="five"))
    answers = [deliver(stage, wiring, event).status_code for _ in range(5)]
    assert answers == [204] * 5
    assert count(wiring, "five") == 1
    assert sink.types() == [Heard.TYPE]


def test_duplicates_at_the_same_moment_have_one_effect(wiring: Wiring, sink: RememberingSink) -> None:
    gate = threading.Barrier(4)

    def ring(event: Rung, store: EffectStore) -> None:
        store.add(event.who)

    stage, event = stage_of(ring), signed(wiring, Rung(who="race"))
    answers: list[int] = []

    def attempt() -> None:
        gate.wait()
        answers.append(deliver(stage, wiring, event).status_code)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [204] * 4
    assert count(wiring, "race") == 1


def test_an_unexpected_error_leaves_nothing_and_asks_for_another_try(wiring: Wiring, sink: RememberingSink) -> None:
    tries: list[int] = []

    def ring(event: Rung, store: EffectStore, bus: Bus) -> None:
        store.add(event.who)
        bus.publish(Heard(who=event.who))
        tries.append(1)
        if len(tries) == 1:
            raise ZeroDivisionError

    stage, event = stage_of(ring), signed(wiring, Rung(who="flaky"))
    first = deliver(stage, wiring, event)
    assert (first.status_code, first.get_data()) == (500, b"")
    assert count(wiring, "flaky") == 0
    assert sink.taken == []
    assert deliver(stage, wiring, event).status_code == 204
    assert count(wiring, "flaky") == 1


def test_what_is_busy_is_503_and_what_is_hopeless_is_recorded(wiring: Wiring, sink: RememberingSink) -> None:
    def busy(event: Rung, store: EffectStore) -> None:
        raise Retryable("later")

    def hopeless(event: Rung, store: EffectStore) -> None:
        store.add("never")
        raise Permanent("There is no sound in it.")

    assert deliver(stage_of(busy), wiring, signed(wiring, Rung(who="x"))).status_code == 503
    run = uuid4()
    stage = stage_of(hopeless, where=True)
    event = signed(wiring, Rung(who="x", run_id=run))
    assert [deliver(stage, wiring, event).status_code for _ in range(2)] == [204, 204]
    assert count(wiring, "never") == 0
    (failed,) = [msgspec.json.decode(e.data, type=StepFailed) for e in sink.taken]
    assert failed == StepFailed(run_id=RunId(run), work=StepName.PREPARE, attempt=1, error="There is no sound in it.")


def test_what_belongs_to_no_run_becomes_a_dead_letter(wiring: Wiring, sink: RememberingSink) -> None:
    def hopeless(event: Rung, store: EffectStore) -> None:
        raise Permanent("No.")

    stage = stage_of(hopeless)
    deliver(stage, wiring, signed(wiring, Rung(who="x")))
    with wiring.database.work() as db:
        row = db.execute(select(dead_letters).where(dead_letters.c.function == stage.function)).one()
    assert (row.reason, row.state) == ("No.", "open")


@pytest.mark.parametrize("damage", ["unsigned", "forged", "undecodable", "foreign"])
def test_what_cannot_be_believed_is_kept_and_not_acted_upon(wiring: Wiring, sink: RememberingSink, damage: str) -> None:
    def ring(event: Rung, store: EffectStore) -> None:
        store.add("believed")

    event = signed(wiring, Rung(who="x"))
    match damage:
        case "unsigned":
            event = msgspec.structs.replace(event, extensions={})
        case "forged":
            event = msgspec.structs.replace(event, data=Rung(who="mallory").encoded())
        case "undecodable":
            event = msgspec.structs.replace(event, data=b'{"who": 7}')
        case "foreign":
            event = msgspec.structs.replace(event, type="auricle.tests.other.v1")
    stage = stage_of(ring)
    assert deliver(stage, wiring, event).status_code == 204
    assert count(wiring, "believed") == 0
    with wiring.database.work() as db:
        assert db.execute(select(dead_letters.c.id).where(dead_letters.c.function == stage.function)).one()


def test_a_request_that_is_no_event_is_kept(wiring: Wiring, sink: RememberingSink) -> None:
    def ring(event: Rung, store: EffectStore) -> None:
        store.add("believed")

    stage = stage_of(ring)
    request = Request(EnvironBuilder(method="POST", path="/", data=b"hello").get_environ())
    assert door_of(stage, wiring)(request).status_code == 204
    with wiring.database.work() as db:
        assert db.execute(select(dead_letters.c.id).where(dead_letters.c.function == stage.function)).one()


def test_an_event_larger_than_a_body_may_be_is_kept_without_it(wiring: Wiring, sink: RememberingSink) -> None:
    def nobody(event: Rung) -> None:
        raise AssertionError

    stage, app = stage_of(nobody), Flask("test")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    headers, _ = binary(signed(wiring, Rung(who="x")))

    @app.post("/")
    def handle() -> Response:
        answer = door_of(stage, wiring)(request)
        request.get_data()  # as functions-framework does, which would answer 413
        return answer

    assert app.test_client().post("/", data=b"x" * (MAX_BODY + 1), headers=headers).status_code == 204
    with wiring.database.work() as connection:
        row = connection.execute(select(dead_letters.c.reason).where(dead_letters.c.function == stage.function)).one()
    assert "larger than" in row.reason


def test_slow_work_holds_a_lease_and_no_transaction(wiring: Wiring, sink: RememberingSink) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow(event: Rung) -> Value:
        inside.set()
        assert leave.wait(10)
        return Value(event.who)

    def record(event: Rung, value: Value, store: EffectStore, bus: Bus) -> None:
        store.add(value.what)
        bus.publish(Heard(who=value.what))

    stage, event = stage_of(slow, then=record), signed(wiring, Rung(who="slow"))
    first = threading.Thread(target=deliver, args=(stage, wiring, event))
    first.start()
    assert inside.wait(10)
    assert deliver(stage, wiring, event).status_code == 204  # held: not run a second time
    leave.set()
    first.join()
    assert deliver(stage, wiring, event).status_code == 204  # done
    assert count(wiring, "slow") == 1
    assert sink.types() == [Heard.TYPE]


def test_whoever_lost_the_lease_cannot_commit(wiring: Wiring, sink: RememberingSink) -> None:
    def slow(event: Rung) -> Value:
        with wiring.database.work() as db:  # the lease runs out under the work, and another worker takes over
            db.execute(
                inbox.inbox.update().where(inbox.inbox.c.id == event_id).values(lease_until=datetime(2020, 1, 1, tzinfo=UTC))
            )
            assert inbox.claim_lease(db, stage.function, event_)[0] is inbox.Claim.MINE
        return Value(event.who)

    def record(event: Rung, value: Value, store: EffectStore) -> None:
        store.add(value.what)

    stage, event_ = stage_of(slow, then=record), signed(wiring, Rung(who="fenced"))
    event_id = event_.id
    assert deliver(stage, wiring, event_).status_code == 503
    assert count(wiring, "fenced") == 0


def test_the_sweep_finds_what_a_dead_worker_held(wiring: Wiring, sink: RememberingSink) -> None:
    event = signed(wiring, Rung(who="dead"))
    with wiring.database.work() as db:
        inbox.claim_lease(db, "dead-worker", event)
        assert inbox.expired(db) == []
        mine = inbox.inbox.c.function == "dead-worker"
        db.execute(inbox.inbox.update().where(mine).values(lease_until=datetime(2020, 1, 1, tzinfo=UTC)))
        assert inbox.expired(db) == [event]
        assert inbox.expired(db) == []  # once a minute is enough
        assert inbox.claim_lease(db, "dead-worker", event)[0] is inbox.Claim.MINE


def test_facts_survive_a_broker_that_is_away(wiring: Wiring, sink: RememberingSink) -> None:
    def ring(event: Rung, bus: Bus) -> None:
        bus.publish(Heard(who=event.who))

    sink.up = False
    assert deliver(stage_of(ring), wiring, signed(wiring, Rung(who="kept"))).status_code == 204
    with wiring.database.work() as db:
        db.execute(outbox.update().values(created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(Retryable):
        wiring.outbox.relay()
    sink.up = True
    assert wiring.outbox.relay() == 1
    assert wiring.outbox.relay() == 0
    assert sink.types() == [Heard.TYPE]
    assert wiring.signer.signed(sink.taken[0])


def test_what_was_left_behind_rides_on_the_next_delivery(wiring: Wiring, sink: RememberingSink) -> None:
    def ring(event: Rung, bus: Bus) -> None:
        bus.publish(Heard(who=event.who))

    def listen(event: Rung) -> None:
        """Publishes nothing itself."""

    sink.up = False
    deliver(stage_of(ring), wiring, signed(wiring, Rung(who="left behind")))
    with wiring.database.work() as db:
        db.execute(outbox.update().values(created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    assert deliver(stage_of(listen), wiring, signed(wiring, Rung(who="too early"))).status_code == 204
    sink.up = True
    assert deliver(stage_of(listen), wiring, signed(wiring, Rung(who="next"))).status_code == 204
    assert sink.types() == [Heard.TYPE]
    assert wiring.outbox.relay() == 0


class HeardOrNot(Fact, frozen=True, kw_only=True):
    """What the secretless stage below could not hear."""

    TYPE: ClassVar[str] = "auricle.tests.unheard.v1"
    FAILURE: ClassVar[bool] = True
    who: str
    error: str


def test_a_secretless_stage_replies_with_one_event_and_the_same_one_again(wiring: Wiring) -> None:
    def hear(event: Rung) -> Heard | HeardOrNot:
        if event.who == "nobody":
            raise Permanent("Nobody rang.")
        return Heard(who=event.who)

    stage = stage_of(hear, image=Image.SPEECH, replies=(Heard, HeardOrNot), failure=HeardOrNot)
    bare = Wiring(Settings())  # no database, no key
    event = signed(wiring, Rung(who="me"))
    first, second = deliver(stage, bare, event), deliver(stage, bare, event)
    assert first.status_code == 200
    assert first.headers["ce-type"] == Heard.TYPE
    assert first.headers["ce-id"] == second.headers["ce-id"]
    failed = deliver(stage, bare, signed(wiring, Rung(who="nobody")))
    assert failed.status_code == 200
    assert msgspec.json.decode(failed.get_data()) == {"who": "nobody", "error": "Nobody rang."}
    assert "database" not in bare.__dict__


def test_failure_facts_of_speech_carry_what_the_conductor_needs() -> None:
    assert {"run_id", "work", "index", "attempt", "receipt", "error"} <= set(WorkFailed.__struct_fields__)
