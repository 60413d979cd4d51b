"""Letters through a real SMTP server: TLS that holds or nothing, passwords, refusals for now and for good."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.adapters.mail.smtp import Security, SmtpMail
from auricle.errors import Permanent, Retryable
from auricle.ports.mail import Message
from builders import smtp_server
from builders.smtp_server import HANG_UP, PASSWORD, USER, Authority, SmtpServer

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),  # TLS is there from the first byte
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
]
SENDER = "auricle@vault.example.org"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return smtp_server.authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(ours: Authority) -> Iterator[SmtpServer]:
    """STARTTLS and a password."""
    with smtp_server.running(ours.context("127.0.0.1"), passwords=True) as found:
        yield found


def mail(server: SmtpServer, ours: Authority | None, **more: object) -> SmtpMail:
    options: dict[str, object] = {"username": USER, "password": PASSWORD, "seconds": 5.0}
    return SmtpMail("127.0.0.1", server.port, SENDER, ca_file=ours.file if ours else None, **options | more)  # type: ignore[arg-type]


def letter(to: str = "ann@example.org", key: str = "reset-0190a5d2") -> Message:
    text = "Hallo Änn,\n.\nFrom here on: https://vault.example.org/reset?token=abc\n"
    return Message(to=to, subject="Passwort zurücksetzen", text=text, html="<p>Hallo Änn</p>", key=key)


def test_a_letter_arrives_over_starttls_with_a_password(server: SmtpServer, ours: Authority) -> None:
    mail(server, ours).send(letter())
    (got,) = server.letters
    assert (got.sender, got.recipients, got.encrypted, got.user) == (SENDER, ["ann@example.org"], True, USER)
    assert got.message["Subject"] == "Passwort zurücksetzen"
    assert got.message["From"] == f"Auricle <{SENDER}>"
    assert got.message["To"] == "ann@example.org"
    assert got.message["Auto-Submitted"] == "auto-generated"
    assert got.message["Date"].datetime is not None


def test_text_comes_first_and_html_says_the_same(server: SmtpServer, ours: Authority) -> None:
    mail(server, ours).send(letter())
    message = server.letters[0].message
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().replace("\r\n", "\n") == letter().text
    assert html.get_content().strip() == letter().html


def test_the_same_letter_has_the_same_id_and_another_has_another(server: SmtpServer, ours: Authority) -> None:
    post = mail(server, ours)
    for key in ("a-1", "a-1", "a-2"):
        post.send(letter(key=key))
    ids = [got.message["Message-ID"] for got in server.letters]
    assert ids == ["<a-1@vault.example.org>", "<a-1@vault.example.org>", "<a-2@vault.example.org>"]


def test_a_letter_arrives_over_tls_from_the_first_byte(ours: Authority) -> None:
    with smtp_server.running(ours.context("127.0.0.1"), implicit=True, passwords=True) as server:
        mail(server, ours, security=Security.TLS).send(letter())
        assert server.letters[0].user == USER


def test_a_server_without_passwords_is_fine(ours: Authority) -> None:
    with smtp_server.running(ours.context("127.0.0.1")) as server:
        mail(server, ours, username=None, password=None).send(letter())
        assert server.letters[0].encrypted


# Who is not trusted


def test_a_server_without_starttls_gets_nothing() -> None:
    with smtp_server.running(None) as server:
        with pytest.raises(Permanent, match="STARTTLS"):
            mail(server, None, username=None, password=None).send(letter())
        assert server.letters == []


@pytest.mark.parametrize("security", Security)
def test_a_certificate_of_somebody_else_is_refused(ours: Authority, tmp_path: Path, security: Security) -> None:
    theirs = smtp_server.authority(tmp_path)
    with smtp_server.running(theirs.context("127.0.0.1"), implicit=security is Security.TLS) as server:
        for trusted in (ours, None):
            with pytest.raises(Permanent, match="certificate"):
                mail(server, trusted, security=security, username=None, password=None).send(letter())
        assert server.letters == []


@pytest.mark.parametrize(("names", "days"), [(("mail.example.org",), 1), (("127.0.0.2",), 1), (("127.0.0.1",), -1)])
def test_a_certificate_for_another_name_or_time_is_refused(ours: Authority, names: tuple[str, ...], days: int) -> None:
    with smtp_server.running(ours.context(*names, days=days)) as server:
        with pytest.raises(Permanent, match="certificate"):
            mail(server, ours, username=None, password=None).send(letter())
        assert server.letters == []


def test_what_is_said_before_tls_is_forgotten(ours: Authority) -> None:
    """Replies that a man in the middle appends to the answer to STARTTLS are not read as the server's."""
    done = threading.Event()
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail\r\n")
                connection.recv(1000)
                connection.sendall(b"250-mail\r\n250 STARTTLS\r\n")
                connection.recv(1000)
                connection.sendall(b"220 go\r\n250-injected\r\n250 AUTH PLAIN\r\n")
                context = ours.context("127.0.0.1")
                with context.wrap_socket(connection, server_side=True) as secure:
                    seen.append(secure.recv(1000))
                    secure.sendall(b"250 mail\r\n")  # no AUTH: what was injected must not count
                    seen.append(secure.recv(1000))
            done.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises((Permanent, Retryable)):
            SmtpMail("127.0.0.1", listener.getsockname()[1], SENDER, ca_file=ours.file, username=USER, password=PASSWORD).send(
                letter()
            )
        assert done.wait(10)
    assert not any(PASSWORD.encode() in said or b"AUTH" in said for said in seen)


