"""What every store promises to identity."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auricle.errors import Retryable
from auricle.ports.ephemeral import SKEW, Changed, Ephemeral, Limit, Revocable
from builders.ephemeral import Place

THREADS = 50


def at_once(times: int, act: Callable[[int], Any]) -> list[Any]:
    """`act(0) … act(times - 1)`, all together, each in a thread."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(act, range(times)))


def word() -> str:
    return f"someone@example.org {uuid.uuid4()}"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=15)


def in_both(place: Place, n: int) -> Ephemeral:
    """Every other asker comes from another process."""
    return place.again if n % 2 else place.store


# Rates


def test_hits_are_allowed_until_the_burst_is_used_up(store: Ephemeral) -> None:
    key, limit = word(), Limit(count=5, seconds=60, burst=3)
    answers = [store.hit(key, limit) for _ in range(5)]
    assert [a.allowed for a in answers] == [True, True, True, False, False]
    assert [a.remaining for a in answers] == [2, 1, 0, 0, 0]
    assert [a.retry_after for a in answers] == [0, 0, 0, 20, 20]
    assert [a.reset_seconds for a in answers] == [20, 40, 60, 60, 60]


def test_keys_are_counted_apart(store: Ephemeral) -> None:
    limit = Limit(count=1, seconds=60, burst=1)
    assert all(store.hit(word(), limit).allowed for _ in range(3))


def test_another_process_sees_what_was_counted(place: Place, store: Ephemeral) -> None:
    key, limit = word(), Limit(count=1, seconds=60, burst=1)
    assert store.hit(key, limit).allowed
    assert not place.again.hit(key, limit).allowed


def test_time_gives_hits_back(place: Place, store: Ephemeral) -> None:
    key, limit = word(), Limit(count=2, seconds=2, burst=1)
    assert store.hit(key, limit).allowed
    assert not store.hit(key, limit).allowed
    place.wait(1.1)
    assert store.hit(key, limit).allowed


def test_a_refused_hit_costs_nothing(place: Place, store: Ephemeral) -> None:
    key, limit = word(), Limit(count=1, seconds=2, burst=1)
    assert store.hit(key, limit).allowed
    for _ in range(5):
        assert not store.hit(key, limit).allowed
    place.wait(2.1)
    assert store.hit(key, limit).allowed


def test_fifty_at_once_get_no_more_than_the_burst(place: Place, store: Ephemeral) -> None:
    key, limit = word(), Limit(count=7, seconds=3600, burst=7)
    answers = at_once(THREADS, lambda n: in_both(place, n).hit(key, limit))
    assert sum(a.allowed for a in answers) == 7
    assert sorted(a.remaining for a in answers if a.allowed) == list(range(7))


# Once


def test_a_code_is_fresh_once(store: Ephemeral) -> None:
    key = word()
    assert store.once(key, 90)
    assert not store.once(key, 90)
    assert store.once(word(), 90)


def test_a_code_may_come_again_after_its_time(place: Place, store: Ephemeral) -> None:
    key = word()
    assert store.once(key, 1)
    assert not store.once(key, 1)
    place.wait(1.1)
    assert store.once(key, 1)


def test_of_fifty_replays_one_is_first(place: Place, store: Ephemeral) -> None:
    key = word()
    assert sum(at_once(THREADS, lambda n: in_both(place, n).once(key, 90))) == 1


# Secrets


def test_a_secret_is_given_once(store: Ephemeral) -> None:
    key = word()
    store.put(key, b"verifier \x00\xff", 60)
    assert store.take(key) == b"verifier \x00\xff"
    assert store.take(key) is None


def test_a_secret_nobody_put_is_not_there(store: Ephemeral) -> None:
    assert store.take(word()) is None


def test_a_secret_ends_with_its_time(place: Place, store: Ephemeral) -> None:
    key = word()
    store.put(key, b"challenge", 0.3)
    place.wait(0.4)
    assert store.take(key) is None


def test_a_secret_may_be_put_anew(store: Ephemeral) -> None:
    key = word()
    store.put(key, b"old", 60)
    store.put(key, b"new", 60)
    assert store.take(key) == b"new"
    assert store.take(key) is None


def test_fifty_takers_share_one_secret(place: Place, store: Ephemeral) -> None:
    key = word()
    store.put(key, b"state", 60)
    taken = at_once(THREADS, lambda n: in_both(place, n).take(key))
    assert [value for value in taken if value is not None] == [b"state"]


