"""Which keys and part lists every store accepts, so that the adapters refuse the same ones with the same words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import quote

from auricle.errors import Invalid
from auricle.ports.blobs import Part

MAX_KEY_BYTES = 1024
"""S3's limit, in UTF-8."""
MAX_PARTS = 10_000
"""S3's limit; also the highest part number."""


def checked(key: str) -> str:
    """`key` itself, or `Invalid`: empty, absolute, with `.` or `..` or NUL, not UTF-8, longer than 1024 bytes."""
    if not key:
        raise Invalid("An object needs a key: give it a name.")
    return checked_prefix(key)


def checked_prefix(prefix: str) -> str:
    """`prefix` itself, by the rules of `checked`; it may be empty."""
    try:
        length = len(prefix.encode())
    except UnicodeEncodeError:
        raise Invalid("The object's key is not valid Unicode: rename it.") from None
    if length > MAX_KEY_BYTES:
        raise Invalid(f"The object's key is {length} bytes long and may have {MAX_KEY_BYTES}: shorten the name.")
    if prefix.startswith("/"):
        raise Invalid("An object's key does not start with a slash: leave it away.")
    if "\0" in prefix:
        raise Invalid("The object's key holds a NUL character: rename it.")
    if any(segment in (".", "..") for segment in prefix.split("/")):
        raise Invalid("An object's key has no segments '.' or '..': name the object itself.")
    return prefix


def deletable(prefix: str) -> str:
    """`prefix` itself, unless it would mean every object there is."""
    if not prefix.strip("/"):
        raise Invalid("An empty prefix would delete every object: name a folder.")
    return checked_prefix(prefix)


def quoted(key: str) -> str:
    """`key` as a URL path: RFC 3986 unreserved characters and `/` stay, which is also how SigV4 wants it."""
    return quote(key, safe="/-_.~")


def check_number(number: int) -> int:
    """`number` itself, or `Invalid` when no store has such a part."""
    if not 1 <= number <= MAX_PARTS:
        raise Invalid(f"Part {number} is not possible: parts are numbered from 1 to {MAX_PARTS}.")
    return number


def check_parts(parts: Sequence[Part]) -> None:
    """`Invalid` unless `parts` are some, at most 10,000, with rising numbers. (Not every S3 server minds the order itself.)"""
    if not parts:
        raise Invalid("There is no part to make an object of: upload at least one.")
    for part in parts:
        check_number(part.number)
    if any(later.number <= earlier.number for earlier, later in pairwise(parts)):
        raise Invalid("The parts are not in rising order of their numbers: sort them and name each one once.")


def check_complete(parts: Sequence[Part], there: Sequence[Part]) -> None:
    """`Invalid` unless `parts` are all that are `there`, as they are now. (AWS would leave some out; Ceph refuses that.)"""
    now = {part.number: part.etag for part in there}
    for part in parts:
        if now.pop(part.number, None) != part.etag:
            raise Invalid(
                f"Part {part.number} is not there, or it was replaced since: upload it again, then look at all parts."
            )
    if now:
        raise Invalid(f"Part {min(now)} was uploaded and is not named: name every part, or begin a new upload.")
