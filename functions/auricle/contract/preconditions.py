"""`If-Match`: whoever changes something says which version of it they saw (RFC 9110, 13.1.1; RFC 6585, 3)."""

from __future__ import annotations

import re

from auricle.errors import Invalid, Missing, Outdated

_TAG = re.compile(r'(?:W/)?"([0-9]{1,9})"')
"""Weak ones count, too: a gateway that compresses an answer marks its tag so."""


def unchanged(if_match: str | None, version: int) -> None:
    """Nobody overwrites what they have not seen. `version` is the current one, 0 where there is nothing yet.

    `Missing` when there is something and nothing is said of it; `Outdated` when `if_match` names another version.
    """
    if if_match is None:
        if version:
            raise Missing("Send If-Match with the ETag that GET answered, so that nobody's change is lost.")
        return
    if if_match.strip() == "*":
        seen = max(1, version)
    elif found := _TAG.fullmatch(if_match.strip()):
        seen = int(found[1])
    else:
        raise Invalid('If-Match is the ETag of an answer, such as "3".')
    if seen != version:
        raise Outdated("Somebody else has changed these settings. Load them again, and make your change anew.")