# Revocation


def test_what_was_revoked_is_revoked_for_everyone(place: Place, store: Ephemeral) -> None:
    id = str(uuid.uuid4())
    assert not store.revoked(Revocable.TOKEN, id)
    store.revoke(Revocable.TOKEN, id, soon())
    assert store.revoked(Revocable.TOKEN, id)
    assert place.again.revoked(Revocable.TOKEN, id)


def test_kinds_are_revoked_apart(store: Ephemeral) -> None:
    id = str(uuid.uuid4())
    store.revoke(Revocable.FAMILY, id, soon())
    assert not store.revoked(Revocable.SESSION, id)


def test_a_revocation_outlives_a_clock_that_is_minutes_ahead(store: Ephemeral) -> None:
    id = str(uuid.uuid4())
    store.revoke(Revocable.TOKEN, id, datetime.now(UTC) - SKEW + timedelta(seconds=30))
    assert store.revoked(Revocable.TOKEN, id)


def test_a_shorter_revocation_does_not_replace_a_longer_one(place: Place, store: Ephemeral) -> None:
    id = str(uuid.uuid4())
    store.revoke(Revocable.SESSION, id, soon())
    store.revoke(Revocable.SESSION, id, _now_of(store) - SKEW + timedelta(seconds=0.2))
    place.wait(0.4)
    assert store.revoked(Revocable.SESSION, id)


def test_a_longer_revocation_replaces_a_shorter_one(place: Place, store: Ephemeral) -> None:
    id = str(uuid.uuid4())
    store.revoke(Revocable.SESSION, id, _now_of(store) - SKEW + timedelta(seconds=0.2))
    store.revoke(Revocable.SESSION, id, soon())
    place.wait(0.4)
    assert store.revoked(Revocable.SESSION, id)


def test_a_revocation_is_forgotten_when_nothing_valid_is_left(place: Place, store: Ephemeral) -> None:
    id = str(uuid.uuid4())
    store.revoke(Revocable.TOKEN, id, _now_of(store) - SKEW + timedelta(seconds=1))
    assert store.revoked(Revocable.TOKEN, id)
    place.wait(1.1)
    assert not store.revoked(Revocable.TOKEN, id)


def test_epochs_begin_at_zero_and_only_grow(place: Place, store: Ephemeral) -> None:
    user = uuid.uuid4()
    assert store.epoch(user) == 0
    bumped = [in_both(place, n).bump(user) for n in range(4)]
    assert bumped == sorted(set(bumped))
    assert store.epoch(user) == place.again.epoch(user) == bumped[-1] > 0
    assert store.epoch(uuid.uuid4()) == 0


def test_fifty_bumps_are_fifty_epochs(place: Place, store: Ephemeral) -> None:
    user = uuid.uuid4()
    bumped = at_once(THREADS, lambda n: in_both(place, n).bump(user))
    assert len(set(bumped)) == THREADS
    assert store.epoch(user) == max(bumped)


def test_the_standing_tells_epoch_and_revocations_at_once(store: Ephemeral) -> None:
    user, token, family = uuid.uuid4(), str(uuid.uuid4()), str(uuid.uuid4())
    asked = [(Revocable.TOKEN, token), (Revocable.FAMILY, family)]
    before = store.standing(user, asked)
    assert (before.epoch, before.revoked) == (0, False)
    epoch = store.bump(user)
    store.revoke(Revocable.FAMILY, family, soon())
    after = store.standing(user, asked)
    assert (after.epoch, after.revoked) == (epoch, True)
    assert not store.standing(user, asked[:1]).revoked
    assert not store.standing(user, ()).revoked


# State


def _count(now: datetime, value: bytes | None) -> Changed[int]:
    count = int(value or b"0") + 1
    return Changed(str(count).encode(), 60, count)


def _look(now: datetime, value: bytes | None) -> Changed[bytes | None]:
    return Changed(value, 60, value)


def _now_of(store: Ephemeral) -> datetime:
    """The store's clock."""
    return store.change("what time is it", lambda now, value: Changed(value, 60, now))


def test_a_state_becomes_what_the_rule_says(place: Place, store: Ephemeral) -> None:
    key = word()
    assert store.change(key, _look) is None
    assert [in_both(place, n).change(key, _count) for n in range(3)] == [1, 2, 3]
    assert place.again.change(key, _look) == b"3"
    assert store.change(key, lambda now, value: Changed(None, 0, "gone")) == "gone"
    assert store.change(key, _look) is None


