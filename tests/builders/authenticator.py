"""A security key in software: it makes the bytes that browsers send, with real signatures (ES256), and lies on demand.

`Device` holds passkeys; `Answer` says what is wrong with one answer. Fields follow W3C Web Authentication, level 3.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass(frozen=True)
class Answer:
    """How an answer is made; None or empty: as an honest device and browser make it."""

    origin: str | None = None
    site: str | None = None
    type: str | None = None
    challenge: bytes | None = None
    flags: int | None = None
    count: int | None = None
    client: Mapping[str, Any] = field(default_factory=dict)
    """More members of the client data."""
    format: str = "none"
    statement: Mapping[str, Any] | None = None
    handle: bytes | None = None
    without_handle: bool = False
    raw_id: bytes | None = None
    """In the outer message; the signed one keeps its own."""
    signer: EllipticCurvePrivateKey | None = None
    key: Mapping[int, Any] = field(default_factory=dict)
    """Members of the COSE key that are different."""


HONEST = Answer()


@dataclass
class Held:
    """A passkey on the device."""

    id: bytes
    site: str
    handle: bytes
    key: EllipticCurvePrivateKey
    count: int = 0


@dataclass
class Device:
    """A device at `origin`. `counts`: whether it keeps a counter; `synced`: whether keys go to other devices too."""

    origin: str
    counts: bool = True
    synced: bool = False
    verifies: bool = True
    """Whether it can check a PIN or a finger."""
    aaguid: bytes = bytes(16)
    held: list[Held] = field(default_factory=list)

    def create(self, options: bytes, answer: Answer = HONEST) -> bytes:
        """What `navigator.credentials.create` answers to these options, in `toJSON()`'s form."""
        asked = json.loads(options)
        if {to_bytes(one["id"]) for one in asked["excludeCredentials"]} & {one.id for one in self.held}:
            raise LookupError("InvalidStateError: this device has a passkey of the account already")
        if not any(one["alg"] == -7 for one in asked["pubKeyCredParams"]):
            raise LookupError("NotSupportedError: the site does not take ES256")
        wanted = asked["authenticatorSelection"]["userVerification"]
        made = Held(
            secrets.token_bytes(32), asked["rp"]["id"], to_bytes(asked["user"]["id"]), generate_private_key(SECP256R1())
        )
        self.held.append(made)
        made.count = 1 if self.counts else 0
        attested = self.aaguid + len(made.id).to_bytes(2) + made.id + cbor2.dumps(cose(made.key) | dict(answer.key))
        data = self._data(made, answer, wanted, AT) + attested
        client = self._client("webauthn.create", asked["challenge"], answer)
        statement = answer.statement if answer.statement is not None else self._statement(made, answer, data + sha256(client))
        whole = cbor2.dumps({"fmt": answer.format, "attStmt": statement, "authData": data})
        response = {"clientDataJSON": to_text(client), "attestationObject": to_text(whole), "transports": ["internal", "warp"]}
        return _message(answer.raw_id or made.id, response)

    def get(self, options: bytes, answer: Answer = HONEST, held: Held | None = None) -> bytes:
        """What `navigator.credentials.get` answers to these options."""
        asked = json.loads(options)
        allowed = [to_bytes(one["id"]) for one in asked["allowCredentials"]]
        one = held or next(one for one in self.held if one.site == asked["rpId"] and (not allowed or one.id in allowed))
        one.count += 1 if self.counts else 0
        data = self._data(one, answer, asked["userVerification"])
        client = self._client("webauthn.get", asked["challenge"], answer)
        response: dict[str, Any] = {
            "clientDataJSON": to_text(client),
            "authenticatorData": to_text(data),
            "signature": to_text((answer.signer or one.key).sign(data + sha256(client), ECDSA(SHA256()))),
        }
        if not answer.without_handle:
            response["userHandle"] = to_text(answer.handle or one.handle)
        return _message(answer.raw_id or one.id, response)

    def _data(self, one: Held, answer: Answer, wanted: str, more: int = 0) -> bytes:
        """Authenticator data (6.1) without what follows the counter."""
        flags = UP | more | (UV if self.verifies and wanted != "discouraged" else 0) | (BE | BS if self.synced else 0)
        told = flags if answer.flags is None else answer.flags | more
        count = one.count if answer.count is None else answer.count
        return sha256((answer.site or one.site).encode()) + bytes([told]) + count.to_bytes(4)

    def _client(self, type: str, challenge: str, answer: Answer) -> bytes:
        """Client data (5.8.1), as a browser writes it."""
        told = {
            "type": answer.type or type,
            "challenge": to_text(answer.challenge) if answer.challenge else challenge,
            "origin": answer.origin or self.origin,
            "crossOrigin": False,
            **answer.client,
        }
        return json.dumps(told, separators=(",", ":")).encode()

    def _statement(self, one: Held, answer: Answer, signed: bytes) -> dict[str, Any]:
        """Nothing, or for `packed` the key's own signature (8.2)."""
        if answer.format != "packed":
            return {}
        return {"alg": -7, "sig": (answer.signer or one.key).sign(signed, ECDSA(SHA256()))}


def cose(key: EllipticCurvePrivateKey) -> dict[int, Any]:
    """The public half as a COSE key (RFC 9053, 7.1.1): EC2, ES256, P-256, x, y."""
    numbers = key.public_key().public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _message(raw_id: bytes, response: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "id": to_text(raw_id),
            "rawId": to_text(raw_id),
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }
    ).encode()
