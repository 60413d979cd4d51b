"""Sessions: how they begin, go on and end, by hand."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from auricle.access.model import TOKEN_PREFIX, PrincipalId, digest
from auricle.access.sessions import (
    GRACE,
    REFRESH_LIFE,
    SECOND_FACTORS,
    SEEN_EVERY,
    STRICT,
    Client,
    Factor,
    Limits,
    Outcome,
    Proof,
    Refresh,
    Session,
    SessionId,
    Turn,
    Why,
    begin,
    end,
    fresh_factor,
    over,
    refresh_secret,
    renew,
    saw,
    succeed,
)
from auricle.errors import Conflict

NOW = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
USER = PrincipalId(UUID(int=7))
LIMITS = Limits(idle=12 * HOUR, absolute=30 * DAY, concurrent=3)
LAPTOP = Client("Firefox on Linux", "192.0.2.1", "laptop")
PHONE = Client("Safari on iPhone", "198.51.100.9", "phone")
FIRST = refresh_secret(bytes(32))


def began(now: datetime = NOW, limits: Limits = LIMITS, secret: str = FIRST, id: int = 1) -> tuple[Session, Refresh]:
    return begin(
        SessionId(UUID(int=id)),
        USER,
        epoch=0,
        proofs=(Proof(Factor.PASSWORD, now),),
        client=LAPTOP,
        secret=secret,
        limits=limits,
        now=now,
    )


def renewed(
    session: Session,
    presented: Refresh,
    live: Refresh | None,
    secret: str,
    now: datetime,
    client: Client = LAPTOP,
    salt: bytes = b"s" * 32,
    epoch: int = 0,
    limits: Limits = LIMITS,
) -> Outcome:
    return renew(session, presented, live, secret, client=client, salt=salt, epoch=epoch, limits=limits, now=now)


def once(now: datetime = NOW + MINUTE) -> tuple[Outcome, Refresh, Refresh, str]:
    """A session after one renewal: the outcome, the spent row, the live row, the live secret."""
    session, first = began()
    outcome = renewed(session, first, first, FIRST, now)
    assert outcome.spent is not None
    assert outcome.made is not None
    assert outcome.secret is not None
    return outcome, outcome.spent, outcome.made, outcome.secret


# Renewing


def test_a_renewal_replaces_the_token_and_notes_the_use() -> None:
    outcome, spent, made, secret = once()
    assert outcome.turn is Turn.RENEWED
    assert spent.spent is not None
    assert spent.spent.successor == made.digest == digest(secret)
    assert made.spent is None
    assert outcome.session.seen == NOW + MINUTE
    assert not outcome.alert


def test_tokens_are_random_long_and_recognisable() -> None:
    session, first = began()
    secrets = {renewed(session, first, first, FIRST, NOW, salt=bytes([n]) * 32).secret for n in range(50)}
    assert len(secrets) == 50
    for secret in secrets:
        assert secret is not None
        assert secret.startswith("aurr_")
        assert not secret.startswith(TOKEN_PREFIX)
        assert len(secret) == 5 + 43  # 256 bits


@pytest.mark.parametrize("random", [b"", b"short", bytes(31), bytes(33)])
def test_too_little_randomness_is_a_mistake(random: bytes) -> None:
    session, first = began()
    with pytest.raises(ValueError):
        refresh_secret(random)
    with pytest.raises(ValueError):
        renewed(session, first, first, FIRST, NOW, salt=random)


def test_only_digests_are_stored() -> None:
    outcome, spent, made, secret = once()
    assert FIRST not in repr((outcome.session, spent, made))
    assert secret not in repr((outcome.session, spent, made))


def test_the_next_token_cannot_be_made_from_what_is_stored_alone() -> None:
    """A reader of the database has salt and digests; without the token before they make nothing."""
    _, spent, made, _ = once()
    assert spent.spent is not None

    for known in (spent.digest, made.digest, spent.digest.hex().encode(), b""):
        guess = refresh_secret(hmac.digest(spent.spent.salt, b"auricle refresh\0" + known, hashlib.sha256))
        assert digest(guess) != made.digest


def test_a_refresh_token_lives_thirty_days_and_no_longer_than_its_session() -> None:
    assert began()[1].ends == NOW + 30 * DAY
    assert began(limits=STRICT)[1].ends == NOW + 12 * HOUR
    year = Limits(idle=90 * DAY, absolute=365 * DAY)
    session, first = began(limits=year)
    assert first.ends == NOW + REFRESH_LIFE
    late = renewed(session, first, first, FIRST, first.ends, limits=year)
    assert (late.turn, late.session.ended and late.session.ended.why) == (Turn.OVER, Why.TOKEN_EXPIRED)
    in_time = renewed(session, first, first, FIRST, first.ends - SECOND, limits=year)
    assert in_time.turn is Turn.RENEWED


def test_a_browser_that_was_updated_stays_signed_in_and_is_listed_as_it_is_now() -> None:
    session, first = began()
    outcome = renewed(session, first, first, FIRST, NOW + DAY / 4, client=PHONE)
    assert outcome.turn is Turn.RENEWED
    assert outcome.session.client == PHONE


def test_rows_that_do_not_belong_together_are_a_mistake() -> None:
    session, first = began()
    other, others = began(secret=refresh_secret(bytes([1]) * 32), id=2)
    for wrong in ((session, others, FIRST), (other, first, FIRST), (session, first, "aurr_guess")):
        with pytest.raises(ValueError):
            renewed(wrong[0], wrong[1], wrong[1], wrong[2], NOW)


# Reuse


@pytest.mark.parametrize("passed", [GRACE + SECOND, HOUR])
def test_refresh_family_reuse_ends_the_session_and_alerts(passed: timedelta) -> None:
    outcome, spent, live, _ = once()
    at = NOW + MINUTE + passed
    reused = renewed(outcome.session, spent, live, FIRST, at)
    assert reused.turn is Turn.REUSED
    assert reused.alert
    assert reused.session.ended is not None
    assert reused.session.ended.why is Why.REUSE
    assert reused.secret is None
    assert reused.made is None


def test_refresh_family_reuse_ends_the_thief_and_the_owner_alike() -> None:
    outcome, spent, live, secret = once()
    reused = renewed(outcome.session, spent, live, FIRST, NOW + HOUR)
    after = renewed(reused.session, live, live, secret, NOW + HOUR)
    assert (after.turn, after.secret, after.alert) == (Turn.OVER, None, False)


def test_refresh_family_reuse_within_the_grace_by_another_client() -> None:
    outcome, spent, live, _ = once()
    assert renewed(outcome.session, spent, live, FIRST, NOW + MINUTE + SECOND, client=PHONE).turn is Turn.REUSED


def test_two_tabs_get_the_same_token_and_nothing_new_is_stored() -> None:
    outcome, spent, live, secret = once()
    for passed in (timedelta(0), SECOND, GRACE, -SECOND):  # another pod's clock may be behind
        again = renewed(outcome.session, spent, live, FIRST, NOW + MINUTE + passed, salt=b"other" + bytes(27))
        assert again.turn is Turn.REPEATED
        assert again.secret == secret
        assert (again.made, again.spent) == (None, None)
        assert again.session == outcome.session


def test_a_lost_answer_is_told_again_and_the_session_goes_on() -> None:
    outcome, spent, live, _ = once()
    again = renewed(outcome.session, spent, live, FIRST, NOW + MINUTE + 5 * SECOND)
    assert again.secret is not None
    assert renewed(again.session, live, live, again.secret, NOW + HOUR).turn is Turn.RENEWED


def test_a_thief_within_the_grace_is_found_when_the_token_is_used_next() -> None:
    """Both hold the same token then: one uses it, the other's use is a reuse."""
    outcome, spent, live, secret = once()
    stolen = renewed(outcome.session, spent, live, FIRST, NOW + MINUTE + SECOND).secret
    assert stolen == secret
    thief = renewed(outcome.session, live, live, secret, NOW + HOUR, salt=b"t" * 32)
    assert thief.spent is not None
    owner = renewed(thief.session, thief.spent, thief.made, secret, NOW + HOUR + MINUTE)
    assert owner.turn is Turn.REUSED


