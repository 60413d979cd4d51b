"""Letters to people: one recipient each, plain text with an HTML version of the same words, and nothing that tracks."""

from __future__ import annotations

import re
from typing import Protocol

from msgspec import Struct

from auricle.errors import Invalid

LONGEST_ADDRESS = 254
"""Characters (RFC 5321, 4.5.3.1.3 less the angle brackets)."""
LONGEST_SUBJECT = 200
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?!.*=\?){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
"""A dot-atom and a host name (RFC 5321, 4.1.2) without quoting; `=?` would be read as an encoded word (RFC 2047)."""
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ENDS_LINES = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def is_address(text: str) -> bool:
    """Whether `text` is one bare address that can be written to."""
    return len(text) <= LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


class Message(Struct, frozen=True, kw_only=True):
    """One letter. `key` names it: sent again under the same key it is the same letter, with the same Message-ID.

    Making one checks it (`Invalid`): `to` is one bare address in ASCII, `subject` one line; neither can become a header.
    """

    to: str
    subject: str
    text: str
    html: str
    key: str

    def __post_init__(self) -> None:
        """Refuse what could become more than one letter to one person."""
        if not is_address(self.to):
            raise Invalid("This is no e-mail address that can be written to: give one, like ann@example.org.", field="to")
        if not self.subject.strip() or len(self.subject) > LONGEST_SUBJECT or _ENDS_LINES.search(self.subject):
            raise Invalid(f"A subject is one line of at most {LONGEST_SUBJECT} characters.", field="subject")
        if not _KEY.fullmatch(self.key):
            raise Invalid("A letter's key has at most 100 letters, digits, dots, hyphens and underscores.", field="key")


class Mail(Protocol):
    """Sends letters. At least once: a connection that breaks at the wrong moment sends one twice, under the same Message-ID."""

    def send(self, message: Message) -> None:
        """Hand `message` over for delivery.

        `Retryable`: the mail server is away or says later. `Permanent`: it never takes this letter, or it cannot be trusted
        (no TLS, a wrong certificate), or it does not trust us (a wrong password).
        """
        ...
