"""Reading a compact JWS before anything of it is believed (RFC 7515, 5.2). Strict: it only has to read what we write."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection

import msgspec

from auricle.ports.signing import ALGORITHM, MAX_TOKEN, Refusal, TokenKind, TokenRefused, once_each

_WORD = re.compile(r"[A-Za-z0-9_-]+\Z")
_MAX_HEADER = 256
"""Characters. Ours have up to 128; so little cannot be nested deep enough to hurt the JSON reader."""
_MEMBERS = frozenset({"alg", "typ", "kid"})


class Compact(msgspec.Struct, frozen=True, kw_only=True):
    """A token's parts, not proven yet. `signed` is what the `signature` (r and s, 32 bytes each) should stand under."""

    kind: TokenKind
    kid: str
    signed: bytes
    payload: bytes
    signature: bytes


def parts(token: str, kinds: Collection[TokenKind]) -> Compact:
    """The parts of a token that is formed as ours are, of one of the `kinds`; `TokenRefused` otherwise."""
    if len(token) > MAX_TOKEN:
        raise TokenRefused(Refusal.TOO_LARGE)
    words = token.split(".")
    if len(words) != 3 or len(words[0]) > _MAX_HEADER:
        raise TokenRefused(Refusal.MALFORMED)
    header, payload, signature = (_decoded(word) for word in words)
    kind, kid = _named(_members(header), kinds)
    if len(signature) != 64:
        raise TokenRefused(Refusal.SIGNATURE)
    return Compact(kind=kind, kid=kid, signed=token.rpartition(".")[0].encode(), payload=payload, signature=signature)


def _named(header: dict[str, object], kinds: Collection[TokenKind]) -> tuple[TokenKind, str]:
    """Kind and key. Whatever a header says about algorithms and keys is compared with ours, and never followed."""
    if header.get("alg") != ALGORITHM:
        raise TokenRefused(Refusal.ALGORITHM)
    if header.keys() != _MEMBERS:  # jku, jwk, x5u, x5c, crit, b64, zip: none of ours has them
        raise TokenRefused(Refusal.HEADER)
    kind = next((kind for kind in kinds if kind.signed and kind.typ == header["typ"]), None)
    if kind is None:
        raise TokenRefused(Refusal.KIND)
    kid = header["kid"]
    if not isinstance(kid, str):
        raise TokenRefused(Refusal.KEY)
    return kind, kid


def _members(header: bytes) -> dict[str, object]:
    """The header's members; a name that comes twice is refused, since readers differ about which one counts (RFC 7515, 4)."""
    try:
        found = json.loads(header, object_pairs_hook=once_each)
    except ValueError:
        raise TokenRefused(Refusal.MALFORMED) from None
    if not isinstance(found, dict):
        raise TokenRefused(Refusal.MALFORMED)
    return found


def _decoded(word: str) -> bytes:
    """Base64url, without padding and spelled in the only right way: Python's reader would skip what it does not know."""
    if not _WORD.match(word):
        raise TokenRefused(Refusal.MALFORMED)
    try:
        data = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
    except binascii.Error:
        raise TokenRefused(Refusal.MALFORMED) from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != word:  # unused bits that are not zero: a second spelling
        raise TokenRefused(Refusal.MALFORMED)
    return data
