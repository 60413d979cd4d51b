"""Mail by SMTP (RFC 5321) over TLS: never in the clear, never to a server whose certificate does not hold."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from auricle.errors import Permanent, Retryable
from auricle.ports.mail import Message, is_address

WIRE = SMTP.clone(cte_type="7bit")
"""Every byte of a letter fits through every server, 8BITMIME or not."""
SECONDS = 20.0
DELAY = 60.0
"""Seconds until a letter is tried again."""
AWAY = "The mail server at {} is away. The letter is tried again."


class Security(StrEnum):
    """How the connection is protected. There is no third way."""

    STARTTLS = "starttls"  # RFC 3207, usually port 587; a server that does not offer it gets nothing
    TLS = "tls"  # from the first byte (RFC 8314), usually port 465


class SmtpMail:
    """`Mail` through one server. Certificates are verified against `ca_file` (PEM), or what this system trusts."""

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        *,
        sender_name: str = "Auricle",
        security: Security = Security.STARTTLS,
        username: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        seconds: float = SECONDS,
    ) -> None:
        """`sender` is the address in From and of bounces; `seconds` is how long each answer of the server may take.

        `ValueError`: `sender` is no address, or only one of user name and password is given.
        """
        if (username is None) is not (password is None):
            raise ValueError("The mail server takes a user name and a password, or neither.")
        self._host = host
        self._port = port
        if not is_address(sender):
            raise ValueError(f"{sender!r} is no address to send from; it looks like auricle@example.org.")
        self._sender = Address(display_name=sender_name, addr_spec=sender)
        self._security = security
        self._login = (username, password) if username is not None and password is not None else None
        self._ca_file = ca_file
        self._seconds = seconds

    def send(self, message: Message) -> None:
        """Hand `message` to the server; errors as the port says."""
        letter = self.letter(message).as_bytes()  # smtplib's own way writes ">From" where a line begins so
        with self._translated():
            client = self._connected()
            try:
                if self._login is not None:
                    client.login(*self._login)
                client.sendmail(self._sender.addr_spec, [message.to], letter)
            finally:
                # The letter is taken or refused by now; how the farewell goes changes nothing.
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    client.quit()
                client.close()

    def letter(self, message: Message) -> EmailMessage:
        """The letter as it goes over the wire: text first, HTML as its alternative (RFC 2046, 5.1.4)."""
        letter = EmailMessage(policy=WIRE)
        letter["From"] = self._sender
        letter["To"] = Address(addr_spec=message.to)
        letter["Subject"] = message.subject
        letter["Date"] = format_datetime(localtime())
        letter["Message-ID"] = f"<{message.key}@{self._sender.domain}>"
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: holiday notices do not answer
        letter.set_content(message.text)
        letter.add_alternative(message.html, subtype="html")
        return letter

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Verifies chain and name; made once, because it takes 100 ms."""
        context = ssl.create_default_context(cafile=self._ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _connected(self) -> smtplib.SMTP:
        if self._security is Security.TLS:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=self._seconds, context=self._trust)
        client = smtplib.SMTP(self._host, self._port, timeout=self._seconds)
        try:
            client.starttls(context=self._trust)
        except BaseException:
            client.close()
            raise
        return client

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """smtplib's errors as ours. What the server said stays in the cause: it may repeat the address."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise Permanent(
                f"The certificate of the mail server at {self._host} does not hold ({error.verify_message}). "
                "Correct its certificate, or give its CA in SMTP_CA_FILE."
            ) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Permanent(self._missing(error)) from error
        except smtplib.SMTPServerDisconnected as error:
            raise Retryable(AWAY.format(self._host), delay=DELAY) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise self._refused("the recipient", min(code for code, _ in error.recipients.values())) from error
        except smtplib.SMTPAuthenticationError as error:
            raise self._refused("the user name or the password (SMTP_USERNAME, SMTP_PASSWORD)", error.smtp_code) from error
        except smtplib.SMTPSenderRefused as error:
            raise self._refused("the sender (SMTP_FROM)", error.smtp_code) from error
        except smtplib.SMTPResponseException as error:
            raise self._refused("the letter", error.smtp_code) from error
        except smtplib.SMTPException as error:  # none of the ways to sign in that it offers is one of ours
            raise Permanent(self._missing(error)) from error
        except OSError as error:  # not found, refused, timed out, TLS that breaks off
            raise Retryable(AWAY.format(self._host), delay=DELAY) from error

    def _refused(self, what: str, code: int) -> Permanent | Retryable:
        """4xx is for now, 5xx for good (RFC 5321, 4.2.1). Anything else is a server that is not well."""
        if 500 <= code < 600:
            return Permanent(f"The mail server at {self._host} refuses {what} (code {code}).")
        return Retryable(f"The mail server at {self._host} does not take {what} now (code {code}).", delay=DELAY)

    def _missing(self, error: smtplib.SMTPException) -> str:
        if "STARTTLS" in str(error):
            return (
                f"The mail server at {self._host} does not offer STARTTLS, and nothing is sent in the clear. "
                "Use a port with TLS from the first byte (SMTP_SECURITY=tls), or turn STARTTLS on there."
            )
        return (
            f"The mail server at {self._host} takes no user name and password as we can give them: leave SMTP_USERNAME empty."
        )
