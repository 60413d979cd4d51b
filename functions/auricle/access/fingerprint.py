"""What a client looks like: enough to notice that a token moved to another one, and to name it in a list of sessions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from uuid import UUID

_SEEN = 400
"""Characters of a User-Agent that are kept; nothing that people use has more."""
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
"""In this order: each later one is also named by the ones before it."""
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def fingerprint(user_agent: str, accept_language: str, salt: UUID) -> str:
    """43 characters (base64url of SHA-256) that stand for a client's headers, as `fgp` in a token and beside a session.

    Not keyed, knowingly: whoever checks would need the key, so it would lie in every function, and functions that only verify
    hold no secret. Little is lost: both headers travel beside the token, so who took one mostly has the others. It is a
    tripwire for tokens that leak alone (a log, a screenshot, a pasted command), not a proof of who asks. The salt (the token's
    `jti`, the session's id) makes it worthless elsewhere: no table of common browsers undoes it for all, and two tokens of
    one client do not show that they are. Each word goes in with its length, so that ("ab", "c") is not ("a", "bc").
    """
    told = hashlib.sha256(b"auricle client\0" + salt.bytes)
    for word in (user_agent, accept_language):
        data = word.encode("utf-8", "surrogateescape")
        told.update(len(data).to_bytes(4) + data)
    return base64.urlsafe_b64encode(told.digest()).rstrip(b"=").decode()


def same_client(expected: str, user_agent: str, accept_language: str, salt: UUID) -> bool:
    """Whether the headers are those that `expected` was made of."""
    return hmac.compare_digest(expected.encode(), fingerprint(user_agent, accept_language, salt).encode())


def device(user_agent: str) -> str:
    """What a person calls it: "Firefox on Linux", or a program's own name ("curl"). A claim, not a fact."""
    seen = user_agent[:_SEEN]
    browser = next((name for mark, name in _BROWSERS if mark in seen), None)
    system = next((name for mark, name in _SYSTEMS if mark in seen), None)
    if browser is None:
        program = re.match(r"[A-Za-z][\w.-]{0,39}", seen)
        browser = program[0] if program and program[0] != "Mozilla" else "Unknown program"
    return f"{browser} on {system}" if system else browser
