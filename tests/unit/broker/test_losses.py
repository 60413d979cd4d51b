"""Workers die; deliveries do not suffer for it, unless they are what kills."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from auricle.runtime.local.plan import Delivery, Pool, Subscription
from builders.broker_process import BrokerProcess, broker, event_headers, plan_of, post
from builders.postgres_server import Server
from builders.subscriber import Subscriber, subscribing

PROGRAM = str(Path(__file__).parents[2] / "builders" / "worker_program.py")


@pytest.fixture
def sink() -> Iterator[Subscriber]:
    with subscribing() as running:
        yield running


@contextmanager
def broker_with(folder: Path, server: Server, sink: Subscriber, mode: str, delivery: Delivery) -> Iterator[BrokerProcess]:
    """A broker whose one subscription is served by the test program in `mode`."""
    subscriptions = [
        Subscription(name="work", filter={"type": "t"}, pool="workers", path="/work", delivery=delivery),
        Subscription(name="dead", filter={}, pool="sink", path="/dead"),
    ]
    pools = [
        Pool(name="workers", functions=("work",), command=(sys.executable, PROGRAM, mode)),
        Pool(name="sink", functions=("dead",), url=sink.url),
    ]
    url = server.owner_url(server.new_database())
    with broker(plan_of(folder, url, subscriptions, pools)) as process:
        yield process


def test_a_killed_worker_costs_a_delivery_none_of_its_tries(tmp_path: Path, postgres_server: Server, sink: Subscriber) -> None:
    delivery = Delivery(retry=0, dead_letter="dead")
    with broker_with(tmp_path, postgres_server, sink, "slow", delivery) as process:
        assert post(process.ingress, b"{}", event_headers("t"))[0] == 202
        until = time.monotonic() + 20
        while not (busy := [w for w in process.status()["pools"][0]["workers"] if w["busy"]]):
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(busy[0]["pid"], signal.SIGKILL)
        process.wait_settled()
        work = next(s for s in process.status()["subscriptions"] if s["name"] == "work")
        assert (work["delivered"], work["failed"]) == (1, 0)
    assert sink.received("/dead") == []


def test_an_event_that_kills_every_worker_is_dead_lettered(tmp_path: Path, postgres_server: Server, sink: Subscriber) -> None:
    delivery = Delivery(retry=1, delay=0.01, dead_letter="dead")
    with broker_with(tmp_path, postgres_server, sink, "die-on-request", delivery) as process:
        assert post(process.ingress, b"{}", event_headers("t"))[0] == 202
        (letter,) = sink.wait("/dead", 1, seconds=60)
        assert letter.attribute("knativeerrorcode") == "-1"
        process.wait_settled()


def test_a_pool_that_never_comes_up_ends_in_a_dead_letter_that_says_why(
    tmp_path: Path, postgres_server: Server, sink: Subscriber
) -> None:
    import base64

    delivery = Delivery(retry=0, dead_letter="dead")
    with broker_with(tmp_path, postgres_server, sink, "crash", delivery) as process:
        assert post(process.ingress, b"{}", event_headers("t"))[0] == 202
        (letter,) = sink.wait("/dead", 1, seconds=60)
        assert b"/models/x is missing" in base64.b64decode(letter.attribute("knativeerrordata") or "")
        status, said = post(f"{process.origin}/activate/work")
        assert status == 503
        assert b"/models/x is missing" in said


def test_activation_answers_with_the_url_of_a_ready_worker(tmp_path: Path, postgres_server: Server, sink: Subscriber) -> None:
    import json

    with broker_with(tmp_path, postgres_server, sink, "", Delivery()) as process:
        status, said = post(f"{process.origin}/activate/work")
        assert status == 200
        with_port = process.status()["pools"][0]["workers"][0]["port"]
        assert json.loads(said) == {"url": f"http://127.0.0.1:{with_port}"}
        assert post(f"{process.origin}/activate/nothing")[0] == 404
        assert post(f"{process.origin}/healthz", method="GET")[0] == 200
