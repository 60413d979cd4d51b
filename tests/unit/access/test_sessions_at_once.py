"""Many sessions of one person: who makes room for whom."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from auricle.access.model import PrincipalId
from auricle.access.sessions import (
    Client,
    Factor,
    Limits,
    Proof,
    Session,
    SessionId,
    WhenFull,
    Why,
    admit,
    begin,
    end,
    refresh_secret,
)
from auricle.errors import Conflict

NOW = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIMITS = Limits(idle=12 * HOUR, absolute=30 * DAY, concurrent=3)


def began(now: datetime, id: int) -> Session:
    session, _ = begin(
        SessionId(UUID(int=id)),
        PrincipalId(UUID(int=7)),
        epoch=0,
        proofs=(Proof(Factor.PASSWORD, now),),
        client=Client("Firefox on Linux", "192.0.2.1", "laptop"),
        secret=refresh_secret(id.to_bytes(32)),
        limits=LIMITS,
        now=now,
    )
    return session


def several(count: int) -> list[Session]:
    return [began(NOW + n * MINUTE, n + 1) for n in range(count)]


def test_the_oldest_session_makes_room() -> None:
    sessions = several(3)
    at = NOW + HOUR
    ended = admit(sessions, epoch=0, limits=LIMITS, now=at)
    assert [session.id for session in ended] == [sessions[0].id]
    assert ended[0].ended is not None
    assert ended[0].ended.why is Why.CROWDED
    assert admit(several(2), epoch=0, limits=LIMITS, now=at) == ()


def test_a_limit_that_was_lowered_ends_as_many_as_it_takes() -> None:
    one = Limits(concurrent=1)
    assert len(admit(several(5), epoch=0, limits=one, now=NOW + HOUR)) == 5


def test_the_new_session_is_refused_where_the_policy_says_so() -> None:
    full = Limits(concurrent=2, when_full=WhenFull.NEW_REFUSED)
    with pytest.raises(Conflict, match="2 times"):
        admit(several(2), epoch=0, limits=full, now=NOW + HOUR)
    assert admit(several(1), epoch=0, limits=full, now=NOW + HOUR) == ()


def test_sessions_that_are_over_take_no_place_and_are_written_off() -> None:
    full = Limits(concurrent=2, when_full=WhenFull.NEW_REFUSED)
    idle, out = several(2)
    out = end(out, Why.SIGNED_OUT, NOW)
    ended = admit([idle, out], epoch=0, limits=full, now=NOW + DAY)
    assert [(session.id, session.ended and session.ended.why) for session in ended] == [(idle.id, Why.IDLE)]
    assert len(admit(several(3), epoch=1, limits=full, now=NOW + HOUR)) == 3
