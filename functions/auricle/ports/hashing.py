"""Secrets that people choose or type, kept so that whoever reads the database still has to guess them one by one."""

from __future__ import annotations

import unicodedata
from typing import Protocol

from auricle.errors import Invalid

MAX_CHARACTERS = 1024
"""Of a secret, as typed. NIST SP 800-63B-4, 3.1.1.2 asks for 64 at least; without an end, one request could send megabytes."""


class PasswordHasher(Protocol):
    """Makes and checks salted, memory-hard hashes. Safe for threads."""

    def hash(self, secret: str) -> str:
        """A text to keep, with salt and parameters in it; never the same twice. `Invalid` for what `normalised` refuses."""
        ...

    def verify(self, secret: str, kept: str | None) -> bool:
        """Whether `kept` was made of `secret`. None stands for an account that is not there: False, at the same cost.

        Never raises for what was typed or kept: a secret that could not be hashed, or a text that is no hash, is just wrong.
        """
        ...

    def needs_rehash(self, kept: str) -> bool:
        """Whether `kept` was made with other parameters than new ones are: hash again at the next sign-in, with the secret."""
        ...


def normalised(secret: str) -> bytes:
    """The bytes that stand for a secret everywhere: hashed, looked up in lists of breaches, compared. Nothing is cut off.

    NFKC, then UTF-8: NIST SP 800-63B-4, 3.1.1.2 wants the process for stabilized strings (UAX 15, 12.1) with NFKC or NFKD,
    since keyboards differ in how they write é, or a wide letter. (RFC 8265 would take NFC; the stricter source is NIST's.)
    Stabilized: what Unicode has not assigned yet is refused, for its normal form may come to differ. `Invalid` for that, for
    control characters, and for more than `MAX_CHARACTERS`.
    """
    if len(secret) > MAX_CHARACTERS:
        raise Invalid(f"A password has at most {MAX_CHARACTERS} characters. Choose a shorter one.", field="password")
    # ASCII is its own normal form, and what nearly everybody types.
    form = secret if secret.isascii() else unicodedata.normalize("NFKC", secret)
    if not form.isprintable() and any(unicodedata.category(one) in ("Cc", "Cn", "Cs") for one in form):
        raise Invalid(
            "The password holds a control character (a tab, a line break) or a sign too new for us. Leave it out.",
            field="password",
        )
    return form.encode()
