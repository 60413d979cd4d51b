"""Links and codes that work once: to reset a password, to accept an invitation, to set up a deployment.

A token is 256 random bits behind a word that says what it is for. Only its digest is kept, so that whoever reads the database
can use none; plain SHA-256 is right, since there is nothing to guess. The digest covers the purpose: a token of one kind is
never found among another's.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from auricle.errors import Invalid

_BYTES = 32


class Purpose(StrEnum):
    """What a token is for; also the word in it, so that scanners find leaked ones."""

    RESET = "reset"
    WELCOME = "welcome"  # the first password of an account that an administrator made
    INVITATION = "invite"
    REGISTRATION = "join"  # whoever asked for an account has this address
    ADDRESS = "address"  # whoever wants it has this address
    SETUP = "setup"


LIFE = timedelta(hours=1)
"""What a token lives unless its maker says less (or, for some purposes, more)."""
LONGEST = {
    Purpose.RESET: LIFE,
    Purpose.WELCOME: timedelta(days=7),
    Purpose.INVITATION: timedelta(days=30),
    Purpose.REGISTRATION: timedelta(hours=24),
    Purpose.ADDRESS: timedelta(hours=24),
    Purpose.SETUP: timedelta(hours=24),
}


class OneTime(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token. `subject`: what it is for, an account's, an invitation's or another id."""

    purpose: Purpose
    digest: bytes
    subject: str
    ends: datetime
    used_at: datetime | None = None


def issue(purpose: Purpose, subject: str, now: datetime, life: timedelta = LIFE) -> tuple[OneTime, str]:
    """What to keep, and the token itself, which is told this once: in a mail, never in a log."""
    if not timedelta(0) < life <= LONGEST[purpose]:
        raise ValueError(f"A token for {purpose} lives up to {LONGEST[purpose]}, not {life}.")
    token = f"aur{purpose}_{secrets.token_urlsafe(_BYTES)}"
    return OneTime(purpose=purpose, digest=digest(purpose, token), subject=subject, ends=now + life), token


def digest(purpose: Purpose, token: str) -> bytes:
    """What a token is looked up by. Never raises, whatever was sent."""
    return hashlib.sha256(f"{purpose}\0{token}".encode(errors="surrogatepass")).digest()


def use(kept: OneTime | None, purpose: Purpose, token: str, now: datetime) -> OneTime:
    """`kept` as used, if `token` is good for `purpose`. `Invalid` with one and the same sentence otherwise.

    `kept`: what is found by `digest`, or None. The caller keeps the answer where `used_at` is still null and goes on only if
    that changed a row: of two uses at once, one wins.
    """
    found = digest(purpose, token)
    good = kept is not None and hmac.compare_digest(kept.digest, found) and kept.purpose is purpose
    if kept is None or not good or kept.used_at is not None or now >= kept.ends:
        raise Invalid("This link or code is not valid, or not any more: each works once. Ask for a new one.", field="token")
    return msgspec.structs.replace(kept, used_at=now)
