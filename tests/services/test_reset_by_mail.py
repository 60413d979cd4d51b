"""A lost password, from the question to the new sign-in, with the letter through a real SMTP server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.admin.configuration.actions import Configuration
from auricle.identity.accounts.model import MAIL, MailSecurity, MailServer
from builders import smtp_server
from builders.house import House
from builders.newcomers import OTHER, OWNER, from_somewhere, sign_in, vault
from builders.smtp_server import Authority, Letter, SmtpServer

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),  # TLS is there from the first byte
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
]
SENDER = "auricle@vault.example"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return smtp_server.authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(ours: Authority) -> Iterator[SmtpServer]:
    """STARTTLS and a password."""
    with smtp_server.running(ours.context("127.0.0.1"), passwords=True) as found:
        yield found


@pytest.fixture(scope="module")
def home(database_url: str, server: SmtpServer, ours: Authority) -> Iterator[House]:
    told = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "smtp_from": SENDER, "smtp_ca_file": str(ours.file)}
    secret = {"smtp_username": smtp_server.USER, "smtp_password": smtp_server.PASSWORD}
    with vault(database_url, **told, **secret) as made:
        yield made


def asked(home: House, server: SmtpServer) -> Letter:
    """The letter that comes of asking for a reset."""
    before = len(server.letters)
    assert from_somewhere(home, "POST", "/api/password-reset", {"email": OWNER}).status_code == 202
    home.settle()
    (letter,) = server.letters[before:]
    return letter


def test_a_password_is_reset_by_mail(home: House, server: SmtpServer) -> None:
    letter = asked(home, server)
    assert (letter.sender, letter.recipients, letter.encrypted, letter.user) == (SENDER, [OWNER], True, smtp_server.USER)
    text = letter.message.get_body(("plain",))
    assert text is not None
    found = re.search(r"http://127\.0\.0\.1:8787/reset-password#token=(aurreset_[\w-]+)", text.get_content())
    assert found is not None
    chosen = {"token": found[1], "password": OTHER}
    assert from_somewhere(home, "POST", "/api/password-reset/complete", chosen).status_code == 204
    assert sign_in(home, OWNER, OTHER).status_code == 201
    home.settle()
    assert "was changed" in server.letters[-1].message["Subject"]


def test_what_administrators_set_comes_before_the_environment(
    home: House, server: SmtpServer, ours: Authority, tmp_path: Path
) -> None:
    with smtp_server.running(ours.context("127.0.0.1"), implicit=True, passwords=True) as other:
        chosen = MailServer(
            host="127.0.0.1", port=other.port, security=MailSecurity.TLS, username=smtp_server.USER, sender="set@vault.example"
        )
        configuration: Configuration = home.bound.wiring.provide(Configuration)
        with home.bound.wiring.database.work() as db:
            configuration.put(db, MAIL, chosen, smtp_server.PASSWORD, None, expected=None)
        before = len(server.letters)
        assert asked(home, other).sender == "set@vault.example"
        assert len(server.letters) == before