def test_a_token_replaced_twice_within_the_grace_gives_nothing_and_ends_nothing() -> None:
    outcome, spent, live, secret = once()
    second = renewed(outcome.session, live, live, secret, NOW + MINUTE + SECOND)
    stale = renewed(second.session, spent, second.made, FIRST, NOW + MINUTE + 2 * SECOND)
    assert (stale.turn, stale.secret, stale.session.ended) == (Turn.STALE, None, None)


# Limits


def test_an_idle_session_ends() -> None:
    session, first = began()
    assert over(session, epoch=0, limits=LIMITS, now=NOW + 12 * HOUR - SECOND) is None
    assert over(session, epoch=0, limits=LIMITS, now=NOW + 12 * HOUR) is Why.IDLE
    outcome = renewed(session, first, first, FIRST, NOW + 12 * HOUR)
    assert (outcome.turn, outcome.secret) == (Turn.OVER, None)
    assert outcome.session.ended is not None
    assert outcome.session.ended.why is Why.IDLE


def test_use_keeps_a_session_from_being_idle_but_not_from_being_old() -> None:
    session, _ = began(limits=STRICT)
    at = NOW
    while over(session, epoch=0, limits=STRICT, now=at) is None:
        session = saw(session, at)
        at += 10 * MINUTE
    assert over(session, epoch=0, limits=STRICT, now=at) is Why.TOO_OLD
    assert at == NOW + 12 * HOUR


