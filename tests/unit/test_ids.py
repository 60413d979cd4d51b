"""Ids sort by creation."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from auricle.contract.ids import uuid7


def test_ids_of_one_process_sort_in_the_order_of_their_making(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = [uuid7() for _ in range(5_000)]  # many to a millisecond
    before = time.time_ns() - 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: before)  # the clock is set back an hour
    made = [*fast, *(uuid7() for _ in range(100))]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(8) as threads:
        made = [id for ids in threads.map(lambda _: [uuid7() for _ in range(1_000)], range(8)) for id in ids]
    assert len(set(made)) == len(made)


def test_an_id_is_a_version_7_of_rfc_9562_and_says_when() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
