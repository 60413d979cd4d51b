"""A proxy's header: believed from the proxy alone, and as it stands from nobody."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import Invalid
from auricle.identity.oidc.admission import Admission, GivenRole, RoleRule
from auricle.identity.trustedheader import (
    SECRET_HEADER,
    Disbelief,
    HeaderBody,
    HeaderConfiguration,
    TrustedHeader,
    changed,
    identify,
    view,
)
from auricle.ports.oidc import ExternalIdentity

SECRET = "0123456789abcdef" * 2
PROXY = "10.0.7.12"
OFF = TrustedHeader()


def settings(**other: object) -> TrustedHeader:
    usual = {
        "enabled": True,
        "addresses": (PROXY, "2001:db8:7::/64"),
        "email_header": "Remote-Email",
        "name_header": "Remote-Name",
        "groups_header": "Remote-Groups",
    }
    return changed(OFF, HeaderBody(**{**usual, **other}))  # type: ignore[arg-type]


def headers(**given: str) -> Mapping[str, str]:
    return {name.replace("_", "-"): value for name, value in given.items()}


ADA = headers(Remote_User="ada", Remote_Email="ada@corp.test", Remote_Name="Ada", Remote_Groups="staff, admins ,,staff")


def test_the_proxy_says_who_it_is() -> None:
    assert identify(settings(), PROXY, ADA) == ExternalIdentity(
        issuer="proxy", subject="ada", email="ada@corp.test", name="Ada", groups=("staff", "admins")
    )


def test_as_it_stands_nobody_is_believed() -> None:
    assert not HeaderConfiguration().enabled
    for address in (PROXY, "127.0.0.1", "::1", None):
        assert identify(OFF, address, ADA) is Disbelief.OFF
        assert identify(settings(enabled=False), address, ADA) is Disbelief.OFF


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.7.13", "10.0.7.1", "10.0.7.120", "127.0.0.1", "::1", "203.0.113.9", "2001:db8:8::1", "::ffff:10.0.7.13", ""),
        *("10.0.7.12, 203.0.113.9", "10.0.7.12:443", "010.0.7.12", "10.0.7.12\n", "unknown", "gateway.test"),
    ],
)
def test_from_anywhere_else_nobody_is_believed(address: str) -> None:
    assert identify(settings(), address, ADA) is Disbelief.ADDRESS


def test_without_our_gateways_word_nobody_is_believed_whatever_headers_say() -> None:
    spoofed = {
        **ADA,
        "X-Forwarded-For": PROXY,
        "X-Real-IP": PROXY,
        "Forwarded": f"for={PROXY}",
        "X-Auricle-Client-Address": PROXY,
        "X-Auricle-Client-Signature": "1:" + "0" * 64,
    }
    assert identify(settings(), None, spoofed) is Disbelief.UNVERIFIED
    assert identify(settings(), "203.0.113.9", spoofed) is Disbelief.ADDRESS


@pytest.mark.parametrize("address", [PROXY, "::ffff:10.0.7.12", "2001:db8:7::1", "2001:0db8:0007:0:0:0:0:ff"])
def test_an_address_is_the_same_however_it_is_written(address: str) -> None:
    assert isinstance(identify(settings(), address, ADA), ExternalIdentity)


@given(st.ip_addresses(network="10.0.7.0/28").map(str))
def test_only_the_listed_address_of_a_network_counts(address: str) -> None:
    assert isinstance(identify(settings(), address, ADA), ExternalIdentity) == (address == PROXY)


@given(st.ip_addresses(network="2001:db8:6::/47"))
def test_a_network_counts_to_its_edges(address: IPv6Address) -> None:
    inside = int(address) >> 64 == 0x2001_0DB8_0007_0000
    assert isinstance(identify(settings(), str(address), ADA), ExternalIdentity) == inside


# The secret


def test_where_a_secret_is_set_the_address_alone_is_not_enough() -> None:
    secured = settings(proxy_secret=SECRET)
    assert identify(secured, PROXY, ADA) is Disbelief.SECRET
    for wrong in ("", SECRET[:-1], SECRET + "0", SECRET.upper(), "é" * 32):
        assert identify(secured, PROXY, {**ADA, SECRET_HEADER: wrong}) is Disbelief.SECRET
    assert isinstance(identify(secured, PROXY, {**ADA, SECRET_HEADER: SECRET}), ExternalIdentity)
    assert identify(secured, "10.0.7.13", {**ADA, SECRET_HEADER: SECRET}) is Disbelief.ADDRESS


@pytest.mark.parametrize("loopback", ["127.0.0.1", "127.0.1.0/24", "::1"])
def test_loopback_is_trusted_with_a_secret_only(loopback: str) -> None:
    with pytest.raises(Invalid):
        settings(addresses=(loopback,))
    settings(addresses=(loopback,), proxy_secret=SECRET)
    stored = HeaderConfiguration(enabled=True, addresses=("127.0.0.1",))  # whatever came into the database
    assert identify(TrustedHeader(configuration=stored), "127.0.0.1", ADA) is Disbelief.SECRET


def test_the_secret_never_comes_out() -> None:
    made = settings(proxy_secret=SECRET)
    assert SECRET not in repr(made)
    shown = msgspec.json.encode(view(made)).decode()
    assert SECRET not in shown
    assert '"has_secret":true' in shown
    kept = changed(made, HeaderBody(enabled=True, addresses=(PROXY,)))
    assert kept.secret == SECRET
    assert changed(made, HeaderBody(enabled=True, addresses=(PROXY,), proxy_secret=None)).secret is None


# The value


@pytest.mark.parametrize("value", ["", "  ", "\t"])
def test_an_empty_header_is_nobody(value: str) -> None:
    assert identify(settings(), PROXY, {**ADA, "Remote-User": value}) is Disbelief.MISSING


def test_without_the_header_nobody_is_there() -> None:
    assert identify(settings(), PROXY, {}) is Disbelief.MISSING


@pytest.mark.parametrize(
    "value", ["eve,ada", "eve, ada", "eve;ada", "a\0da", "a\nda", "ada\x7f", "\xff\xfe", "a" * 257, "a\u2028"]
)
def test_two_values_and_broken_ones_are_nobody(value: str) -> None:
    assert identify(settings(), PROXY, {**ADA, "Remote-User": value}) is Disbelief.MALFORMED


def test_names_need_not_be_ascii() -> None:
    sent = "zoë".encode().decode("latin-1")
    found = identify(settings(), PROXY, {**ADA, "Remote-User": sent})
    assert isinstance(found, ExternalIdentity)
    assert found.subject == "zoë"


def test_an_address_is_verified_only_where_the_proxy_knows() -> None:
    plain, knowing = (identify(settings(mail_is_verified=known), PROXY, ADA) for known in (False, True))
    assert isinstance(plain, ExternalIdentity)
    assert isinstance(knowing, ExternalIdentity)
    assert (plain.email_verified, knowing.email_verified) == (False, True)
    odd = identify(settings(mail_is_verified=True), PROXY, {**ADA, "Remote-Email": "ada@corp.test, root@corp.test"})
    assert isinstance(odd, ExternalIdentity)
    assert not odd.email_verified


def test_headers_that_are_not_configured_say_nothing() -> None:
    bare = settings(email_header=None, name_header=None, groups_header=None)
    assert identify(bare, PROXY, ADA) == ExternalIdentity(issuer="proxy", subject="ada")


# Settings


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("addresses", {"addresses": ()}),
        ("addresses", {"addresses": ("0.0.0.0/0",)}),
        ("addresses", {"addresses": ("::/0",)}),
        ("addresses", {"addresses": ("10.0.0.0/8",)}),
        ("addresses", {"addresses": ("::ffff:10.0.7.12",)}),
        ("addresses", {"addresses": ("proxy.corp.test",)}),
        ("addresses", {"addresses": ("10.0.7.12/16",)}),
        ("user_header", {"user_header": "Authorization"}),
        ("user_header", {"user_header": "X-Auricle-Client-Address"}),
        ("user_header", {"user_header": "X-Forwarded-User"}),
        ("user_header", {"user_header": "Cookie"}),
        ("user_header", {"user_header": "Remote_User"}),
        ("user_header", {"user_header": "Remote-User\r\nX"}),
        ("user_header", {"user_header": SECRET_HEADER}),
        ("email_header", {"email_header": "remote-user"}),
        ("groups_header", {"groups_header": "Host"}),
        ("separator", {"separator": ""}),
        ("separator", {"separator": "a"}),
        ("proxy_secret", {"proxy_secret": "short"}),
        ("proxy_secret", {"proxy_secret": "*" * 32}),
        ("proxy_secret", {"proxy_secret": "a b" * 16}),
        ("admission", {"groups_header": None, "admission": Admission(required_groups=("staff",))}),
        ("admission", {"admission": Admission(domains=("Corp.test",))}),
        ("admission", {"admission": Admission(roles=(RoleRule(group="a", role=GivenRole.ADMIN),) * 2)}),
    ],
)
def test_what_is_not_acceptable_is_said_with_its_field(field: str, other: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        settings(**other)
    assert caught.value.extra["field"] == field
