"""What the embedded broker has accepted is delivered, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auricle.runtime.local.plan import Delivery, Plan, Pool, Subscription, Timer
from builders.broker_process import BrokerProcess, broker, event_headers, plan_of, post
from builders.postgres_server import Server, running, wait_ready
from builders.subscriber import Reply, Subscriber, subscribing

TYPE = "test.durable.v1"
HASTY = Delivery(retry=3, delay=0.05, timeout=20, dead_letter="dead")


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    with subscribing() as running_subscriber:
        yield running_subscriber


@pytest.fixture
def plan(tmp_path: Path, postgres_server: Server, subscriber: Subscriber) -> Plan:
    """One subscription on `TYPE`, one on what it replies, a sink; a database of this test's own."""
    url = postgres_server.owner_url(postgres_server.new_database())
    return plan_for(tmp_path, url, subscriber, parallelism=4)


def plan_for(folder: Path, url: str, subscriber: Subscriber, parallelism: int, timers: tuple[Timer, ...] = ()) -> Plan:
    subscriptions = [
        Subscription(name="work", filter={"type": TYPE}, pool="all", path="/work", parallelism=parallelism, delivery=HASTY),
        Subscription(name="next", filter={"type": f"{TYPE}.replied"}, pool="all", path="/next", parallelism=8, delivery=HASTY),
        Subscription(name="tick", filter={"type": "dev.knative.sources.ping"}, pool="all", path="/tick", delivery=HASTY),
        Subscription(name="dead", filter={}, pool="all", path="/dead", delivery=HASTY),
    ]
    pool = Pool(name="all", functions=("work", "next", "tick", "dead"), url=subscriber.url, concurrency=32)
    return plan_of(folder, url, subscriptions, [pool], timers)


def publish(process: BrokerProcess, id: str) -> int:
    """The status; 0 when the broker is not there."""
    try:
        return post(process.ingress, b"{}", event_headers(TYPE, id))[0]
    except OSError:
        return 0


def publish_until_taken(process: BrokerProcess, id: str) -> None:
    """As a publisher's outbox does."""
    until = time.monotonic() + 30
    while publish(process, id) != 202:
        assert time.monotonic() < until, f"event {id} was never taken"
        time.sleep(0.02)


def ids(subscriber: Subscriber, path: str, wanted: set[str], seconds: float = 20) -> list[str | None]:
    """The ids that came to `path`, once all `wanted` are among them."""
    until = time.monotonic() + seconds
    while True:
        found = [got.attribute("id") for got in subscriber.received(path)]
        if wanted <= set(found):
            return found
        assert time.monotonic() < until, f"{path} still lacks {sorted(wanted - set(found))[:10]}"
        time.sleep(0.02)


def test_what_was_accepted_and_not_delivered_survives_a_kill(plan: Plan, subscriber: Subscriber) -> None:
    held = threading.Event()
    subscriber.script("/work", *[Reply(hold=held)] * 4, Reply())
    with broker(plan) as process:
        wanted = {str(n) for n in range(60)}
        for id in wanted:
            assert publish(process, id) == 202
        process.kill()
        held.set()
        process.start()
        ids(subscriber, "/work", wanted)


def test_a_delivery_under_way_is_made_again_at_once_after_a_kill(plan: Plan, subscriber: Subscriber) -> None:
    held = threading.Event()
    subscriber.script("/work", Reply(hold=held), Reply())
    with broker(plan) as process:
        assert publish(process, "1") == 202
        subscriber.wait("/work", 1)
        process.kill()
        process.start()
        assert [got.attribute("id") for got in subscriber.wait("/work", 2)] == ["1", "1"]
        process.wait_settled()
        held.set()
        assert subscriber.received("/dead") == []


def test_tries_are_counted_across_kills(plan: Plan, subscriber: Subscriber) -> None:
    subscriber.script("/work", Reply(500))
    slow = Delivery(retry=3, delay=0.4, timeout=20, dead_letter="dead")
    work = plan.subscriptions[0]
    plan = Plan(
        **{**_fields(plan), "subscriptions": (Subscription(**{**_fields(work), "delivery": slow}), *plan.subscriptions[1:])}
    )
    with broker(plan) as process:
        assert publish(process, "1") == 202
        subscriber.wait("/work", 2)
        time.sleep(0.1)  # the second outcome is kept by now, usually; if not, that try is made again
        process.kill()
        process.start()
        subscriber.wait("/dead", 1)
        assert len(subscriber.received("/work")) in (4, 5)


def _fields(value: Plan | Subscription) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def test_kills_at_any_moment_lose_nothing_and_every_reply_arrives(plan: Plan, subscriber: Subscriber) -> None:
    subscriber.script("/work", lambda got: Reply(200, b"{}", event_headers(f"{TYPE}.replied", f"{got.attribute('id')}/reply")))
    wanted = {str(n) for n in range(300)}
    moments = random.Random(11)
    with broker(plan) as process:
        publishers = [
            threading.Thread(target=lambda share=share: [publish_until_taken(process, id) for id in share])
            for share in (sorted(wanted)[n::4] for n in range(4))
        ]
        for publisher in publishers:
            publisher.start()
        for _ in range(6):
            time.sleep(moments.uniform(0.02, 0.3))
            process.kill()
            process.start(ready=False)
        for publisher in publishers:
            publisher.join(60)
        process.wait_online()
        ids(subscriber, "/work", wanted)
        ids(subscriber, "/next", {f"{id}/reply" for id in wanted})
        process.wait_settled()
        assert subscriber.received("/dead") == []


