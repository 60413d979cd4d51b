"""A client's fingerprint and its name."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.access.fingerprint import device, fingerprint, same_client

SALT = UUID(int=1)
WORDS = st.text(max_size=60)


@given(WORDS, WORDS, WORDS, WORDS, st.uuids(), st.uuids())
def test_only_the_same_headers_with_the_same_salt_are_the_same_client(
    agent: str, language: str, other_agent: str, other_language: str, salt: UUID, other_salt: UUID
) -> None:
    made = fingerprint(agent, language, salt)
    same = (agent, language, salt) == (other_agent, other_language, other_salt)
    assert same_client(made, agent, language, salt)
    assert same_client(made, other_agent, other_language, other_salt) is same


@given(WORDS, st.integers(0, 60))
def test_where_one_header_ends_and_the_other_begins_counts(both: str, at: int) -> None:
    made = fingerprint(both[:at], both[at:], SALT)
    for other in range(len(both) + 1):
        assert same_client(made, both[:other], both[other:], SALT) is (other == min(at, len(both)))


def test_two_tokens_of_one_client_do_not_show_that_they_are() -> None:
    assert fingerprint("Firefox", "de", UUID(int=1)) != fingerprint("Firefox", "de", UUID(int=2))


@pytest.mark.parametrize("strange", ["\udcff", "ä", "\x00", "x" * 100_000, ""])
def test_any_header_has_a_fingerprint(strange: str) -> None:
    assert len(fingerprint(strange, strange, SALT)) == 43


@pytest.mark.parametrize("expected", ["", "ä", "short", "=" * 43])
def test_what_is_no_fingerprint_fits_nobody(expected: str) -> None:
    assert not same_client(expected, "", "", SALT)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0 Safari/537.36",
            "Chrome on Windows",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/137.0 Safari/537.36 Edg/137.0", "Edge on Windows"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15",
            "Safari on macOS",
        ),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/137.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("python-httpx/0.28.1", "python-httpx"),
        ("Mozilla/5.0", "Unknown program"),
        ("", "Unknown program"),
        ("<script>alert(1)</script>", "Unknown program"),
    ],
)
def test_devices_have_names_that_people_know(agent: str, name: str) -> None:
    assert device(agent) == name


@given(st.text(max_size=500))
def test_a_devices_name_is_short_and_harmless_whatever_the_client_claims(agent: str) -> None:
    name = device(agent)
    assert 0 < len(name) <= 60
    assert not set(name) & set("<>\"'&\r\n\0")
