"""Who is asking, as the gateway saw it: `X-Auricle-Client-*`, believed only with the gateway's signature.

Anyone in a cluster can reach any function and send any header, so an address, a host name or a certificate counts only
when the gateway vouches for it: HMAC-SHA256 under a key that the gateway and the doors share, over the values, the time,
the method and the path. nginx signs in manifests/base/gateway/auricle.js, the embedded host here.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from auricle.errors import Invalid

log = logging.getLogger(__name__)
PREFIX = "X-Auricle-Client-"
"""What begins like this is taken off requests from outside."""
ADDRESS, HOST, SCHEME = f"{PREFIX}Address", f"{PREFIX}Host", f"{PREFIX}Scheme"
SUBJECT, FINGERPRINT = f"{PREFIX}Certificate-Subject", f"{PREFIX}Certificate-Fingerprint"
SIGNATURE = f"{PREFIX}Signature"
"""`<Unix seconds>:<64 hex digits>`."""
VALUES = (ADDRESS, HOST, SCHEME, SUBJECT, FINGERPRINT)
VERSION = "auricle-client-1"
MAX_AGE_SECONDS = 300
"""How old a signature may be: a function that wakes from zero answers minutes after the gateway let the request in."""
MAX_AHEAD_SECONDS = 60
"""How far the gateway's clock may be ahead of ours."""


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate that a client proved to hold: its subject (RFC 2253) and the SHA-256 of its DER form, in hex."""

    subject: str
    fingerprint: str


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request came from: IP address, the host that it named, `http` or `https`, and perhaps a certificate."""

    address: str
    host: str
    scheme: str
    certificate: Certificate | None = None

    @property
    def origin(self) -> str:
        """What absolute addresses of this deployment begin with, as this client wrote it: `https://vault.example`."""
        return f"{self.scheme}://{self.host}"


class Disbelief(StrEnum):
    """Why headers were ignored."""

    UNSIGNED = "unsigned"
    MALFORMED = "malformed"
    STALE = "stale"
    FORGED = "forged"
    NO_KEY = "no-key"


class ClientHeaders:
    """Signs and checks. `ignored` counts what was not believed, by reason."""

    def __init__(self, keys: str, now: Callable[[], float] = time.time) -> None:
        """`keys`: 32 bytes in hex, or two with a comma while one takes over from the other: the first signs, all are believed.

        Empty: nothing is believed. `now` is the wall clock in Unix seconds.
        """
        self._keys = _read(keys)
        self._now = now
        self.ignored: Counter[Disbelief] = Counter()

    def signed(self, client: Client, method: str, path: bytes) -> dict[str, str]:
        """The headers that tell a function of `client`; none without a key. `path` is without escapes and query."""
        if not self._keys:
            return {}
        known = client.certificate
        values = (
            client.address,
            client.host,
            client.scheme,
            known.subject if known else "",
            known.fingerprint if known else "",
        )
        moment = str(int(self._now()))
        found = {name: value for name, value in zip(VALUES, values, strict=True) if value}
        return {**found, SIGNATURE: f"{moment}:{_mac(self._keys[0], moment, method, values, path)}"}

    def client(self, headers: Mapping[str, str], method: str, path: bytes) -> Client | None:
        """Who asks, if the gateway says so in `headers` (looked up without regard to case by their owner)."""
        values = tuple(headers.get(name, "") for name in VALUES)
        given = headers.get(SIGNATURE, "")
        if not given and not any(values):
            return None  # nobody claims anything: a neighbour's probe, a broker
        doubt = self._doubt(given, values, method, path)
        if doubt is not None:
            self._ignore(doubt, method, path)
            return None
        address, host, scheme, subject, fingerprint = values
        certificate = Certificate(subject=subject, fingerprint=fingerprint) if fingerprint else None
        return Client(address=address, host=host, scheme=scheme, certificate=certificate)

    def _doubt(self, given: str, values: tuple[str, ...], method: str, path: bytes) -> Disbelief | None:
        if not self._keys:
            return Disbelief.NO_KEY
        if not given:
            return Disbelief.UNSIGNED
        moment, _, mac = given.partition(":")
        if not (moment.isascii() and moment.isdigit() and len(moment) <= 12 and mac.isascii()):
            return Disbelief.MALFORMED
        # The signature first: only what we signed ourselves can be stale.
        if not any(hmac.compare_digest(_mac(key, moment, method, values, path), mac) for key in self._keys):
            return Disbelief.FORGED
        if not -MAX_AHEAD_SECONDS <= self._now() - int(moment) <= MAX_AGE_SECONDS:
            return Disbelief.STALE
        return None

    def _ignore(self, doubt: Disbelief, method: str, path: bytes) -> None:
        """Count, and say so at the 1st, 2nd, 4th, 8th … time: whoever forges shall not fill the log as well."""
        self.ignored[doubt] += 1
        count = self.ignored[doubt]
        if count & (count - 1) == 0:
            where = path.decode(errors="replace")
            log.warning("client headers ignored (%s, %d so far): %s %s", doubt.value, count, method, where)


def _read(keys: str) -> tuple[bytes, ...]:
    try:
        return tuple(bytes.fromhex(key) for key in keys.split(",") if key.strip())
    except ValueError:
        raise Invalid(
            "GATEWAY_KEY is not hex. Make one with `openssl rand -hex 32` and give gateway and functions the same."
        ) from None


def _mac(key: bytes, moment: str, method: str, values: tuple[str, ...], path: bytes) -> str:
    """One line each; the path comes last, because it alone may hold a line break. Header values are Latin-1, as in WSGI."""
    head = "\n".join((VERSION, moment, method, *values)).encode("latin-1", "replace")
    return hmac.new(key, head + b"\n" + path, hashlib.sha256).hexdigest()