def test_a_backlog_far_larger_than_memory_holds_is_delivered(plan: Plan, subscriber: Subscriber) -> None:
    held = threading.Event()
    subscriber.script("/work", *[Reply(hold=held)] * 4, Reply())
    wanted = {str(n) for n in range(600)}
    with broker(plan) as process:
        for id in wanted:
            assert publish(process, id) == 202
        held.set()
        found = ids(subscriber, "/work", wanted)
        process.wait_settled()
        assert len(found) == len(wanted)


def test_a_killed_database_refuses_for_a_while_and_loses_nothing(tmp_path: Path, subscriber: Subscriber) -> None:
    held = threading.Event()
    subscriber.script("/work", Reply(hold=held), Reply())
    with ExitStack() as stack:
        server = stack.enter_context(running(tmp_path))
        url = server.owner_url(server.new_database())
        process = stack.enter_context(broker(plan_for(tmp_path, url, subscriber, parallelism=4)))
        assert publish(process, "before") == 202
        subscriber.wait("/work", 1)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        assert publish(process, "meanwhile") == 503
        assert process.status()["database"] == "away"
        held.set()  # the first delivery succeeds while its outcome cannot be kept
        server.postgres.end_leftover()
        again = server.postgres.spawn((tmp_path / "postgres.log").open("ab"))
        stack.callback(server.postgres.stop, again)
        wait_ready(server.postgres, again)
        publish_until_taken(process, "after")
        assert ids(subscriber, "/work", {"before", "after"}).count("before") == 1
        process.wait_settled()


def test_a_broker_that_starts_before_its_database_waits_for_it(tmp_path: Path, subscriber: Subscriber) -> None:
    with running(tmp_path) as server, ExitStack() as stack:
        url = server.owner_url(server.new_database())
        server.postgres.stop(server.process)
        process = BrokerProcess(plan_for(tmp_path, url, subscriber, parallelism=4))
        process.start(ready=False)
        stack.callback(process.stop)
        until = time.monotonic() + 20
        while publish(process, "early") == 0:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert publish(process, "early") == 503
        again = server.postgres.spawn((tmp_path / "postgres.log").open("ab"))
        stack.callback(server.postgres.stop, again)
        publish_until_taken(process, "later")
        ids(subscriber, "/work", {"later"})


def test_a_second_broker_takes_over_and_the_first_one_stops(plan: Plan, subscriber: Subscriber, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with broker(plan) as first:
        assert publish(first, "1") == 202
        second = plan_for(tmp_path / "second", plan.database_url, subscriber, parallelism=4)
        with broker(second) as taking_over:
            assert publish(first, "2") != 202
            assert first.exit_status() == 1
            assert "Another broker has taken over" in first.log.read_text()
            publish_until_taken(taking_over, "3")
            ids(subscriber, "/work", {"1", "3"})


def test_stopping_leaves_a_hanging_delivery_to_the_next_start(plan: Plan, subscriber: Subscriber) -> None:
    held = threading.Event()
    subscriber.script("/work", Reply(hold=held), Reply())
    with broker(plan) as process:
        assert publish(process, "1") == 202
        subscriber.wait("/work", 1)
        assert process.stop() == 0
        process.start()
        subscriber.wait("/work", 2)
        process.wait_settled()
        held.set()


def test_a_timer_that_is_due_fires_once_and_not_again_after_a_restart(
    tmp_path: Path, postgres_server: Server, subscriber: Subscriber
) -> None:
    from auricle.runtime.local.broker.store import connector

    url = postgres_server.owner_url(postgres_server.new_database())
    timers = (Timer(name="sweep", minutes=30, data='{"timer":"sweep"}'),)
    plan = plan_for(tmp_path, url, subscriber, parallelism=4, timers=timers)
    with broker(plan) as process:
        until = time.monotonic() + 20
        while not process.status()["timers"][0]["due_in_seconds"] > 1700:  # its first period begins with the first start
            assert time.monotonic() < until
        assert subscriber.received("/tick") == []
    with connector(url)() as connection:
        connection.run("update broker.timers set fired_at = fired_at - interval '31 minutes'")
    with broker(plan) as process:
        (tick,) = subscriber.wait("/tick", 1)
        assert tick.body == b'{"timer":"sweep"}'
        assert (tick.attribute("type"), tick.headers["content-type"]) == ("dev.knative.sources.ping", "application/json")
        process.kill()
        process.start()
        process.wait_settled()
        assert len({got.attribute("id") for got in subscriber.received("/tick")}) == 1


def test_chaos_repeats_and_reorders_and_loses_nothing(plan: Plan, subscriber: Subscriber) -> None:
    wanted = [f"{n:03}" for n in range(200)]
    with broker(plan, "--chaos", "dup=0.2,reorder=0.2,seed=7") as process:
        for id in wanted:
            assert publish(process, id) == 202
        ids(subscriber, "/work", set(wanted))
        process.wait_settled()
        found = [got.attribute("id") for got in subscriber.received("/work")]
    assert set(found) == set(wanted)
    assert len(found) > len(wanted)
    firsts = list(dict.fromkeys(found))
    assert firsts != sorted(firsts)
