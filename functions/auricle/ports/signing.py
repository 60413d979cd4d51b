"""Tokens that we sign ourselves: who may make them, who may only check them, and with which keys.

Two ports, because most functions must never be able to make one: `TokenSigner` holds private keys and is wired into the
identity function alone; `TokenVerifier` holds public ones. What crosses them is bytes; what the bytes may say is the rule of
`auricle.access.accesstokens`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from auricle.errors import Retryable, Unauthenticated

ALGORITHM = "ES256"
"""The only one there is: ECDSA on P-256 with SHA-256 (RFC 7518, 3.4). No token chooses."""
LEEWAY = timedelta(seconds=30)
"""How far the clocks of two of our processes may be apart."""
MAX_TOKEN = 2048
"""Characters. Ours have about a thousand; a longer one is refused before anything of it is read."""


class TokenKind(StrEnum):
    """What a credential of ours is for. The kind decides `typ` and `aud`, so that none passes for another (RFC 8725, 3.11)."""

    ACCESS = "access"
    MFA_PENDING = "mfa-pending"  # the password was right, the second factor is still to come
    REFRESH = "refresh"  # opaque and random: never signed
    PERSONAL = "personal"  # opaque and random: never signed

    @property
    def signed(self) -> bool:
        """Whether it is a signed token at all."""
        return self in _SHAPES

    @property
    def typ(self) -> str:
        """What its header says; `ValueError` for the kinds that are never signed."""
        return self._shape.typ

    @property
    def lifetime(self) -> timedelta:
        """The longest it may live; a token that claims more is refused, whoever signed it."""
        return self._shape.lifetime

    def audience(self, issuer: str) -> str:
        """Its one `aud`, beneath the `issuer` (the deployment's public URL, without a slash at the end)."""
        return issuer + self._shape.path

    @property
    def _shape(self) -> _Shape:
        if self not in _SHAPES:
            raise ValueError(f"A {self} token is opaque: it is looked up, never signed.")
        return _SHAPES[self]


class _Shape(msgspec.Struct, frozen=True):
    typ: str
    path: str
    lifetime: timedelta


_SHAPES = {
    TokenKind.ACCESS: _Shape("at+jwt", "/api", timedelta(minutes=15)),  # RFC 9068, 2.1
    TokenKind.MFA_PENDING: _Shape("auricle-mfa+jwt", "/api/session/mfa", timedelta(minutes=10)),
}
LONGEST = max(shape.lifetime for shape in _SHAPES.values())


class Refusal(StrEnum):
    """Why a token was refused: for the audit trail and the figures, never for the one who sent it."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    HEADER = "header"  # a header member that none of ours has: jku, jwk, x5u, crit, …
    KIND = "kind"
    KEY = "key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET = "not-yet"
    CLIENT = "client"
    ENDED = "ended"


class TokenRefused(Unauthenticated):
    """A token that is not valid here (any more). Its text is always the same; `why` stays with us."""

    def __init__(self, why: Refusal) -> None:
        super().__init__("This sign-in is not valid here, or not any more. Renew it, or sign in again.")
        self.why = why


def once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object's members, for `json.loads(object_pairs_hook=)`; `ValueError` when a name comes twice.

    Readers differ about which one of two counts (RFC 7515, 4; RFC 7519, 4), so a token with two is nobody's.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A name comes twice.")
    return found


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public half of a key: a point of P-256, `x` and `y` of 32 bytes in base64url (RFC 7518, 6.2.1).

    It signs from `not_before` until `retire_after` (None: until a next key is made), is known before, and verifies until the
    last token that it signed has ended.
    """

    x: str
    y: str
    not_before: datetime
    retire_after: datetime | None = None

    @property
    def kid(self) -> str:
        """The key's thumbprint (RFC 7638): a name that no other key can have."""
        canonical = f'{{"crv":"P-256","kty":"EC","x":"{self.x}","y":"{self.y}"}}'
        return _base64url(hashlib.sha256(canonical.encode()).digest())

    def signs(self, now: datetime) -> bool:
        """Whether new tokens may be signed with it."""
        return self.not_before <= now and (self.retire_after is None or now < self.retire_after)

    def ended(self, now: datetime) -> bool:
        """Whether every token that it signed has ended."""
        return self.retire_after is not None and now >= self.retire_after + LONGEST + LEEWAY

    def verifies(self, now: datetime) -> bool:
        """Whether a token signed with it can be good."""
        return self.not_before - LEEWAY <= now and not self.ended(now)


class KeySet(msgspec.Struct, frozen=True):
    """The keys of a deployment, oldest first: what is published, and who signs when."""

    keys: tuple[PublicKey, ...]

    def signing(self, now: datetime) -> PublicKey:
        """The key for new tokens: the youngest in force. `Retryable` when there is none."""
        in_force = [key for key in self.keys if key.signs(now)]
        if not in_force:
            raise Retryable(
                "No signing key is in force, so nobody can sign in. Check the clock, or rotate the signing keys.", delay=60
            )
        return max(in_force, key=lambda key: key.not_before)

    def verifying(self, kid: str, now: datetime) -> PublicKey | None:
        """The key of that name, while a token signed with it can be good."""
        return next((key for key in self.keys if key.kid == kid and key.verifies(now)), None)

    def rotated(self, x: str, y: str, now: datetime, ahead: timedelta) -> KeySet:
        """With a next key that is published now and signs `ahead` later, when the others retire; ended ones are dropped.

        `ahead` is longer than any verifier remembers the published keys, so that none meets a key it does not know.
        """
        handover = (now + ahead).replace(microsecond=0)  # the published document tells whole seconds
        kept = (key for key in self.keys if not (key.ended(now) or now < key.not_before >= handover))  # the latter never signs
        older = tuple(msgspec.structs.replace(key, retire_after=_earlier(key, handover)) for key in kept)
        return KeySet((*older, PublicKey(x=x, y=y, not_before=handover)))

    def without(self, kid: str, now: datetime) -> KeySet:
        """When a key was stolen: it is forgotten, and every token that it signed is refused.

        Its time falls to the key before it, or else to the next one at once: nobody is kept from signing in.
        """
        left = [key for key in self.keys if key.kid != kid]
        current = max((n for n, key in enumerate(left) if key.not_before <= now), default=0)
        nexts = [key.not_before for key in left[current + 1 :]]
        covering = [
            msgspec.structs.replace(key, retire_after=until) for key, until in zip(left[current:], [*nexts, None], strict=False)
        ]
        if covering:
            begins = min(covering[0].not_before, now.replace(microsecond=0))
            covering[0] = msgspec.structs.replace(covering[0], not_before=begins)
        return KeySet((*left[:current], *covering))

    def document(self, now: datetime) -> bytes:
        """The JWK Set to publish (RFC 7517, 5): every key that verifies or will, and from when until when."""
        return json.dumps({"keys": [_jwk(key) for key in self.keys if not key.ended(now)]}).encode()

    @classmethod
    def from_document(cls, document: bytes) -> KeySet:
        """The keys of a document that `document` made. `ValueError` for any other."""
        published = msgspec.json.decode(document, type=_Document)
        keys = [
            PublicKey(
                x=jwk.x,
                y=jwk.y,
                not_before=_moment(jwk.nbf),
                retire_after=None if jwk.exp is None else _moment(jwk.exp) - LONGEST,
            )
            for jwk in published.keys
        ]
        if any(key.kid != jwk.kid for key, jwk in zip(keys, published.keys, strict=True)):
            raise ValueError("A published key does not have the name that its numbers give it.")
        return cls(tuple(keys))


class TokenSigner(Protocol):
    """Makes tokens. Only the identity function has one."""

    def sign(self, kind: TokenKind, payload: bytes, now: datetime) -> str:
        """The compact JWS (RFC 7515, 7.1) over `payload` with the key in force.

        `Retryable` when no key is; `ValueError` for kinds that are never signed and for what is longer than `MAX_TOKEN`.
        """
        ...

    def keys(self) -> KeySet:
        """The public halves, to be published."""
        ...


class Verified(msgspec.Struct, frozen=True):
    """What a key of ours signed as a token of this kind. Claims are still to be judged."""

    kind: TokenKind
    payload: bytes


class TokenVerifier(Protocol):
    """Checks tokens with public keys only."""

    def verify(self, token: str, kinds: Collection[TokenKind], now: datetime) -> Verified:
        """The payload, when the token is of one of the `kinds` and one of our keys signed it; `TokenRefused` otherwise.

        The algorithm is ours to say, `kid` picks among known keys, and no other header member is tolerated.
        """
        ...


class _Jwk(msgspec.Struct, frozen=True):
    kty: str
    crv: str
    alg: str
    use: str
    kid: str
    x: str
    y: str
    nbf: int
    exp: int | None = None

    def __post_init__(self) -> None:
        if (self.kty, self.crv, self.alg, self.use) != ("EC", "P-256", ALGORITHM, "sig"):
            raise ValueError("Published keys are for ES256 signatures and nothing else.")


class _Document(msgspec.Struct, frozen=True):
    keys: tuple[_Jwk, ...]


def _jwk(key: PublicKey) -> dict[str, object]:
    """`exp` is when the last token ends, as readers of the document understand it, and not when the key stops signing."""
    ends = {} if key.retire_after is None else {"exp": _second(key.retire_after + LONGEST)}
    return {
        "kty": "EC",
        "crv": "P-256",
        "alg": ALGORITHM,
        "use": "sig",
        "kid": key.kid,
        "x": key.x,
        "y": key.y,
        "nbf": _second(key.not_before),
        **ends,
    }


def _earlier(key: PublicKey, handover: datetime) -> datetime:
    return handover if key.retire_after is None else min(key.retire_after, handover)


def _second(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
