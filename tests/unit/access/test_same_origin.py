"""The cookie, and the proof that its sender is our own page."""

from __future__ import annotations

from datetime import timedelta
from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.access.sameorigin import Carrier, Cookie, origin, refresh_cookie, require_proof, same_origin_proof
from auricle.errors import Denied, Invalid

OURS = "https://vault.example.org"
ALLOWED = frozenset({OURS})
COOKIE = refresh_cookie(OURS)
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
EVERY = (*CHANGING, "GET", "HEAD", "OPTIONS", "get", "post")


# CSRF


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://vault.example.org"},
        {"Origin": "https://vault.example.org:8443"},
        {"Origin": "https://vault.example.org.attacker.example"},
        {"Origin": "https://attacker.example/https://vault.example.org"},
        {"Origin": "https://VAULT.example.org"},
        {"Origin": "https://vault.example.org/"},
        {"Origin": "https://vault.example.org, https://attacker.example"},
        {"Origin": "https://sibling.example.org", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Sec-Fetch-Site": ""},
        {"Origin": OURS, "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://attacker.example", "Sec-Fetch-Site": "same-origin"},
        {"Referer": f"{OURS}/files"},
        {"Host": "vault.example.org"},
        {},
    ],
)
def test_csrf_from_another_origin(method: str, headers: dict[str, str]) -> None:
    assert not same_origin_proof(method, headers, ALLOWED)
    with pytest.raises(Denied):
        require_proof(Carrier.COOKIE, method, headers, ALLOWED)


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": OURS},
        {"origin": OURS, "sec-fetch-site": "same-origin"},
        {"SEC-FETCH-SITE": "same-origin"},
        {"Origin": f" {OURS} ", "Referer": "https://attacker.example"},
    ],
)
def test_our_own_page_proves_itself(method: str, headers: dict[str, str]) -> None:
    assert same_origin_proof(method, headers, ALLOWED)
    require_proof(Carrier.COOKIE, method, headers, ALLOWED)


@pytest.mark.parametrize("method", EVERY)
def test_what_was_typed_may_look_and_not_change(method: str) -> None:
    assert same_origin_proof(method, {"Sec-Fetch-Site": "none"}, ALLOWED) is (method.upper() in ("GET", "HEAD"))


@given(st.sampled_from(EVERY), st.dictionaries(st.sampled_from(["Origin", "Sec-Fetch-Site", "Referer"]), st.text(max_size=20)))
def test_bearer_credentials_need_no_proof(method: str, headers: dict[str, str]) -> None:
    require_proof(Carrier.BEARER, method, headers, frozenset())


@given(
    st.sampled_from(CHANGING), st.text(max_size=40), st.sampled_from([None, "same-origin", "same-site", "cross-site", "none"])
)
def test_no_origin_but_ours_ever_changes_anything(method: str, sender: str, site: str | None) -> None:
    headers = {"Origin": sender} | ({"Sec-Fetch-Site": site} if site else {})
    assert same_origin_proof(method, headers, ALLOWED) is (sender.strip() == OURS and site in (None, "same-origin"))


def test_nobody_is_allowed_where_no_origin_is() -> None:
    assert not same_origin_proof("POST", {"Origin": OURS}, frozenset())


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://vault.example.org/app?x=1#y", OURS),
        ("https://Vault.Example.Org:443/", OURS),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("https://user:password@vault.example.org/", OURS),
    ],
)
def test_origins_are_written_as_browsers_write_them(url: str, written: str) -> None:
    assert origin(url) == written


@pytest.mark.parametrize("url", ["", "vault.example.org", "file:///etc/passwd", "javascript:alert(1)", "null", "https://", "*"])
def test_what_has_no_origin_is_none_to_allow(url: str) -> None:
    with pytest.raises(ValueError):
        origin(url)


# The cookie


def test_the_refresh_cookie_is_as_narrow_as_browsers_allow() -> None:
    line = COOKIE.setting("aurr_secret", timedelta(days=30))
    assert line == (
        "__Secure-auricle_refresh=aurr_secret; Max-Age=2592000; Path=/api/session; Secure; HttpOnly; SameSite=Strict"
    )
    assert "domain" not in line.lower()


def test_clearing_names_the_same_cookie() -> None:
    line = COOKIE.clearing()
    assert line == "__Secure-auricle_refresh=; Max-Age=0; Path=/api/session; Secure; HttpOnly; SameSite=Strict"


def test_a_cookie_reader_of_other_make_reads_it() -> None:
    jar: SimpleCookie = SimpleCookie(COOKIE.setting("aurr_a-b_c", timedelta(seconds=90)))
    morsel = jar["__Secure-auricle_refresh"]
    assert (morsel.value, morsel["path"], morsel["samesite"]) == ("aurr_a-b_c", "/api/session", "Strict")
    assert morsel["httponly"]
    assert morsel["secure"]
    assert not morsel["domain"]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (None, None),
        ("", None),
        ("other=1", None),
        ("__Secure-auricle_refresh=aurr_x", "aurr_x"),
        ("a=b; __Secure-auricle_refresh=aurr_x; c=d", "aurr_x"),
        ("__Secure-auricle_refresh=", None),
        ("auricle_refresh=aurr_x", None),
        ("x__Secure-auricle_refresh=aurr_x", None),
        ("__secure-auricle_refresh=aurr_x", None),
        ("__Secure-auricle_refresh", None),
        ("a=__Secure-auricle_refresh=aurr_x", None),
    ],
)
def test_only_the_cookie_of_that_very_name_is_read(header: str | None, value: str | None) -> None:
    assert COOKIE.value_in(header) == value


def test_session_fixation_by_a_cookie_tossed_beside_ours() -> None:
    """A sibling host sets one of the same name with a longer path, which the browser sends first."""
    with pytest.raises(Invalid, match="two"):
        COOKIE.value_in("__Secure-auricle_refresh=aurr_attackers; __Secure-auricle_refresh=aurr_ours")


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "http://a.localhost"])
def test_a_laptop_without_tls_has_a_plain_cookie(url: str) -> None:
    cookie = refresh_cookie(url)
    assert (cookie.name, cookie.secure, cookie.http_only, cookie.same_site) == ("auricle_refresh", False, True, "Strict")


@pytest.mark.parametrize(
    "url", ["http://vault.example.org", "http://192.168.1.5", "http://localhost.example.org", "ftp://x", ""]
)
def test_nobody_signs_in_over_a_network_without_tls(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        refresh_cookie(url)


def test_a_prefix_that_promises_what_is_not_kept_is_a_mistake() -> None:
    with pytest.raises(ValueError):
        Cookie(name="__Secure-x", path="/", secure=False)
    with pytest.raises(ValueError):
        Cookie(name="__Host-x", path="/api/session", secure=True)
    with pytest.raises(ValueError):
        Cookie(name="__Host-x", path="/", secure=False)
    assert (
        Cookie(name="__Host-x", path="/", secure=True).setting("v", timedelta(0)).startswith("__Host-x=v; Max-Age=0; Path=/;")
    )
