"""Passkeys with py_webauthn; what the library leaves to its user is checked here.

That is: frames of other sites, attestation that nobody asked for, whose passkey it is, backup eligibility that changes, the
length of ids. The counter is compared after the signature, so that only the key's holder can set off an alarm.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from auricle.ports.passkeys import (
    CHALLENGE_BYTES,
    MAX_ID,
    MAX_RESPONSE,
    Owner,
    Passkey,
    PasskeyRefused,
    Presented,
    Refusal,
    Use,
)

if TYPE_CHECKING:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

T = TypeVar("T")

MILLISECONDS = 300_000
"""What a browser gives a person to find the key: the standard recommends five minutes where somebody is verified (15.1)."""


class WebauthnPasskeys:
    """Implements `ports.passkeys.Passkeys`. py_webauthn is loaded by the first ceremony: it takes half a second."""

    def __init__(self, site: str, name: str, origins: Sequence[str]) -> None:
        """`site`: the domain that passkeys are for, and which may never change; `name`: what devices call it; `origins`:
        the addresses people use, such as https://vault.example.org, each at `site` or beneath it."""
        self._site = _domain(site)
        self._name = name
        self._origins = [_origin_of(site, origin) for origin in origins]
        if not self._origins or not name:
            raise ValueError("Passkeys need a name for the site and at least one address.")

    def registration_options(self, owner: Owner, use: Use, challenge: bytes, known: Sequence[Passkey]) -> bytes:
        """As the port says."""
        from webauthn import generate_registration_options, options_to_json
        from webauthn.helpers.structs import (
            AttestationConveyancePreference,
            AuthenticatorSelectionCriteria,
            ResidentKeyRequirement,
        )

        alone = use is Use.PASSWORDLESS
        options = generate_registration_options(
            rp_id=self._site,
            rp_name=self._name,
            user_id=_checked_handle(owner.handle),
            user_name=owner.name,
            user_display_name=owner.display_name,
            challenge=_checked(challenge),
            timeout=MILLISECONDS,
            attestation=AttestationConveyancePreference.NONE,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED if alone else ResidentKeyRequirement.DISCOURAGED,
                user_verification=_verification(use),
            ),
            exclude_credentials=_descriptors(known),
        )
        return options_to_json(options).encode()

    def register(self, response: bytes, owner: Owner, use: Use, challenge: bytes) -> Passkey:
        """As the port says."""
        from webauthn import verify_registration_response
        from webauthn.helpers import parse_attestation_object, parse_registration_credential_json
        from webauthn.helpers.structs import CredentialDeviceType

        found = _tried(Refusal.MALFORMED, lambda: parse_registration_credential_json(_document(response)))
        _same_origin(found.response.client_data_json)
        attestation = _tried(Refusal.MALFORMED, lambda: parse_attestation_object(found.response.attestation_object))
        _without_attestation(attestation.fmt, attestation.att_stmt.x5c)
        made = _tried(
            Refusal.NOT_VALID,
            lambda: verify_registration_response(
                credential=found,
                expected_challenge=_checked(challenge),
                expected_rp_id=self._site,
                expected_origin=self._origins,
                require_user_verification=use is Use.PASSWORDLESS,
            ),
        )
        if not 1 <= len(made.credential_id) <= MAX_ID or made.credential_id != found.raw_id:
            raise PasskeyRefused(Refusal.MALFORMED)
        return Passkey(
            id=made.credential_id,
            handle=_checked_handle(owner.handle),
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            passwordless=use is Use.PASSWORDLESS,
            synced=made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            backed_up=made.credential_backed_up,
            aaguid=made.aaguid,
            transports=tuple(transport.value for transport in found.response.transports or ()),
        )

    def authentication_options(self, use: Use, challenge: bytes, allowed: Sequence[Passkey]) -> bytes:
        """As the port says."""
        from webauthn import generate_authentication_options, options_to_json

        if (use is Use.PASSWORDLESS) == bool(allowed):
            raise ValueError("A second factor is asked of known passkeys, a passwordless sign-in of none.")
        options = generate_authentication_options(
            rp_id=self._site,
            challenge=_checked(challenge),
            timeout=MILLISECONDS,
            allow_credentials=_descriptors(allowed),
            user_verification=_verification(use),
        )
        return options_to_json(options).encode()

    def presented(self, response: bytes) -> Presented:
        """As the port says."""
        from webauthn.helpers import parse_authentication_credential_json

        found = _tried(Refusal.MALFORMED, lambda: parse_authentication_credential_json(_document(response)))
        if not 1 <= len(found.raw_id) <= MAX_ID:
            raise PasskeyRefused(Refusal.MALFORMED)
        return Presented(found.raw_id, found.response.user_handle)

    def authenticate(self, response: bytes, passkey: Passkey, use: Use, challenge: bytes) -> Passkey:
        """As the port says."""
        from webauthn import verify_authentication_response
        from webauthn.helpers import parse_authentication_credential_json, parse_authenticator_data

        _of(passkey, self.presented(response), use)
        found = _tried(Refusal.MALFORMED, lambda: parse_authentication_credential_json(_document(response)))
        _same_origin(found.response.client_data_json)
        shown = _tried(
            Refusal.NOT_VALID,
            lambda: verify_authentication_response(
                credential=found,
                expected_challenge=_checked(challenge),
                expected_rp_id=self._site,
                expected_origin=self._origins,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=0,  # compared below
                require_user_verification=use is Use.PASSWORDLESS,
            ),
        )
        if parse_authenticator_data(found.response.authenticator_data).flags.be is not passkey.synced:
            raise PasskeyRefused(Refusal.BACKUP)
        # The standard's 7.2, 22. Devices that do not count say 0 for ever; one that has counted never may again.
        if (shown.new_sign_count or passkey.sign_count) and shown.new_sign_count <= passkey.sign_count:
            raise PasskeyRefused(Refusal.COUNTER)
        return msgspec.structs.replace(passkey, sign_count=shown.new_sign_count, backed_up=shown.credential_backed_up)


