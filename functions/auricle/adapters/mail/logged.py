"""Mail where there is no mail server: the letter goes to the log, without what would let a reader of the log in."""

from __future__ import annotations

import logging
import re

from auricle.ports.mail import Message

log = logging.getLogger(__name__)
REDACTED = "[left out]"
_LINK = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/?#@]*@)?([^\s/?#@<>\"']+)[^\s<>\"']*")
_OPAQUE = re.compile(r"[A-Za-z0-9_=%+/~.-]{20,}")
"""What looks like a key even outside of a link: whole, with its dots (a token in three parts is one)."""


class LoggedMail:
    """`Mail` into the log. Links keep their host alone: whoever reads logs must not be able to reset passwords."""

    def send(self, message: Message) -> None:
        """Say that the letter would have been sent; its HTML says the same and is not logged."""
        log.warning(
            "There is no mail server (SMTP_HOST), so this letter was not sent. To: %s. Subject: %s. %s",
            _masked(message.to),
            redacted(message.subject),
            redacted(message.text),
        )


def redacted(text: str) -> str:
    """`text` with links cut to their host and long opaque words left out."""
    hosts: list[str] = []

    def keep(found: re.Match[str]) -> str:
        hosts.append(f"{found.group(1)}{found.group(2)[:100]}/{REDACTED}")
        return f"\x00{len(hosts) - 1}\x00"

    without = _OPAQUE.sub(REDACTED, _LINK.sub(keep, text.replace("\x00", "")))
    return re.sub("\x00(\\d+)\x00", lambda found: hosts[int(found.group(1))], without)


def _masked(address: str) -> str:
    """Enough to recognise one's own address by."""
    name, _, host = address.rpartition("@")
    return f"{name[:1]}…@{host}"