# Refusals


def test_a_wrong_password_is_for_good_and_is_not_repeated(server: SmtpServer, ours: Authority) -> None:
    with pytest.raises(Permanent, match="password") as caught:
        mail(server, ours, password="guess-me").send(letter())
    assert "guess-me" not in str(caught.value)
    assert server.letters == []


def test_a_server_that_takes_no_password_says_so(ours: Authority) -> None:
    with smtp_server.running(ours.context("127.0.0.1")) as server, pytest.raises(Permanent, match="SMTP_USERNAME"):
        mail(server, ours).send(letter())


def test_a_server_that_wants_a_password_and_gets_none_refuses_for_good(server: SmtpServer, ours: Authority) -> None:
    with pytest.raises(Permanent, match="530"):
        mail(server, ours, username=None, password=None).send(letter())


@pytest.mark.parametrize(
    ("to", "error", "code"),
    [
        ("later@example.org", Retryable, "451"),
        ("full@example.org", Retryable, "452"),
        ("nobody@example.org", Permanent, "550"),
        ("spam@example.org", Permanent, "554"),
        ("greylisted@example.org", Retryable, "451"),
    ],
)
def test_refusals_are_for_now_or_for_good(
    server: SmtpServer, ours: Authority, to: str, error: type[Exception], code: str
) -> None:
    with pytest.raises(error, match=code) as caught:
        mail(server, ours).send(letter(to=to))
    assert "example.org" not in str(caught.value)  # what the server said may repeat addresses
    assert server.letters == []


def test_a_connection_that_breaks_off_is_tried_again(server: SmtpServer, ours: Authority) -> None:
    with pytest.raises(Retryable) as caught:
        mail(server, ours).send(letter(to=HANG_UP))
    assert caught.value.delay > 0


def test_a_server_that_is_not_there_is_tried_again(ours: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Retryable, match="away"):
        SmtpMail("127.0.0.1", port, SENDER, ca_file=ours.file, seconds=5).send(letter())


def test_a_host_that_nobody_knows_is_tried_again() -> None:
    with pytest.raises(Retryable, match="away"):
        SmtpMail("mail.invalid", 587, SENDER, seconds=5).send(letter())


def test_a_server_that_says_nothing_is_given_up_in_time(ours: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Retryable):
        SmtpMail("127.0.0.1", silent.getsockname()[1], SENDER, ca_file=ours.file, seconds=0.2).send(letter())


def test_the_next_letter_is_sent_after_one_was_refused(server: SmtpServer, ours: Authority) -> None:
    post = mail(server, ours)
    with pytest.raises(Permanent):
        post.send(letter(to="nobody@example.org"))
    post.send(letter())
    assert len(server.letters) == 1


# What is configured


@pytest.mark.parametrize("sender", ["auricle", "auricle@", "a@x\r\nBcc: all@example.org"])
def test_a_sender_that_is_no_address_is_refused_at_the_start(sender: str) -> None:
    with pytest.raises(ValueError, match="address"):
        SmtpMail("127.0.0.1", 587, sender)


def test_a_user_without_a_password_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="or neither"):
        SmtpMail("127.0.0.1", 587, SENDER, username=USER)


def test_tls_is_never_below_1_2(ours: Authority) -> None:
    context = ours.context("127.0.0.1")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with smtp_server.running(context) as server, pytest.raises((Permanent, Retryable)):
        mail(server, ours, username=None, password=None).send(letter())
