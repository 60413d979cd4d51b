"""Where passkeys can be used at all."""

from __future__ import annotations

import pytest

from auricle.adapters.passkeys.webauthn import WebauthnPasskeys
from auricle.ports.passkeys import Owner, Use
from builders.authenticator import Device

ADA = Owner(handle=b"h" * 64, name="ada@example.org", display_name="Ada Lovelace")


@pytest.mark.parametrize(
    ("site", "origin"),
    [
        ("vault.example.org", "http://vault.example.org"),
        ("vault.example.org", "https://example.org"),
        ("vault.example.org", "https://notvault.example.org"),
        ("vault.example.org", "https://vault.example.org/"),
        ("vault.example.org", "https://vault.example.org/app"),
        ("vault.example.org", "https://Vault.example.org"),
        ("vault.example.org", "https://me@vault.example.org"),
        ("vault.example.org", "vault.example.org"),
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://127.0.0.1:8000"),
    ],
)
def test_addresses_where_browsers_would_refuse_are_mistakes_in_a_setting(site: str, origin: str) -> None:
    with pytest.raises(ValueError):
        WebauthnPasskeys(site, "Auricle", [origin])


@pytest.mark.parametrize(
    ("site", "origin"), [("localhost", "http://localhost:8000"), ("example.org", "https://vault.example.org")]
)
def test_a_laptop_and_a_domain_above_are_fine(site: str, origin: str) -> None:
    passkeys, device = WebauthnPasskeys(site, "Auricle", [origin]), Device(origin)
    made = device.create(passkeys.registration_options(ADA, Use.PASSWORDLESS, b"c" * 32, ()))
    passkey = passkeys.register(made, ADA, Use.PASSWORDLESS, b"c" * 32)
    shown = device.get(passkeys.authentication_options(Use.PASSWORDLESS, b"d" * 32, ()))
    assert passkeys.authenticate(shown, passkey, Use.PASSWORDLESS, b"d" * 32).sign_count == 2


def test_a_site_without_an_address_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one address"):
        WebauthnPasskeys("vault.example.org", "Auricle", [])
