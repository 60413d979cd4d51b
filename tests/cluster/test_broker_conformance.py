"""Knative's brokers under the embedded broker's rules: what holds, what differs, and that no difference matters to our door.

`RECORD=1` writes what is seen to `tests/contract/broker/observations.json`; otherwise it has to be what stands there.
"""

from __future__ import annotations

import threading
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

pytest.register_assert_rewrite(*(f"contract.broker.{name}_rules" for name in ("ingress", "delivery", "outcome")))

from builders.broker_process import event_headers  # noqa: E402
from builders.subscriber import Reply  # noqa: E402
from cluster.broker.knative import KnativeBroker  # noqa: E402
from cluster.broker.sharing import SharedScene, SharedSubscriber  # noqa: E402
from cluster.deployment import NODE_IP, fresh_folder, until  # noqa: E402
from contract.broker import reliance  # noqa: E402
from contract.broker.cases import CASES  # noqa: E402
from contract.broker.observed import DIFFERS, HOLDS, NOT_ASKED, compare, record, recording  # noqa: E402
from contract.broker.questions import QUESTIONS  # noqa: E402
from contract.broker.under_test import Case, Trigger  # noqa: E402

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
AT_ONCE = {"rabbitmq": 24, "in-memory": 8}
"""Rules played at once. The in-memory broker hands every event to every trigger to be filtered there, within the trigger's
time limit: with many at once the shortest one is passed, and the publisher is answered 500."""
_BACK = threading.Event()
FIRST = Case(rule="the broker is there", check=lambda scene: None, triggers=(Trigger(),))
QUEUED = Case(
    rule="what was accepted survives a kill of the broker",
    check=lambda scene: None,
    triggers=(Trigger(retry=5, timeout=120.0, parallelism=2),),
    answers={"subscriber": (Reply(hold=_BACK), Reply(hold=_BACK), Reply(204))},
)


@dataclass
class Played:
    """A broker, and what was seen of it."""

    broker: KnativeBroker
    subscriber: SharedSubscriber
    seen: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def ready(self) -> None:
        """Wait until the first event arrives: a broker's data plane hears of a new broker after the broker is Ready."""
        scene = SharedScene(FIRST, self.broker, self.subscriber)

        def arrives() -> bool:
            scene.post(event_headers(FIRST.type), b"{}")
            return bool(scene.seen())

        until("a first event arrives", arrives, 60)

    def play(self, case: Case) -> None:
        """One rule."""
        if (self.broker.kind, case.slug) in reliance.NOT_ASKED:
            self.seen[case.slug] = NOT_ASKED
            return
        try:
            case.check(SharedScene(case, self.broker, self.subscriber))
            self.seen[case.slug] = HOLDS
        except Exception:  # whatever goes wrong, the rule does not hold, and this is why
            self.seen[case.slug] = DIFFERS
            self.why[case.slug] = traceback.format_exc()[-1500:]

    def everything(self) -> None:
        """All rules, then all questions; each has its own types and paths, so that many are played at once."""
        self.broker.start()
        cases = [*CASES, *(question.case for question in QUESTIONS), FIRST, QUEUED]
        self.broker.declare([trigger for case in cases for trigger in case.declared(self.subscriber.url)])
        self.ready()
        with ThreadPoolExecutor(AT_ONCE[self.broker.kind]) as pool:
            list(pool.map(self.play, CASES))
        with ThreadPoolExecutor(8) as pool:  # fewer: pauses are measured
            looks = {q.case.slug: pool.submit(q.look, SharedScene(q.case, self.broker, self.subscriber)) for q in QUESTIONS}
        self.seen |= {slug: look.result() for slug, look in looks.items()}
        told = fresh_folder("broker") / f"{self.broker.kind}.txt"
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text("".join(f"## {slug}\n{why}\n" for slug, why in sorted(self.why.items())))

    def stop(self) -> None:
        """Take everything out again."""
        self.broker.stop()
        self.subscriber.stop()


def new(kind: str) -> Played:
    """A broker that is not there yet."""
    subscriber = SharedSubscriber(NODE_IP)
    subscriber.start()
    return Played(KnativeBroker(kind, f"auricle-broker-{kind[:2]}-{uuid.uuid4().hex[:5]}", subscriber), subscriber)


@pytest.fixture(scope="module")
def playing(request: pytest.FixtureRequest) -> Iterator[dict[str, tuple[Played, Future[None]]]]:
    """The brokers that this run's tests ask for, one after the other: RabbitMQ's hundred pods leave nothing for the other one."""
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    with ThreadPoolExecutor(1) as pool:
        found = [new(kind) for fixture, kind in (("in_memory", "in-memory"), ("rabbitmq", "rabbitmq")) if fixture in asked]
        try:
            yield {one.broker.kind: (one, pool.submit(one.everything)) for one in found}
        finally:
            list(pool.map(Played.stop, found))


def played(playing: dict[str, tuple[Played, Future[None]]], kind: str) -> Played:
    """One of them, once all is seen of it."""
    found, end = playing[kind]
    end.result()
    if recording():
        record(kind, found.seen)
    return found


@pytest.fixture(scope="module")
def rabbitmq(playing: dict[str, tuple[Played, Future[None]]]) -> Played:
    """The durable broker."""
    return played(playing, "rabbitmq")


@pytest.fixture(scope="module")
def in_memory(playing: dict[str, tuple[Played, Future[None]]]) -> Played:
    """The broker Knative comes with."""
    return played(playing, "in-memory")


RULES = [pytest.param(case, id=case.slug) for case in CASES]
ASKED = [pytest.param(question.case, id=question.case.slug) for question in QUESTIONS]


@pytest.mark.parametrize("case", [*RULES, *ASKED])
def test_the_in_memory_broker_does_what_the_table_says(case: Case, in_memory: Played) -> None:
    slug = case.slug
    compare("in-memory", slug, in_memory.seen[slug], in_memory.why.get(slug, ""))
    if in_memory.seen[slug] == DIFFERS and reliance.relied(slug):
        assert slug in reliance.TOO_LITTLE, f"the door relies on it: {in_memory.why[slug]}"


@pytest.mark.parametrize("case", [*RULES, *ASKED])
def test_rabbitmq_does_what_the_table_says(case: Case, rabbitmq: Played) -> None:
    slug = case.slug
    compare("rabbitmq", slug, rabbitmq.seen[slug], rabbitmq.why.get(slug, ""))
    assert not (rabbitmq.seen[slug] == DIFFERS and reliance.relied(slug)), f"the door relies on it: {rabbitmq.why[slug]}"


def test_what_rabbitmq_accepted_survives_a_kill_of_its_pod(rabbitmq: Played) -> None:
    scene = SharedScene(QUEUED, rabbitmq.broker, rabbitmq.subscriber)
    wanted = {scene.publish() for _ in range(30)}
    scene.wait(count=2)
    rabbitmq.broker.kill()
    _BACK.set()
    rabbitmq.subscriber.wait(QUEUED.path("subscriber"), 30, 120)
    found: set[str | None] = set()
    for _ in range(120):
        found = {got.attribute("id") for got in scene.seen()}
        if wanted <= found:
            break
        threading.Event().wait(1)
    assert wanted <= found, f"lost: {sorted(wanted - {i for i in found if i})}"
    scene.settled()
    assert scene.seen("dead") == []
