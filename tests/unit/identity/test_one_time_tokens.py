"""Tokens that work once."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from auricle.errors import Invalid
from auricle.identity.onetime import LONGEST, OneTime, Purpose, digest, issue, use

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def refused(kept: OneTime | None, purpose: Purpose, token: str, now: datetime = NOW) -> str:
    with pytest.raises(Invalid) as caught:
        use(kept, purpose, token, now)
    return str(caught.value)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_works_once_within_the_hour(purpose: Purpose) -> None:
    kept, token = issue(purpose, "ada", NOW)
    used = use(kept, purpose, token, NOW + timedelta(minutes=59, seconds=59))
    assert (used.subject, used.digest, used.used_at) == ("ada", kept.digest, NOW + timedelta(minutes=59, seconds=59))
    refused(used, purpose, token)
    refused(used, purpose, token, NOW + timedelta(days=1))


def test_an_hour_later_it_is_over() -> None:
    kept, token = issue(Purpose.RESET, "ada", NOW)
    refused(kept, Purpose.RESET, token, NOW + timedelta(hours=1))


def test_a_token_has_256_random_bits() -> None:
    tokens = [issue(Purpose.RESET, "ada", NOW)[1] for _ in range(100)]
    assert len(set(tokens)) == 100
    for token in tokens:
        word, _, random = token.partition("_")
        assert word == "aurreset"
        assert len(base64.urlsafe_b64decode(random + "=")) == 32


def test_what_is_kept_cannot_be_used(caplog: pytest.LogCaptureFixture) -> None:
    kept, token = issue(Purpose.RESET, "ada", NOW)
    assert token not in repr(kept)
    assert len(kept.digest) == 32
    for shown in (kept.digest.hex(), base64.urlsafe_b64encode(kept.digest).decode(), kept.digest.decode("latin-1")):
        refused(kept, Purpose.RESET, shown)


def test_a_token_of_one_kind_is_none_of_another() -> None:
    kept, token = issue(Purpose.INVITATION, "ada@example.org", NOW)
    assert digest(Purpose.RESET, token) != kept.digest
    refused(kept, Purpose.RESET, token)
    refused(OneTime(purpose=Purpose.RESET, digest=kept.digest, subject="ada", ends=kept.ends), Purpose.RESET, token)
    mislaid = OneTime(purpose=Purpose.RESET, digest=kept.digest, subject="ada", ends=kept.ends)
    refused(mislaid, Purpose.INVITATION, token)


def test_a_row_of_somebody_elses_is_refused_even_if_the_caller_finds_it() -> None:
    kept, _ = issue(Purpose.RESET, "ada", NOW)
    _, other = issue(Purpose.RESET, "bob", NOW)
    refused(kept, Purpose.RESET, other)


def test_unknown_used_and_expired_ones_are_told_apart_by_nobody() -> None:
    kept, token = issue(Purpose.RESET, "ada", NOW)
    used = use(kept, Purpose.RESET, token, NOW)
    said = {
        refused(None, Purpose.RESET, token),
        refused(kept, Purpose.RESET, ""),
        refused(kept, Purpose.RESET, "\ud800" * 1000),
        refused(used, Purpose.RESET, token),
        refused(kept, Purpose.RESET, token, NOW + timedelta(days=2)),
    }
    assert len(said) == 1


@pytest.mark.parametrize("purpose", Purpose)
def test_no_token_lives_longer_than_its_purpose_allows(purpose: Purpose) -> None:
    kept, _ = issue(purpose, "ada", NOW, LONGEST[purpose])
    assert kept.ends == NOW + LONGEST[purpose]
    for life in (LONGEST[purpose] + MINUTE, timedelta(0), -MINUTE):
        with pytest.raises(ValueError, match="lives up to"):
            issue(purpose, "ada", NOW, life)


def test_a_reset_never_lives_longer_than_an_hour() -> None:
    assert LONGEST[Purpose.RESET] == timedelta(hours=1)