def test_the_rule_is_told_a_time_that_goes_on(place: Place, store: Ephemeral) -> None:
    first = _now_of(store)
    place.wait(0.2)
    assert timedelta(seconds=0.15) < _now_of(store) - first
    assert first.tzinfo is not None


def test_a_state_ends_with_its_time_and_begins_anew(place: Place, store: Ephemeral) -> None:
    key = word()
    assert store.change(key, lambda now, value: Changed(b"7", 1, None)) is None
    assert store.change(key, _look) == b"7"
    place.wait(1.1)
    assert store.change(key, _look) is None
    assert store.change(key, _count) == 1


def test_a_rule_that_fails_changes_nothing(store: Ephemeral) -> None:
    key = word()
    store.change(key, _count)
    with pytest.raises(ZeroDivisionError):
        store.change(key, lambda now, value: Changed(b"9", 60, 1 // 0))
    assert store.change(key, _look) == b"1"


def test_of_fifty_changes_none_is_lost(place: Place, store: Ephemeral) -> None:
    key = word()
    seen = at_once(THREADS, lambda n: in_both(place, n).change(key, _count))
    assert sorted(seen) == list(range(1, THREADS + 1))


def test_what_was_forgotten_may_be_changed_by_fifty_at_once(place: Place, store: Ephemeral) -> None:
    key = word()
    store.change(key, lambda now, value: Changed(b"40", 0.2, None))
    place.wait(0.3)
    assert sorted(at_once(THREADS, lambda n: in_both(place, n).change(key, _count))) == list(range(1, THREADS + 1))


# Away


ASKED: dict[str, Callable[[Ephemeral], object]] = {
    "hit": lambda store: store.hit("k", Limit(count=5, seconds=60, burst=5)),
    "once": lambda store: store.once("k", 60),
    "put": lambda store: store.put("k", b"v", 60),
    "take": lambda store: store.take("k"),
    "revoke": lambda store: store.revoke(Revocable.TOKEN, "k", soon()),
    "revoked": lambda store: store.revoked(Revocable.TOKEN, "k"),
    "bump": lambda store: store.bump(uuid.uuid4()),
    "epoch": lambda store: store.epoch(uuid.uuid4()),
    "standing": lambda store: store.standing(uuid.uuid4(), [(Revocable.TOKEN, "k")]),
    "change": lambda store: store.change("k", _count),
}


def test_every_question_is_asked_while_the_store_is_away() -> None:
    questions = {name for name in vars(Ephemeral) if not name.startswith("_")}
    assert questions - {"sweep"} == set(ASKED)  # a sweep that has nothing to do may say so


@pytest.mark.parametrize("question", ASKED)
def test_a_store_that_is_away_never_answers_yes(place: Place, store: Ephemeral, question: str) -> None:
    ASKED[question](store)
    place.lose()
    for _ in range(2):  # on a connection that was cut, then without any
        with pytest.raises(Retryable, match="away"):
            ASKED[question](store)
    place.regain()
    ASKED[question](store)


@pytest.mark.parametrize("question", ["hit", "standing"])
def test_a_store_that_falls_silent_never_answers_yes(place: Place, store: Ephemeral, question: str) -> None:
    ASKED[question](store)
    place.silence()
    with pytest.raises(Retryable):
        ASKED[question](store)
    place.lose()
    place.regain()
    ASKED[question](store)


def test_what_was_counted_is_still_counted_after_a_loss(place: Place, store: Ephemeral) -> None:
    key, limit = word(), Limit(count=1, seconds=60, burst=1)
    assert store.hit(key, limit).allowed
    place.lose()
    place.regain()
    assert not store.hit(key, limit).allowed


# At rest


def test_nobody_can_be_read_off_the_store(place: Place, store: Ephemeral) -> None:
    name = "ada.lovelace@example.org 192.0.2.77"
    store.hit(name, Limit(count=5, seconds=60, burst=5))
    store.once(name, 60)
    store.put(name, b"the verifier of ada", 60)
    store.revoke(Revocable.SESSION, name, soon())
    store.change(name, _count)
    held = place.dump()
    for trace in (b"ada", b"lovelace", b"192.0.2", b"verifier"):
        assert trace not in held
    assert store.take(name) == b"the verifier of ada"
