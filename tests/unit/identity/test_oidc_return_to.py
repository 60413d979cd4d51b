"""Where a sign-in may end: on a page of ours, whatever anybody writes into the address."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auricle.identity.oidc.arrival import HOME, same_site

OURS = "https://vault.example"


@pytest.mark.parametrize(
    "page",
    [
        "/",
        "/files",
        "/files/",
        "/files/0198f3c2-7a3e/transcript",
        "/search?q=budget&page=2",
        "/search?q=https://elsewhere.example//x",
        "/files/a?t=12.5#segment-9",
        "/files/caf%C3%A9",
        "/files/a%20b",
        "/apiary",
        "/settings?then=%2F%2Felsewhere",
        "/files/a~b_c-d.e",
    ],
)
def test_pages_of_ours_are_returned_to(page: str) -> None:
    assert same_site(page) == page


@pytest.mark.parametrize(
    "wanted",
    [
        None,
        "",
        "files",
        "attacker.test",
        "https://attacker.test",
        "https:attacker.test",
        "https:/attacker.test",
        "HTTPS://vault.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "//attacker.test",
        "///attacker.test",
        "////attacker.test",
        "\\\\attacker.test",
        "/\\attacker.test",
        "\\/attacker.test",
        "/\\/attacker.test",
        "/files\\..\\x",
        "/%2f",
        "/%2fattacker.test",
        "/%2Fattacker.test",
        "/%252fattacker.test",
        "/%25252fattacker.test",
        "/%2525252fattacker.test",
        "/%5cattacker.test",
        "/%5C%5Cattacker.test",
        "/%255cattacker.test",
        "/.//attacker.test",
        "/..//attacker.test",
        "/./files",
        "/../files",
        "/%2e%2e/files",
        "/%2e/%2fattacker.test",
        "/files//attacker.test",
        "/files/..%2f..%2f",
        "/files/;/attacker.test",
        "/@attacker.test",
        "/user:password@attacker.test",
        "/%40attacker.test",
        "@attacker.test",
        " /files",
        "/files ",
        "/ /attacker.test",
        "/\t/attacker.test",
        "\t//attacker.test",
        "/\n/attacker.test",
        "/files\r\nSet-Cookie: a=b",
        "/files%0d%0aSet-Cookie:%20a=b",
        "/%00",
        "/%09/attacker.test",
        "/\x00",
        "/\x7f",
        "/%7f",
        "/\u2028/attacker.test",
        "/\u200b/attacker.test",
        "/\uff0fattacker.test",
        "/\u2044attacker.test",
        "/\u2215attacker.test",
        "\uff0f\uff0fattacker.test",
        "/%E2%80%AEtset.rekcatta",
        "/attacker\u3002test",
        "/café",
        '/"><script>',
        "/<script>",
        "/api",
        "/api/sign-in/x/begin",
        "/API/session",
        "/%61pi/session",
        "/" + "a" * 2048,
    ],
)
def test_anything_else_leads_home(wanted: str | None) -> None:
    assert same_site(wanted) == HOME


def as_a_browser_reads_it(address: str) -> str:
    """The host that a browser goes to: it drops tabs and line ends, and takes backslashes for slashes (WHATWG URL)."""
    clean = address.strip("".join(map(chr, range(33))))
    clean = clean.translate({9: None, 10: None, 13: None}).replace("\\", "/")
    if clean.startswith("//"):
        clean = "//" + clean.lstrip("/")
    return urlsplit(urljoin(OURS + "/sign-in", clean)).netloc


NASTY = st.text(st.sampled_from("/\\.%25cfFC@:?#a \t\n\r;&=0eE2\u2044\uff0f"), max_size=20)


@given(NASTY | st.text(max_size=40).map(lambda text: "/" + text))
@example("/%25%32%66/attacker.test")
def test_no_address_leads_to_another_host(wanted: str) -> None:
    leads = same_site(wanted)
    assert as_a_browser_reads_it(leads) == "vault.example"
    path = leads.partition("#")[0].partition("?")[0]
    for _ in range(5):  # whoever decodes it once more on the way gets no other host out of it either
        path = unquote(path)
        assert not path.startswith(("//", "/\\"))
        assert as_a_browser_reads_it(path) == "vault.example"
