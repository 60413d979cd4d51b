"""Rate limits: what they promise, what they count together, and what answers tell."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.contract.choices import Guarded
from auricle.errors import Retryable
from auricle.identity import ratelimits
from auricle.identity.ratelimits import OPEN_WHEN_AWAY, POLICIES, By, Caller, headers, refused, spend
from auricle.ports.ephemeral import Limit
from builders.ephemeral import MemoryEphemeral

CALLER = Caller(address="192.0.2.1", name="ada@example.org", principal="0198")


unhurried = settings(deadline=None)  # a busy machine is no failure


@pytest.fixture
def store() -> MemoryEphemeral:
    return MemoryEphemeral()


# The promise of a limit


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    count = draw(st.integers(1, 12))
    return Limit(count, draw(st.integers(1, 3600)), draw(st.integers(1, count)))


@given(limits(), st.lists(st.floats(0, 1.2), min_size=1, max_size=80))
@unhurried
def test_no_window_ever_holds_more_than_the_count(limit: Limit, gaps: list[float]) -> None:
    store, allowed = MemoryEphemeral(), []
    for gap in gaps:
        store.pass_time(gap * limit.seconds / limit.count)
        if store.hit("k", limit).allowed:
            allowed.append(store.now)
    window = timedelta(seconds=limit.seconds)
    assert all(later - sooner >= window for sooner, later in zip(allowed, allowed[limit.count :], strict=False))


@given(limits())
@unhurried
def test_whoever_hammers_gets_exactly_the_count_in_the_first_window(limit: Limit) -> None:
    store, allowed = MemoryEphemeral(), 0
    for _ in range(0, limit.seconds * 1_000_000, limit.interval):
        while store.hit("k", limit).allowed:
            allowed += 1
        store.pass_time(limit.interval / 1_000_000)
    assert allowed == limit.count


@given(limits(), st.integers(1, 20), st.floats(0, 1))
@unhurried
def test_the_wait_that_is_told_is_enough_and_not_much_more(limit: Limit, hits: int, late: float) -> None:
    store = MemoryEphemeral()
    for _ in range(hits):
        store.pass_time(late)
        answer = store.hit("k", limit)
        if not answer.allowed:
            early = max(0, answer.retry_after - 1.001)
            store.pass_time(early)
            assert not store.hit("k", limit).allowed or early == 0
            store.pass_time(answer.retry_after - early)
            assert store.hit("k", limit).allowed
            return


@given(limits(), st.integers(0, 12))
@unhurried
def test_what_remains_can_be_had_at_once(limit: Limit, hits: int) -> None:
    store = MemoryEphemeral()
    remaining = limit.burst
    for _ in range(hits):
        remaining = store.hit("k", limit).remaining
    assert [store.hit("k", limit).allowed for _ in range(remaining + 1)] == [True] * remaining + [False]


@given(limits(), st.integers(1, 12))
@unhurried
def test_all_is_back_when_it_was_said_to_be(limit: Limit, hits: int) -> None:
    store = MemoryEphemeral()
    reset = [store.hit("k", limit).reset_seconds for _ in range(hits)][-1]
    store.pass_time(reset)
    assert store.hit("k", limit).remaining == limit.burst - 1


@pytest.mark.parametrize(("count", "seconds", "burst"), [(0, 60, 0), (3, 0, 1), (3, 60, 4), (3, 60, 0)])
def test_a_limit_that_means_nothing_is_refused(count: int, seconds: int, burst: int) -> None:
    with pytest.raises(ValueError, match="A limit has"):
        Limit(count, seconds, burst)


# The table


def test_everything_guarded_has_a_limit() -> None:
    assert set(POLICIES) == set(Guarded)
    assert all(POLICIES.values())


def test_a_password_reset_is_mailed_three_times_an_hour() -> None:
    store = MemoryEphemeral()
    asked = [Caller(address=f"192.0.2.{n}", name="Ada@example.org" if n % 2 else "ada@EXAMPLE.org") for n in range(60)]
    sent = 0
    for caller in asked:  # a request a minute, for an hour
        sent += refused(spend(store, Guarded.RESET_ASK, caller)) is None
        store.pass_time(60)
    assert sent == 3


def test_what_anybody_may_ask_is_limited_by_something_that_is_not_theirs_to_choose() -> None:
    strangers = set(Guarded) - {
        thing for thing, policies in POLICIES.items() if any(policy.by is By.PRINCIPAL for policy in policies)
    }
    assert {Guarded.LOGIN, Guarded.REGISTER, Guarded.RESET_ASK, Guarded.REFRESH, Guarded.OIDC_CALLBACK} <= strangers
    assert all(any(policy.by is By.ADDRESS for policy in POLICIES[thing]) for thing in strangers)


def test_strangers_cannot_use_up_a_sign_in_that_belongs_to_a_name() -> None:
    for thing in (Guarded.LOGIN, Guarded.FACTOR, Guarded.PASSKEY_FINISH, Guarded.OIDC_CALLBACK):
        assert {policy.by for policy in POLICIES[thing]} == {By.ADDRESS}


@pytest.mark.parametrize("guarded", list(Guarded))
def test_a_window_holds_the_burst_and_the_whole_count(guarded: Guarded) -> None:
    for policy in POLICIES[guarded]:
        assert policy.limit.burst * 2 >= policy.limit.count  # people come in bursts; half of it never waits


# Spending


def test_things_are_counted_apart(store: MemoryEphemeral) -> None:
    while refused(spend(store, Guarded.REGISTER, CALLER)) is None:
        pass
    assert refused(spend(store, Guarded.LOGIN, CALLER)) is None


def test_callers_are_counted_apart(store: MemoryEphemeral) -> None:
    while refused(spend(store, Guarded.REGISTER, CALLER)) is None:
        pass
    assert refused(spend(store, Guarded.REGISTER, Caller(address="192.0.2.2"))) is None


def test_who_is_unknown_shares_one_counter_that_nobody_can_claim(store: MemoryEphemeral) -> None:
    while refused(spend(store, Guarded.REGISTER, Caller())) is None:
        pass
    assert refused(spend(store, Guarded.REGISTER, Caller(name="x"))) is not None
    assert refused(spend(store, Guarded.REGISTER, Caller(address="unknown"))) is None


def test_a_limit_that_refuses_spares_the_next_one(store: MemoryEphemeral) -> None:
    while refused(spend(store, Guarded.RESET_ASK, Caller(address="192.0.2.1", name=str(len(store.calls))))) is None:
        pass
    assert len(spend(store, Guarded.RESET_ASK, CALLER)) == 1
    assert [refused(spend(store, Guarded.RESET_ASK, Caller(address="192.0.2.2", name=CALLER.name))) for _ in range(3)] == [
        None
    ] * 3


@pytest.mark.parametrize("guarded", sorted(set(Guarded) - OPEN_WHEN_AWAY))
def test_identity_is_closed_while_the_store_is_away(store: MemoryEphemeral, guarded: Guarded) -> None:
    store.away = True
    with pytest.raises(Retryable):
        spend(store, guarded, CALLER)


@pytest.mark.parametrize("guarded", sorted(OPEN_WHEN_AWAY))
def test_the_rest_stays_open_and_says_so(store: MemoryEphemeral, guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    store.away = True
    with caplog.at_level("WARNING", ratelimits.log.name):
        spent = spend(store, guarded, CALLER)
    assert refused(spent) is None
    assert headers(spent) == {}
    assert f"The rate limit {guarded} is not counted" in caplog.text
    assert "192.0.2.1" not in caplog.text


# What answers tell


def test_an_answer_tells_what_is_left(store: MemoryEphemeral) -> None:
    spend(store, Guarded.REGISTER, CALLER)
    assert headers(spend(store, Guarded.REGISTER, CALLER)) == {
        "RateLimit-Policy": '"register-by-address";q=10;w=3600',
        "RateLimit": '"register-by-address";r=3;t=1200',
        "RateLimit-Limit": "10",
        "RateLimit-Remaining": "3",
        "RateLimit-Reset": "1200",
    }


def test_a_refusal_tells_when_to_come_back(store: MemoryEphemeral) -> None:
    answers = [spend(store, Guarded.REGISTER, CALLER) for _ in range(6)]
    assert [refused(spent) for spent in answers] == [None] * 5 + [600]
    told = headers(answers[-1])
    assert told["Retry-After"] == "600"
    assert told["RateLimit-Remaining"] == "0"
    assert int(told["RateLimit-Reset"]) >= int(told["Retry-After"])
    assert all("Retry-After" not in headers(spent) for spent in answers[:-1])


def test_answers_do_not_tell_whether_others_try_the_same_name(store: MemoryEphemeral) -> None:
    quiet = headers(spend(store, Guarded.RESET_ASK, Caller(address="192.0.2.1", name="quiet@example.org")))
    for n in range(2):
        spend(store, Guarded.RESET_ASK, Caller(address=f"198.51.100.{n}", name="busy@example.org"))
    assert headers(spend(store, Guarded.RESET_ASK, Caller(address="192.0.2.2", name="busy@example.org"))) == quiet


def test_a_refusal_by_name_tells_only_when_to_come_back(store: MemoryEphemeral) -> None:
    for n in range(3):
        spend(store, Guarded.RESET_ASK, Caller(address=f"198.51.100.{n}", name="ada@example.org"))
    spent = spend(store, Guarded.RESET_ASK, CALLER)
    assert headers(spent)["Retry-After"] == str(refused(spent)) == "3600"
    assert "name" not in str(headers(spent))


def test_a_limit_by_name_alone_tells_nothing_until_it_refuses() -> None:
    assert headers(()) == {}
