"""What an answer means, and how long the next try waits."""

from __future__ import annotations

import pytest

from auricle.runtime.local.broker import verdict, wire
from auricle.runtime.local.broker.verdict import Answer, Failure
from auricle.runtime.local.plan import Backoff, Delivery

EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}


@pytest.mark.parametrize("status", range(100, 600))
def test_a_status_is_done_retried_or_final(status: int) -> None:
    result = verdict.judge(Answer(status, {}, b""))
    if 200 <= status < 300:
        assert result is None
    else:
        assert isinstance(result, Failure)
        assert result.final == (status < 500 and status not in (404, 408, 409, 429))


def test_a_reply_is_an_event_with_or_without_data() -> None:
    for status, body in ((200, b"{}"), (202, b"{}"), (204, b"")):
        result = verdict.judge(Answer(status, EVENT, body))
        assert isinstance(result, wire.Event)
        assert result.data == body


def test_an_error_that_carries_an_event_is_still_an_error() -> None:
    assert verdict.judge(Answer(500, EVENT, b"{}")) == Failure(500, b"{}")


def test_a_body_without_an_event_is_a_failure_worth_retrying() -> None:
    result = verdict.judge(Answer(200, {"content-type": "text/html"}, b"OK"))
    assert isinstance(result, Failure)
    assert (result.code, result.final) == (502, False)
    assert result.detail.endswith(b"OK")


def test_quotes_are_short_and_keep_no_secrets() -> None:
    result = verdict.judge(Answer(422, {}, b"GET https://s3/a?X-Amz-Signature=abc failed \xff" + b"x" * 10_000))
    assert isinstance(result, Failure)
    assert b"abc" not in result.detail
    assert b" failed \xff" in result.detail
    assert len(result.detail) < 2000


def test_backoff_is_d_times_2_to_the_n_or_d_times_n() -> None:
    exponential, linear = Delivery(delay=0.5), Delivery(delay=0.5, backoff=Backoff.LINEAR)
    assert [verdict.backoff(exponential, n) for n in range(5)] == [0.5, 1, 2, 4, 8]
    assert [verdict.backoff(linear, n) for n in range(4)] == [0, 0.5, 1.0, 1.5]


def test_dead_letters_never_spin_and_never_wait_longer_than_a_minute() -> None:
    waits = [verdict.dead_letter_wait(Delivery(delay=delay), n) for delay in (0.0, 1.0, 90.0) for n in (0, 1, 10, 10_000)]
    assert all(verdict.LOSS_WAIT <= wait <= 60 for wait in waits)
