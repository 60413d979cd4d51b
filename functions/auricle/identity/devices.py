"""Devices that have signed in before: their own guesses are counted apart, so that strangers' keep nobody out (AC-7)."""

from __future__ import annotations

import secrets
from datetime import timedelta

import msgspec

from auricle.access.model import Asking, Site
from auricle.access.sameorigin import Cookie
from auricle.errors import Invalid
from auricle.identity.lockout import device_proof, known_device

LIFE = timedelta(days=400)
"""The longest that browsers keep a cookie (RFC 6265bis, 5.5)."""
_NAME = "auricle_device"
_PATH = "/api"


class Devices(msgspec.Struct, frozen=True):
    """Tells known devices by a cookie that proves nothing else. `key`: 32 bytes for this purpose alone."""

    key: bytes

    def __repr__(self) -> str:
        """Without the key."""
        return "Devices()"

    def known(self, site: Site, asking: Asking, name: str) -> str | None:
        """The id of the asking device, if somebody has signed in there with this name; None: a stranger's."""
        try:
            proof = _cookie(site).value_in(asking.headers.get("cookie"))
        except Invalid:  # two of them: whoever put one beside ours gains a stranger's counter
            return None
        return known_device(self.key, name, proof)

    def remembered(self, site: Site, asking: Asking, name: str) -> str:
        """The `Set-Cookie` line after a sign-in with this name: the device keeps its id, or is given one."""
        device = self.known(site, asking, name) or secrets.token_urlsafe(16)
        return _cookie(site).setting(device_proof(self.key, name, device), LIFE)


def _cookie(site: Site) -> Cookie:
    secure = site.cookie.secure
    return Cookie(name=f"__Secure-{_NAME}" if secure else _NAME, path=_PATH, secure=secure)
