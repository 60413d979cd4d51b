"""What the store on Redis promises beyond the contract: that a server which forgets is not believed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from auricle.adapters.ephemeral.redis import RedisEphemeral
from auricle.errors import Retryable
from auricle.ports.ephemeral import Changed, Limit, Revocable
from builders import redis_server
from builders.ephemeral import KEY
from builders.redis_server import RedisServer

pytestmark = pytest.mark.services


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@pytest.fixture
def durable() -> Iterator[RedisServer]:
    """One that keeps what it was told through a crash."""
    with redis_server.running(durable=True) as server:
        yield server


def opened(server: RedisServer) -> RedisEphemeral:
    return RedisEphemeral(server.url, KEY)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=15)


def test_a_server_that_came_back_empty_vouches_for_no_older_token(server: RedisServer) -> None:
    store, user = opened(server), uuid.uuid4()
    store.revoke(Revocable.TOKEN, "stolen", soon())
    store.bump(user)
    issued = datetime.now(UTC)
    server.stop()
    with pytest.raises(Retryable):
        store.standing(user, [(Revocable.TOKEN, "stolen")])
    server.start()
    standing = store.standing(user, [(Revocable.TOKEN, "stolen")])
    assert standing.since is not None
    assert issued < standing.since <= datetime.now(UTC)


def test_a_server_that_kept_its_data_still_vouches_for_nothing_it_may_have_missed(durable: RedisServer) -> None:
    store, user = opened(durable), uuid.uuid4()
    epoch = store.bump(user)
    store.revoke(Revocable.TOKEN, "stolen", soon())
    before = store.standing(user, [])
    durable.stop()
    durable.start()
    after = store.standing(user, [(Revocable.TOKEN, "stolen")])
    assert (after.epoch, after.revoked) == (epoch, True)
    assert before.since is not None
    assert after.since is not None
    assert before.since < after.since


def test_processes_and_connections_agree_since_when_it_remembers(server: RedisServer) -> None:
    first, user = opened(server).standing(uuid.uuid4(), []).since, uuid.uuid4()
    stores = [opened(server) for _ in range(5)]
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda n: stores[n % 5].standing(user, []).since, range(60))) == {first}


def test_a_server_emptied_under_a_living_connection_is_noticed(server: RedisServer) -> None:
    store, user = opened(server), uuid.uuid4()
    before = store.standing(user, []).since
    server.client().flushall()
    after = store.standing(user, []).since
    assert before is not None
    assert after is not None
    assert before < after
    assert store.standing(user, []).since == after


def test_an_epoch_that_was_forgotten_is_not_handed_out_again(server: RedisServer) -> None:
    store, user = opened(server), uuid.uuid4()
    before = store.bump(user)
    server.client().flushall()
    assert store.epoch(user) == 0
    time.sleep(0.005)
    assert store.bump(user) > before


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_server_that_throws_keys_away_is_refused(server: RedisServer, policy: str) -> None:
    client = server.client()
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", policy)
    store = opened(server)
    for _ in range(3):  # and stays refused: no connection is used that was not looked at
        with pytest.raises(Retryable, match="noeviction"):
            store.once("code", 60)
    client.config_set("maxmemory-policy", "noeviction")
    assert store.once("code", 60)


def test_a_server_that_is_full_says_not_now(server: RedisServer) -> None:
    store = opened(server)
    assert store.once("code", 60)
    server.client().config_set("maxmemory", "1")
    with pytest.raises(Retryable):
        store.once("another code", 60)
    with pytest.raises(Retryable):
        store.hit("k", Limit(count=1, seconds=60, burst=1))


def test_a_wrong_password_is_a_store_that_is_away(server: RedisServer) -> None:
    store = RedisEphemeral(server.url.replace(server.password, "wrong"), KEY)
    for _ in range(2):
        with pytest.raises(Retryable) as refusal:
            store.once("code", 60)
        assert "wrong" not in str(refusal.value)


def test_a_replica_takes_no_attempts(server: RedisServer) -> None:
    with redis_server.running() as replica:
        client = replica.client()
        client.config_set("masterauth", server.password)
        client.replicaof("127.0.0.1", server.port)
        with pytest.raises(Retryable):
            opened(replica).once("code", 60)


def test_a_replica_that_takes_over_is_a_server_that_may_have_missed_something(server: RedisServer) -> None:
    store, user = opened(server), uuid.uuid4()
    before = store.standing(user, []).since
    with redis_server.running() as replica:
        client = replica.client()
        client.config_set("masterauth", server.password)
        client.replicaof("127.0.0.1", server.port)
        while client.info("replication")["master_link_status"] != "up":
            time.sleep(0.05)
        server.stop()
        client.replicaof("NO", "ONE")
        after = opened(replica).standing(user, []).since
    assert before is not None
    assert after is not None
    assert before < after


def test_scripts_that_the_server_forgot_are_told_again(server: RedisServer) -> None:
    store, limit = opened(server), Limit(count=2, seconds=60, burst=2)
    assert store.hit("k", limit).allowed
    server.client().script_flush()
    assert store.hit("k", limit).allowed
    assert not store.hit("k", limit).allowed


def test_everything_but_epochs_expires_by_itself(server: RedisServer) -> None:
    store = opened(server)
    store.hit("k", Limit(count=5, seconds=60, burst=5))
    store.once("k", 60)
    store.put("k", b"v", 60)
    store.revoke(Revocable.TOKEN, "k", soon())
    store.change("k", lambda now, value: Changed(b"1", 60, None))
    client = server.client()
    store.standing(uuid.uuid4(), [])
    assert sorted(client.ttl(key) > 0 for key in client.scan_iter()) == [False, True, True, True, True, True]  # one: its memory
    store.bump(uuid.uuid4())
    assert sum(client.ttl(key) == -1 for key in client.scan_iter()) == 2
    assert store.sweep() == 0


def test_a_change_that_never_gets_its_turn_gives_up(server: RedisServer) -> None:
    store, other, n = opened(server), opened(server), 0

    def outrun(now: datetime, value: bytes | None) -> Changed[None]:
        nonlocal n
        n += 1
        other.change("k", lambda now, value: Changed(str(n).encode(), 60, None))
        return Changed(b"mine", 60, None)

    with pytest.raises(Retryable):
        store.change("k", outrun)
    assert server.client().dbsize() == 2
