"""What of a login and a password may be sent to a directory at all."""

from __future__ import annotations

from ldap3.core.exceptions import LDAPSASLPrepError  # type: ignore[import-untyped]
from ldap3.protocol.sasl.sasl import sasl_prep  # type: ignore[import-untyped]

from auricle.ports.directory import LONGEST_LOGIN, LONGEST_PASSWORD


def acceptable_login(login: str) -> bool:
    """Whether anybody could be called so: something, not without end, and no control characters (NUL ends names in C)."""
    return bool(login.strip()) and len(login) <= LONGEST_LOGIN and login.isprintable()


def prepared_password(password: str) -> str | None:
    """The password as RFC 4513 (5.1.3) sends it; None when it must not be sent.

    A bind with a name and no password succeeds, as nobody (RFC 4513, 5.1.2). Hence nothing that is empty, nor what becomes
    empty on the way: characters that SASLprep maps to nothing, or a NUL, at which some servers stop reading.
    """
    if not password or "\0" in password:
        return None
    try:
        prepared: str = sasl_prep(password)
        size = len(prepared.encode())
    except (LDAPSASLPrepError, UnicodeError):
        return None
    return prepared if 0 < size <= LONGEST_PASSWORD else None
