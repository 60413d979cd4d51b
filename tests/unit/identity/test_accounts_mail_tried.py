"""Trying the mail server: whoever asks gets a letter, or reads why not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auricle.errors import Permanent
from auricle.ports.mail import Mail
from builders.house import House
from builders.mail import MemoryMail
from builders.newcomers import OWNER, bearer, vault


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with vault(database_url, smtp_host="mail.vault.example", smtp_from="auricle@vault.example") as made:
        yield made


@pytest.fixture
def mail(home: House) -> MemoryMail:
    made = MemoryMail()
    home.bound.wiring.__dict__["_ports"][Mail] = made
    return made


def test_whoever_tries_the_mail_server_gets_a_letter(home: House, mail: MemoryMail) -> None:
    report = home.ask("POST", "/api/settings/mail/test", **bearer(home))
    assert report["works"]
    assert [letter.subject for letter in mail.to(OWNER)] == ["Letters from 127.0.0.1:8787 arrive"]


def test_what_the_mail_server_refuses_is_said(home: House, mail: MemoryMail) -> None:
    mail.trouble = Permanent("The mail server mail.vault.example does not take our password. Correct it.")
    report = home.ask("POST", "/api/settings/mail/test", **bearer(home))
    assert not report["works"]
    assert "does not take our password" in report["findings"][0]["sentence"]


def test_without_a_server_that_is_said(home: House, mail: MemoryMail) -> None:
    mine = bearer(home)
    home.ask("PUT", "/api/settings/mail", {"value": {"host": ""}}, If_Match='"0"', **mine)
    report = home.ask("POST", "/api/settings/mail/test", **mine)
    assert not report["works"]
    assert "no mail server" in report["findings"][0]["sentence"]
