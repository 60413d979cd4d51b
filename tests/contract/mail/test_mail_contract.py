"""What everything that takes letters has in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import Invalid
from auricle.ports.mail import Mail, Message


def letter(key: str = "reset-1", **more: str) -> Message:
    return Message(
        **{"to": "ann@example.org", "subject": key, "text": "Hello Ann\n", "html": "<p>Hello Ann</p>", "key": key} | more
    )


def test_letters_are_taken_one_after_another(post: tuple[Mail, Callable[[], list[str]]]) -> None:
    mail, taken = post
    for key in ("one", "two", "three"):
        mail.send(letter(key))
    assert taken() == ["one", "two", "three"]


def test_letters_in_any_writing_are_taken(post: tuple[Mail, Callable[[], list[str]]]) -> None:
    mail, taken = post
    mail.send(letter("k", subject="Grüße 你好", text="Zeile\n.\n" + "long " * 400 + "ünï 你好", html="<p>你好</p>"))
    assert len(taken()) == 1


@pytest.mark.parametrize(
    "to",
    [
        "ann@example.org\r\nBcc: all@example.org",
        "ann@example.org\nBcc: all@example.org",
        "ann@example.org, bob@example.org",
        "ann@example.org;bob@example.org",
        "Ann <ann@example.org>",
        "ann@example.org>",
        "ann",
        "ann@",
        "@example.org",
        "ann@@example.org",
        '"ann bob"@example.org',
        "ann@example.org ",
        " ann@example.org",
        "ann@exam ple.org",
        "ann@[127.0.0.1]",
        "ann@example..org",
        ".ann@example.org",
        "ann\x00@example.org",
        "=?utf-8?q?ann?=@example.org",
        "a" * 250 + "@example.org",
        "",
    ],
)
def test_whoever_is_no_single_address_gets_no_letter(to: str) -> None:
    with pytest.raises(Invalid, match="address"):
        letter(to=to)


@pytest.mark.parametrize(
    "subject",
    ["Hello\r\nBcc: all@example.org", "Hello\nX: y", "Hello\rX: y", "Hello\u2028X", "Hello\x85X", "", "  ", "x" * 201],
)
def test_a_subject_is_one_line(subject: str) -> None:
    with pytest.raises(Invalid, match="subject"):
        letter(subject=subject)


@pytest.mark.parametrize("key", ["", "a b", "a\r\nX: y", "<a>", "a@b", "a" * 101, "-a"])
def test_a_key_is_a_plain_word(key: str) -> None:
    with pytest.raises(Invalid, match="key"):
        letter(key=key, subject="s")


@given(st.text(st.characters(codec="ascii"), max_size=30), st.text(max_size=30))
def test_no_letter_that_can_be_made_has_a_line_break_in_a_header(to: str, subject: str) -> None:
    try:
        made = letter(to=to + "@example.org", subject=subject)
    except Invalid:
        return
    assert len((made.to + made.subject).splitlines()) == 1
    assert made.to.count("@") == 1
