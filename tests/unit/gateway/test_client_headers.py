"""Who asks is what the gateway signed, and nothing else."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import EnvironHeaders, Headers

from auricle.errors import Invalid
from auricle.runtime.clientheaders import (
    ADDRESS,
    FINGERPRINT,
    HOST,
    MAX_AGE_SECONDS,
    MAX_AHEAD_SECONDS,
    SIGNATURE,
    SUBJECT,
    Certificate,
    Client,
    ClientHeaders,
    Disbelief,
)

KEY, OTHER = "11" * 32, "22" * 32
NOW = 1_800_000_000.0
PATH = b"/api/files"
CLIENT = Client(
    address="2001:db8::7",
    host="vault.example",
    scheme="https",
    certificate=Certificate(subject="CN=Ada,O=Example", fingerprint="ab" * 32),
)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        """It begins at NOW."""
        self.now = NOW

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The door's clock."""
    return Clock()


@pytest.fixture
def door(clock: Clock) -> ClientHeaders:
    """What a function checks with."""
    return ClientHeaders(KEY, clock)


def headers(**more: str) -> Headers:
    """What the gateway sends at NOW, with some of it changed."""
    return Headers({**ClientHeaders(KEY, lambda: NOW).signed(CLIENT, "GET", PATH), **more})


def test_what_the_gateway_signed_is_believed(door: ClientHeaders) -> None:
    assert door.client(headers(), "GET", PATH) == CLIENT
    assert CLIENT.origin == "https://vault.example"
    assert not door.ignored


def test_without_a_certificate_nobody_holds_one(door: ClientHeaders) -> None:
    plain = Client(address="192.0.2.1", host="vault.example", scheme="https")
    sent = ClientHeaders(KEY, lambda: NOW).signed(plain, "POST", PATH)
    assert not {SUBJECT, FINGERPRINT} & set(sent)
    assert door.client(sent, "POST", PATH) == plain


@pytest.mark.parametrize("name", [ADDRESS, HOST, SUBJECT, FINGERPRINT])
def test_a_changed_value_makes_all_of_them_worthless(door: ClientHeaders, name: str) -> None:
    sent = headers()
    sent[name] = "127.0.0.1"
    assert door.client(sent, "GET", PATH) is None
    assert door.ignored == {Disbelief.FORGED: 1}


def test_values_cannot_be_taken_out_or_moved(door: ClientHeaders) -> None:
    sent = headers()
    sent.remove(FINGERPRINT)
    assert door.client(sent, "GET", PATH) is None
    sent = headers()
    sent[ADDRESS], sent[HOST] = sent[HOST], sent[ADDRESS]
    assert door.client(sent, "GET", PATH) is None


def test_a_signature_is_good_for_one_method_and_path(door: ClientHeaders) -> None:
    assert door.client(headers(), "DELETE", PATH) is None
    assert door.client(headers(), "GET", b"/api/tokens") is None


def test_an_old_signature_is_worth_nothing_and_a_slow_start_is_no_reason(door: ClientHeaders, clock: Clock) -> None:
    sent = headers()
    for shift, believed in ((MAX_AGE_SECONDS, True), (-MAX_AHEAD_SECONDS, True), (MAX_AGE_SECONDS + 1, False), (-61, False)):
        clock.now = NOW + shift
        assert (door.client(sent, "GET", PATH) == CLIENT) is believed
    assert door.ignored == {Disbelief.STALE: 2}


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        ("", Disbelief.UNSIGNED),
        ("0" * 64, Disbelief.MALFORMED),
        (f"{NOW:.0f}:", Disbelief.FORGED),
        (f"{NOW:.0f}:{'0' * 64}", Disbelief.FORGED),
        ("²:" + "0" * 64, Disbelief.MALFORMED),
        ("9" * 5000 + ":" + "0" * 64, Disbelief.MALFORMED),
        (f"{NOW:.0f}:ü", Disbelief.MALFORMED),
    ],
)
def test_forged_headers_have_no_effect_and_are_counted(door: ClientHeaders, signature: str, why: Disbelief) -> None:
    assert door.client(headers(**{SIGNATURE: signature}), "GET", PATH) is None
    assert door.ignored == {why: 1}


def test_without_a_key_nothing_is_signed_and_nothing_is_believed() -> None:
    door = ClientHeaders("", lambda: NOW)
    assert door.signed(CLIENT, "GET", PATH) == {}
    assert door.client(headers(), "GET", PATH) is None
    assert door.ignored == {Disbelief.NO_KEY: 1}


def test_whoever_claims_nothing_is_not_counted(door: ClientHeaders) -> None:
    assert door.client({"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1"}, "GET", PATH) is None
    assert not door.ignored


def test_while_keys_change_both_are_believed_and_the_first_signs() -> None:
    both = ClientHeaders(f"{OTHER},{KEY}", lambda: NOW)
    assert both.client(headers(), "GET", PATH) == CLIENT
    assert ClientHeaders(OTHER, lambda: NOW).client(both.signed(CLIENT, "GET", PATH), "GET", PATH) == CLIENT


def test_a_key_that_is_none_is_named() -> None:
    with pytest.raises(Invalid, match="GATEWAY_KEY"):
        ClientHeaders("secret")


def test_forgers_do_not_fill_the_log(door: ClientHeaders, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            door.client(headers(**{SIGNATURE: "x"}), "GET", PATH)
    assert door.ignored == {Disbelief.MALFORMED: 100}
    assert len(caplog.records) == 7


@given(st.binary(min_size=1), st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF)))
def test_any_path_and_any_host_are_signed_as_they_are(path: bytes, host: str) -> None:
    client = Client(address="192.0.2.1", host=host, scheme="https")
    both = ClientHeaders(KEY, lambda: NOW)
    environ = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in both.signed(client, "PUT", path).items()}
    assert both.client(EnvironHeaders(environ), "PUT", path) == client
