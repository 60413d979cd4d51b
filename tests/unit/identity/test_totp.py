"""Codes of an authenticator app."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID, uuid4
from xml.etree import ElementTree

import pyotp
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auricle.errors import Invalid
from auricle.identity import totp

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
NOW = datetime(2026, 11, 21, 12, 0, 15, tzinfo=UTC)
STEP = timedelta(seconds=totp.PERIOD)


def code(secret: str, at: datetime) -> str:
    return pyotp.TOTP(secret).at(at)


@pytest.mark.parametrize(
    ("seconds", "eight_digits"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(seconds: int, eight_digits: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert totp.accepted_step(RFC_SECRET, eight_digits[2:], now, None) == seconds // 30


def test_a_secret_has_160_bits_and_is_never_the_same() -> None:
    made = {totp.new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b32decode(secret)) for secret in made} == {20}


@pytest.mark.parametrize(("off", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_one_step_and_no_more(off: int, good: bool) -> None:
    secret = totp.new_secret()
    step = totp.accepted_step(secret, code(secret, NOW + off * STEP), NOW, None)
    assert step == (totp.step_at(NOW) + off if good else None)


def test_a_code_works_once() -> None:
    secret = totp.new_secret()
    typed = code(secret, NOW)
    step = totp.accepted_step(secret, typed, NOW, None)
    assert step is not None
    for later in range(0, 91, 5):
        assert totp.accepted_step(secret, typed, NOW + timedelta(seconds=later), step) is None


def test_an_older_code_does_not_work_after_a_newer_one() -> None:
    secret = totp.new_secret()
    last = totp.accepted_step(secret, code(secret, NOW), NOW, None)
    assert totp.accepted_step(secret, code(secret, NOW - STEP), NOW, last) is None
    assert totp.accepted_step(secret, code(secret, NOW + STEP), NOW, last) == totp.step_at(NOW) + 1


def test_a_code_that_stands_for_two_steps_of_the_window_uses_both_up() -> None:
    secret, at = RFC_SECRET, 61_331_810  # found by trying two million steps
    typed = pyotp.HOTP(secret).at(at - 1)
    assert typed == pyotp.HOTP(secret).at(at + 1)
    now = datetime.fromtimestamp(at * totp.PERIOD, UTC)
    step = totp.accepted_step(secret, typed, now, None)
    assert step == at + 1
    assert totp.accepted_step(secret, typed, now, step) is None


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "12345",
        "1234567",
        "abcdef",
        "１２３４５６",
        "12345\u0663",
        "-12345",
        "+12345",
        "1" * 100_000,
        "12e456",
        "\ud800" * 6,
        "nul\0nu",
    ],
)
def test_what_is_not_six_digits_is_no_code(typed: str) -> None:
    assert totp.accepted_step(RFC_SECRET, typed, NOW, None) is None


def test_blanks_between_the_digits_are_no_mistake() -> None:
    typed = code(RFC_SECRET, NOW)
    assert totp.accepted_step(RFC_SECRET, f" {typed[:3]} {typed[3:]}\n", NOW, None) == totp.step_at(NOW)


def test_the_address_for_apps_says_all_of_it() -> None:
    secret = totp.new_secret()
    found = urlsplit(totp.provisioning_uri(secret, "Our Vault", "åse+1@example.org"))
    assert (found.scheme, found.netloc, unquote(found.path)) == ("otpauth", "totp", "/Our Vault:åse+1@example.org")
    asked = {"secret": [secret], "issuer": ["Our Vault"]}
    assert parse_qs(found.query) == asked  # six digits, 30 seconds and SHA-1 go without saying (Key URI format)
    assert pyotp.parse_uri(found.geturl()).at(NOW) == code(secret, NOW)


@pytest.mark.parametrize(("issuer", "account"), [("a:b", "c"), ("a", "b:c"), ("", "c"), ("a", "")])
def test_a_name_cannot_pass_for_another_issuers(issuer: str, account: str) -> None:
    with pytest.raises(Invalid):
        totp.provisioning_uri(RFC_SECRET, issuer, account)


def test_the_picture_is_one_plain_svg_without_script_or_address() -> None:
    uri = totp.provisioning_uri(totp.new_secret(), "Auricle", "ada@example.org")
    picture = totp.qr_svg(uri)
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg")
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {"svg", "path", "g"}
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    assert picture != totp.qr_svg(uri + "x")


class Sealer:
    """AES-GCM under one key, bound to person and purpose."""

    def __init__(self) -> None:
        self._key = AESGCM(secrets.token_bytes(32))

    def seal(self, person: UUID, purpose: str, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._key.encrypt(nonce, secret, person.bytes + purpose.encode())

    def open(self, person: UUID, purpose: str, sealed: bytes) -> bytes:
        return self._key.decrypt(sealed[:12], sealed[12:], person.bytes + purpose.encode())


def test_a_secret_is_kept_sealed_and_opens_for_its_person_only() -> None:
    sealing, ada, bob = Sealer(), uuid4(), uuid4()
    secret = totp.new_secret()
    kept = totp.seal(secret, ada, sealing)
    assert secret.encode() not in kept
    assert totp.unseal(kept, ada, sealing) == secret
    with pytest.raises(InvalidTag):
        totp.unseal(kept, bob, sealing)
    with pytest.raises(InvalidTag):
        totp.unseal(sealing.seal(ada, "something else", secret.encode()), ada, sealing)