def _of(passkey: Passkey, presented: Presented, use: Use) -> None:
    """The standard's 7.2, 6: whoever is alone with the device must be named by it; a name that is told is always right."""
    if presented.id != passkey.id:
        raise PasskeyRefused(Refusal.OTHER_PASSKEY)
    if use is Use.PASSWORDLESS and not passkey.passwordless:
        raise PasskeyRefused(Refusal.NOT_PASSWORDLESS)
    if presented.handle is None:
        if use is Use.PASSWORDLESS:
            raise PasskeyRefused(Refusal.OTHER_PERSON)
    elif not hmac.compare_digest(presented.handle, passkey.handle):
        raise PasskeyRefused(Refusal.OTHER_PERSON)


def _same_origin(client_data: bytes) -> None:
    """We are never in a frame of another site: an answer from one was made for somebody else's page."""
    said = _tried(Refusal.MALFORMED, lambda: json.loads(client_data))
    if not isinstance(said, dict):
        raise PasskeyRefused(Refusal.MALFORMED)
    if said.get("crossOrigin", False) is not False or "topOrigin" in said:
        raise PasskeyRefused(Refusal.CROSS_ORIGIN)


def _without_attestation(format: object, chain: object) -> None:
    """`none`, or signed by the key itself, which browsers pass on (5.4.7). Certificates name devices, and need parsers."""
    if format not in ("none", "packed") or chain is not None:
        raise PasskeyRefused(Refusal.ATTESTATION)


def _document(response: bytes) -> dict[str, Any]:
    if len(response) > MAX_RESPONSE:
        raise PasskeyRefused(Refusal.TOO_LARGE)
    return msgspec.json.decode(response, type=dict[str, Any])


def _tried(why: Refusal, act: Callable[[], T]) -> T:
    """What strangers send makes the library raise whatever its parsers raise: all of it is a refusal, with the cause kept."""
    try:
        return act()
    except PasskeyRefused:
        raise
    except Exception as error:
        raise PasskeyRefused(why) from error


def _checked(challenge: bytes) -> bytes:
    """The library would make one up in place of an empty one, which nobody could check."""
    if len(challenge) < CHALLENGE_BYTES:
        raise ValueError(f"A challenge has at least {CHALLENGE_BYTES} bytes.")
    return challenge


def _checked_handle(handle: bytes) -> bytes:
    if not 1 <= len(handle) <= 64:
        raise ValueError("A user handle has 1 to 64 bytes.")
    return handle


def _verification(use: Use) -> Any:
    from webauthn.helpers.structs import UserVerificationRequirement

    # Discouraged: after a password, a PIN would be a third thing to type.
    return UserVerificationRequirement.REQUIRED if use is Use.PASSWORDLESS else UserVerificationRequirement.DISCOURAGED


def _descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    from webauthn.helpers.structs import AuthenticatorTransport, PublicKeyCredentialDescriptor

    return [
        PublicKeyCredentialDescriptor(id=one.id, transports=[AuthenticatorTransport(word) for word in one.transports] or None)
        for one in passkeys
    ]


def _origin_of(site: str, origin: str) -> str:
    """The origin, if browsers would let a page there use the site's passkeys (5.1.3; only loopback without TLS)."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if origin != f"{parts.scheme}://{parts.netloc}" or "@" in origin or origin != origin.lower():
        raise ValueError(f"{origin!r} is no origin. Write it as https://vault.example.org, with the port if it is not 443.")
    if parts.scheme != "https" and (parts.scheme != "http" or host.split(".")[-1] != "localhost"):
        raise ValueError(f"Browsers allow passkeys over https only (and at http://localhost), not at {origin}.")
    if host != site and not host.endswith(f".{site}"):
        raise ValueError(f"Passkeys for {site} cannot be used at {origin}: it is not that domain, nor beneath it.")
    return origin


def _domain(site: str) -> str:
    try:
        ip_address(site)
    except ValueError:
        return site
    raise ValueError(f"Browsers allow passkeys for domains only, and {site} is an address. Use a name, or localhost.")