def test_renewing_never_moves_the_absolute_end() -> None:
    session, live = began(limits=STRICT)
    secret, at = FIRST, NOW
    while True:
        at += 14 * MINUTE
        outcome = renewed(session, live, live, secret, at, limits=STRICT)
        if outcome.turn is Turn.OVER:
            break
        assert outcome.made is not None
        assert outcome.secret is not None
        session, live, secret = outcome.session, outcome.made, outcome.secret
        assert session.ends == NOW + 12 * HOUR
        assert live.ends <= session.ends
    assert at - NOW == timedelta(minutes=14 * 52)  # the first multiple beyond 12 hours
    assert outcome.session.ended is not None
    assert outcome.session.ended.why is Why.TOO_OLD


def test_limits_that_were_tightened_hold_for_sessions_that_exist_and_loosened_ones_do_not() -> None:
    session, _ = began()
    at = NOW + 13 * HOUR
    assert over(saw(session, at), epoch=0, limits=LIMITS, now=at) is None
    assert over(saw(session, at), epoch=0, limits=STRICT, now=at) is Why.TOO_OLD
    short, _ = began(limits=STRICT)
    assert over(saw(short, at), epoch=0, limits=LIMITS, now=at) is Why.TOO_OLD


@pytest.mark.parametrize(
    ("idle", "absolute", "concurrent"), [(MINUTE, DAY, 1), (timedelta(0), DAY, 1), (2 * DAY, DAY, 1), (HOUR, DAY, 0)]
)
def test_limits_that_make_no_sense_are_refused(idle: timedelta, absolute: timedelta, concurrent: int) -> None:
    with pytest.raises(ValueError):
        Limits(idle=idle, absolute=absolute, concurrent=concurrent)


def test_last_seen_is_exact_to_the_minute_and_never_goes_back() -> None:
    session, _ = began()
    assert saw(session, NOW + SEEN_EVERY - SECOND) is session
    assert saw(session, NOW + SEEN_EVERY).seen == NOW + SEEN_EVERY
    assert saw(session, NOW - HOUR) is session


# Ending


def test_what_has_ended_stays_ended_for_its_first_reason() -> None:
    session = end(began()[0], Why.SIGNED_OUT, NOW)
    assert end(session, Why.REUSE, NOW + HOUR) is session
    assert saw(session, NOW + HOUR) is session
    assert over(session, epoch=0, limits=LIMITS, now=NOW) is Why.SIGNED_OUT
    with pytest.raises(Conflict):
        succeed(session, SessionId(uuid4()), secret=FIRST, epoch=0, proof=None, client=LAPTOP, now=NOW)


