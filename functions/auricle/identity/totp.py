"""Codes of an authenticator app (RFC 6238, by pyotp): six digits, new every 30 seconds, each good once.

The secret must be readable to check a code, so it is kept sealed; `seal` and `unseal` are the only way in and out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from auricle.errors import Invalid
from auricle.ports.sealing import Sealing

PERIOD = 30
"""Seconds: what all apps can do, as are six digits and SHA-1 (RFC 6238, 1.2; SHA-1 as a MAC is sound)."""
DIGITS = 6
WINDOW = 1
"""Steps that a telephone's clock may be off, either way (RFC 6238, 5.2): a code can be typed for 90 seconds."""
SECRET_CHARACTERS = 32
"""Of base32: 160 bits, as RFC 4226, 4 (R6) recommends."""
PURPOSE = "totp"


def new_secret() -> str:
    """A fresh secret in base32, to be shown once, at setting up."""
    import pyotp

    return pyotp.random_base32(SECRET_CHARACTERS)


def seal(secret: str, person: UUID, sealing: Sealing) -> bytes:
    """What to keep of a person's secret."""
    return sealing.seal(person, PURPOSE, secret.encode())


def unseal(kept: bytes, person: UUID, sealing: Sealing) -> str:
    """The secret again, to check a code with."""
    return sealing.open(person, PURPOSE, kept).decode()


def provisioning_uri(secret: str, issuer: str, account: str) -> str:
    """The `otpauth:` address that apps take, with the names that they show. It holds the secret: it goes to no log."""
    import pyotp

    if not issuer or not account or ":" in issuer + account:
        # Apps cut the label at the first colon: a name with one could pass for another issuer's.
        raise Invalid("The names that an authenticator app shows hold no colon and are not empty.")
    return pyotp.TOTP(secret, digits=DIGITS, interval=PERIOD).provisioning_uri(name=account, issuer_name=issuer)


def qr_svg(uri: str) -> str:
    """`provisioning_uri`'s answer as an inline SVG to be photographed, drawn here so that the secret goes to no service."""
    import segno

    return segno.make(uri, error="m", micro=False).svg_inline(scale=4, border=4, light="#fff")


def step_at(now: datetime) -> int:
    """How many periods have passed since 1970."""
    return int(now.timestamp()) // PERIOD


def accepted_step(secret: str, typed: str, now: datetime, last: int | None) -> int | None:
    """The time step that the code stands for, if it is good; None otherwise. `last`: what was accepted before, None for never.

    Only a later step than `last` is good (RFC 6238, 5.2): a code that was seen works for nobody again, nor does an older one.
    The caller keeps the answer where the kept step is still null or less, and goes on only if that changed a row: of two
    uses at once, one wins. All steps of the window are computed, whatever was typed.
    """
    import pyotp
    from pyotp.utils import strings_equal

    code, current = _digits(typed), step_at(now)
    clock = pyotp.HOTP(secret, digits=DIGITS)
    window = range(max(0, current - WINDOW), current + WINDOW + 1)
    matches = [step for step in window if strings_equal(code, clock.at(step))]
    return _latest(step for step in matches if last is None or step > last)


def _latest(steps: Iterable[int]) -> int | None:
    """The last of them: should one code stand for two steps, both are used up."""
    return max(steps, default=None)


def _digits(typed: str) -> str:
    """Apps show two groups of three: blanks are no mistake. Everything else that is not six ASCII digits is no code."""
    code = "".join(typed[:32].split())
    return code if len(code) == DIGITS and code.isascii() and code.isdigit() else ""
