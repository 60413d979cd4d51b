"""Without a mail server the letter is in the log, and nothing in the log lets anybody in."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.adapters.mail.logged import LoggedMail, redacted
from auricle.ports.mail import Message

TOKEN = "q7Yw2mK9xB4vN8sT1dF6hJ3kL5pR0cZa_-eG"
TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=24, max_size=80)


@pytest.mark.parametrize(
    "link",
    [
        f"https://vault.example.org/reset?token={TOKEN}",
        f"https://vault.example.org/reset/{TOKEN}",
        f"https://vault.example.org/reset#{TOKEN}",
        f"http://127.0.0.1:8080/i/{TOKEN}",
        f"https://user:{TOKEN}@vault.example.org/",
        f"<a href='https://vault.example.org/{TOKEN}'>here</a>",
        f"HTTPS://vault.example.org/{TOKEN}",
        f"auricle://open/{TOKEN}",
        f"Your code: {TOKEN}",
        "https://vault.example.org/r?t=short",
    ],
)
def test_neither_links_nor_keys_reach_the_log(link: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        LoggedMail().send(Message(to="ann@example.org", subject="Reset", text=f"Hello\n{link}\nBye", html=link, key="k"))
    assert TOKEN not in caplog.text
    assert "t=short" not in caplog.text
    assert "Bye" in caplog.text
    assert len(caplog.records) == 1


def test_the_log_says_what_the_letter_was_and_to_whom_roughly(caplog: pytest.LogCaptureFixture) -> None:
    text = f"Set a new password: https://vault.example.org/reset?token={TOKEN} (one hour)."
    LoggedMail().send(Message(to="ann@example.org", subject="Reset your password", text=text, html="", key="k"))
    assert "Reset your password" in caplog.text
    assert "a…@example.org" in caplog.text
    assert "ann@" not in caplog.text
    assert "https://vault.example.org/[left out]" in caplog.text
    assert "(one hour)." in caplog.text


@given(st.text(max_size=30), TOKENS, st.sampled_from(["/", "?t=", "#", "/a/b?c=d&t="]), st.text(max_size=30))
def test_a_key_in_a_link_never_survives(before: str, token: str, way: str, after: str) -> None:
    assert token not in redacted(f"{before} https://vault.example.org{way}{token} {after}")


@given(st.text())
def test_redacting_is_total_and_leaves_plain_words(text: str) -> None:
    assert "meeting" in redacted("meeting " + text)
