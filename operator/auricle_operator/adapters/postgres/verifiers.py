"""Passwords as PostgreSQL keeps them (SCRAM-SHA-256, RFC 5803): only these travel, so that no log of the server has one."""

from __future__ import annotations

import base64
import hmac

from scramp import ScramMechanism

MECHANISM = ScramMechanism("SCRAM-SHA-256")


def verifier_of(password: str) -> str:
    """With a fresh salt."""
    return _written(password, None, None)


def holds(verifier: str | None, password: str) -> bool:
    """Whether `verifier` is `password`'s. A verifier that holds is not made anew: poolers keep keys made with its salt."""
    try:
        mechanism, rounds, _ = (verifier or "").split("$")
        count, salt = rounds.split(":")
        if mechanism != MECHANISM.name:
            return False
        return hmac.compare_digest(_written(password, int(count), base64.b64decode(salt)), verifier or "")
    except ValueError:
        return False


def _written(password: str, rounds: int | None, salt: bytes | None) -> str:
    made, stored, server, count = MECHANISM.make_auth_info(password, iteration_count=rounds, salt=salt)
    said = (base64.b64encode(part).decode() for part in (made, stored, server))
    return "{}${}:{}${}:{}".format(MECHANISM.name, count, *said)