def test_a_new_epoch_ends_the_sessions_of_the_old() -> None:
    session, first = began()
    for epoch in (1, 5, -1):
        assert over(session, epoch=epoch, limits=LIMITS, now=NOW) is Why.AUTHORITY
        assert renewed(session, first, first, FIRST, NOW, epoch=epoch).turn is Turn.OVER


def test_a_change_of_password_keeps_the_session_that_made_it_and_ends_the_others() -> None:
    mine, _ = began()
    other, _ = began(secret=refresh_secret(bytes([1]) * 32), id=2)
    secret = refresh_secret(bytes([2]) * 32)
    step = succeed(mine, SessionId(UUID(int=3)), secret=secret, epoch=1, proof=None, client=LAPTOP, now=NOW + HOUR)
    assert renewed(step.session, step.refresh, step.refresh, secret, NOW + HOUR, epoch=1).turn is Turn.RENEWED
    assert over(other, epoch=1, limits=LIMITS, now=NOW + HOUR) is Why.AUTHORITY
    assert over(step.ended, epoch=1, limits=LIMITS, now=NOW + HOUR) is Why.REPLACED


# Fixation


def test_session_fixation_signing_in_never_takes_up_what_was_there() -> None:
    """Whatever an attacker planted before the sign-in, id or token, is not what the session goes by after it."""
    planted, row = began()
    session, refresh = began(secret=refresh_secret(bytes([9]) * 32), id=2)
    assert session.id != planted.id
    assert refresh.digest != row.digest
    with pytest.raises(ValueError):
        renewed(session, row, refresh, FIRST, NOW)


def test_session_fixation_a_step_up_leaves_copies_of_the_old_session_behind() -> None:
    session, first = began()
    new = refresh_secret(bytes([4]) * 32)
    proof = Proof(Factor.TOTP, NOW + HOUR)
    step = succeed(session, SessionId(UUID(int=3)), secret=new, epoch=0, proof=proof, client=LAPTOP, now=NOW + HOUR)
    assert step.session.id != session.id
    assert step.session.ends == session.ends
    assert fresh_factor(step.session, NOW + HOUR)
    assert not fresh_factor(step.ended, NOW + HOUR)
    assert renewed(step.ended, first, first, FIRST, NOW + HOUR).turn is Turn.OVER


def test_a_session_does_not_begin_without_a_factor() -> None:
    with pytest.raises(ValueError):
        begin(SessionId(uuid4()), USER, epoch=0, proofs=(), client=LAPTOP, secret=FIRST, limits=LIMITS, now=NOW)


# Step-up


def test_a_factor_is_fresh_for_ten_minutes() -> None:
    session, _ = began()
    step = succeed(
        session, SessionId(uuid4()), secret=FIRST, epoch=0, proof=Proof(Factor.TOTP, NOW), client=LAPTOP, now=NOW
    ).session
    assert fresh_factor(step, NOW)
    assert fresh_factor(step, NOW + 10 * MINUTE - SECOND)
    assert not fresh_factor(step, NOW + 10 * MINUTE)
    assert not fresh_factor(step, NOW - MINUTE)  # a proof from the future proves nothing


@pytest.mark.parametrize("factor", Factor)
def test_only_second_factors_step_up_unless_the_caller_says_otherwise(factor: Factor) -> None:
    session, _ = began()
    step = succeed(session, SessionId(uuid4()), secret=FIRST, epoch=0, proof=Proof(factor, NOW), client=LAPTOP, now=NOW).session
    assert fresh_factor(step, NOW) is (factor in SECOND_FACTORS)
    assert fresh_factor(step, NOW, factors={factor})


def test_the_latest_showing_of_a_factor_is_the_one_that_counts() -> None:
    session, _ = began()
    for at in (NOW, NOW + HOUR):
        session = succeed(
            session, SessionId(uuid4()), secret=FIRST, epoch=0, proof=Proof(Factor.TOTP, at), client=LAPTOP, now=at
        ).session
    assert [proof.factor for proof in session.proofs] == [Factor.PASSWORD, Factor.TOTP]
    assert fresh_factor(session, NOW + HOUR)
