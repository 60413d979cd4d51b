"""The doors tell runs what they waited for: with the reply, or in the transaction of the work."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, Request, Response
from sqlalchemy import text
from werkzeug.test import EnvironBuilder

from auricle.access.model import PrincipalId
from auricle.access.store import TokenStore
from auricle.contract.choices import Image, Scale
from auricle.contract.event import Envelope, Fact, decode
from auricle.contract.function import Signature, Stage
from auricle.deploy.catalogue import load
from auricle.errors import Permanent
from auricle.files.model import FileId, Options
from auricle.runs import conducting
from auricle.runs.events import RunRequested, StepReleased
from auricle.runs.model import RunId, StepName, first_run_id, plan_of
from auricle.runs.store import RunStore
from auricle.runtime import coldstart
from auricle.runtime.cloudevent import binary
from auricle.runtime.coldstart import Birth, ColdStarts
from auricle.runtime.eventdoor import door_of
from auricle.runtime.settings import Settings
from auricle.runtime.wiring import Wiring
from auricle.schema import metadata
from auricle.speech.events import VoicesReleased, WorkFailed, WorkHeard
from builders.sinks import RememberingSink

load()
POD = Birth(started=105.0, bound=101.0, sandbox=102.0, created=104.0)


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> ColdStarts:
    """This process was started for an event of 100.0 and was ready at 107.0; it is 110.0 now."""
    now = [107.0]
    process = ColdStarts(lambda: POD, clock=lambda: now[0])
    now[0] = 110.0
    monkeypatch.setattr(coldstart, "process", process)
    return process


@pytest.fixture
def wiring(database_url: str) -> Iterator[Wiring]:
    made = Wiring(Settings(database_url=database_url, event_key="11" * 32))
    metadata.create_all(made.database.engine)
    made.__dict__["sink"] = RememberingSink()
    yield made
    made.database.close()


def envelope(wiring: Wiring, fact: Fact, at: float = 100.0) -> Envelope:
    event = wiring.publisher.envelope(fact, str(uuid4()), None)
    event = Envelope(
        **{name: getattr(event, name) for name in event.__struct_fields__} | {"time": datetime.fromtimestamp(at, UTC)}
    )
    return wiring.publisher._signed(event)


def deliver(stage: Stage, wiring: Wiring, event: Envelope) -> Response:
    headers, body = binary(event)
    request = Request(EnvironBuilder(method="POST", path="/", data=body, headers=headers).get_environ())
    with Flask("test").app_context():
        return door_of(stage, wiring)(request)


def stage_of(handler: Any, on: type[Fact], work: str = "", image: Image = Image.API, **more: Any) -> Stage:
    return Stage(
        function=handler.__name__,
        on=(on,),
        filter={"work": work} if work else {"concerns": "run"},
        image=image,
        scale=Scale.BURST,
        handler=handler,
        signature=Signature.of(handler),
        then=more.get("then"),
        then_signature=Signature.of(more["then"]) if "then" in more else None,
        replies=(),
        failure=more.get("failure"),
    )


def begun(wiring: Wiring) -> tuple[Any, RunId, FileId]:
    owner, file_id = PrincipalId(uuid4()), FileId(uuid4())
    run_id = first_run_id(file_id)
    with wiring.database.work() as db:
        TokenStore(db).principal_named(owner, "local", str(owner))
        RunStore(db).create(run_id, file_id, owner, conducting.begun(Options(), plan_of((), Options())))
    return owner, run_id, file_id


def released(run_id: RunId, file_id: FileId) -> StepReleased:
    return StepReleased(run_id=run_id, file_id=file_id, work=StepName.EXPORT, attempt=1, receipt="")


def voices(run_id: RunId, file_id: FileId) -> VoicesReleased:
    urls = {"manifest_url": "", "result_get_url": "", "result_put_url": ""}
    return VoicesReleased(run_id=run_id, file_id=file_id, attempt=1, model="m", receipt="r", **urls)


def test_a_stage_with_a_database_writes_its_cold_start_with_its_work(wiring: Wiring) -> None:
    def export(event: StepReleased) -> None:
        pass

    _, run_id, file_id = begun(wiring)
    stage = stage_of(export, StepReleased, "export")
    for _ in range(2):
        assert deliver(stage, wiring, envelope(wiring, released(run_id, file_id))).status_code == 204
    with wiring.database.work() as db:
        run = RunStore(db).get(run_id)
    assert run is not None
    (told,) = next(step for step in run.steps if step.name == "export").cold_starts
    assert (told.queued, told.scheduled, told.image, told.process, told.model) == (1.0, 1.0, 2.0, 3.0, None)
    assert told.first_byte == 3.0
    assert told.function == "export"


def test_work_that_is_undone_leaves_no_cold_start(wiring: Wiring) -> None:
    def export(event: StepReleased) -> None:
        raise Permanent("It can never work.")

    _, run_id, file_id = begun(wiring)
    deliver(stage_of(export, StepReleased, "export"), wiring, envelope(wiring, released(run_id, file_id)))
    with wiring.database.work() as db:
        assert db.execute(text("select count(*) from cold_starts where run_id = :r"), {"r": run_id}).scalar_one() == 0


def test_the_conductors_cold_start_is_the_runs_own(wiring: Wiring) -> None:
    def advance(event: RunRequested) -> None:
        pass

    owner, run_id, file_id = begun(wiring)
    deliver(stage_of(advance, RunRequested), wiring, envelope(wiring, RunRequested(run_id=run_id, file_id=file_id)))
    with wiring.database.work() as db:
        run = RunStore(db).get(run_id)
        (listed,) = RunStore(db).page(owner, 5, None, None, None)
    assert run is not None
    assert [told.function for told in run.cold_starts] == ["advance"]
    assert listed == run


def test_a_run_that_is_gone_is_no_error(wiring: Wiring) -> None:
    def export(event: StepReleased) -> None:
        pass

    gone = released(RunId(uuid4()), FileId(uuid4()))
    assert deliver(stage_of(export, StepReleased, "export"), wiring, envelope(wiring, gone)).status_code == 204


def test_a_secretless_stage_tells_with_its_reply(wiring: Wiring) -> None:
    def cluster(event: VoicesReleased) -> WorkHeard:
        return WorkHeard(run_id=event.run_id, work=event.work, index=0, attempt=1, receipt=event.receipt, sha256="", size=0)

    stage = stage_of(cluster, VoicesReleased, "cluster", Image.SPEECH)
    asked = envelope(wiring, voices(RunId(uuid4()), FileId(uuid4())))
    first, second = (decode(WorkHeard, deliver(stage, wiring, asked).get_data()) for _ in range(2))
    assert first.cold_start is not None
    assert (first.cold_start.function, first.cold_start.process) == ("cluster", 3.0)
    assert second.cold_start is None


def test_a_secretless_failure_tells_too(wiring: Wiring) -> None:
    def cluster(event: VoicesReleased) -> WorkHeard:
        raise Permanent("It can never work.")

    stage = stage_of(cluster, VoicesReleased, "cluster", Image.SPEECH, failure=WorkFailed)
    answer = deliver(stage, wiring, envelope(wiring, voices(RunId(uuid4()), FileId(uuid4()))))
    assert decode(WorkFailed, answer.get_data()).cold_start is not None


def test_an_event_that_came_to_a_process_awake_tells_nothing(wiring: Wiring) -> None:
    def export(event: StepReleased) -> None:
        pass

    _, run_id, file_id = begun(wiring)
    deliver(stage_of(export, StepReleased, "export"), wiring, envelope(wiring, released(run_id, file_id), at=108.0))
    with wiring.database.work() as db:
        run = RunStore(db).get(run_id)
    assert run is not None
    assert not any(step.cold_starts for step in run.steps)
