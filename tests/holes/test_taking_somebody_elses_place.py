"""Holes of signing in by other houses: somebody else's account by an e-mail address, everybody let in, answers of others."""

from __future__ import annotations

import base64
import secrets
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from flask import Response
from sqlalchemy import func, select

from auricle.access.permissions import Role
from auricle.access.store import people
from auricle.ports.directory import Directories, DirectoryConnection
from auricle.runtime.clientheaders import Certificate
from auricle.runtime.waysin import LazyDirectories
from builders.directory import BASE, GROUPS, PEOPLE, Member, MemoryDirectory, Seed, group_dn, person_dn
from builders.directory_ear import listening
from builders.house import House
from builders.newcomers import OWNER
from builders.oidc_provider import REMOVED, SmallProvider, small_provider
from builders.persons import Person, person
from builders.pki import Authority, Holder, publishing
from builders.visitor import PAGE, Visitor, provider_body, set_up

PROXY, SECRET = "192.0.2.77", "of-this-proxy-and-us-alone-0123456789"


@pytest.fixture
def small(home: House) -> Iterator[SmallProvider]:
    """A provider, set up anew; its people are new to the house."""
    with small_provider() as provider:
        for claims in provider.people.values():
            claims["sub"] = f"{claims['sub']}-{secrets.token_hex(4)}"
            claims["email"] = f"{secrets.token_hex(4)}@example.test"
        set_up(home, "providers", "small", provider_body(provider))
        yield provider


@pytest.fixture(params=["owner", "admin", "member"])
def victim(request: pytest.FixtureRequest, home: House) -> str:
    """The address of somebody here: of the first owner, of an administrator, of anybody."""
    return OWNER if request.param == "owner" else person(home.bound.wiring, Role(request.param)).email


def how_many(home: House) -> int:
    with home.bound.wiring.database.work() as db:
        return int(db.execute(select(func.count()).select_from(people)).scalar_one())


def came_in_as(visitor: Visitor, answer: Response) -> dict[str, Any] | None:
    """Whom a sign-in made of them; None: nobody."""
    if answer.status_code >= 400:
        assert "auricle_refresh" not in visitor.cookies
        return None
    return visitor.me()


# Takeover by an address


def test_identity_takeover_by_email_oidc(home: House, small: SmallProvider, victim: str) -> None:
    """A provider that is wrong about addresses, or lies: with every rule that could let its people in."""
    small.people["alice"] |= {"email": victim, "email_verified": True, "preferred_username": victim, "name": "Ada"}
    for admission in (
        {"domains": ["vault.example"]},
        {"groups": ["staff"]},
        {"groups": ["staff"], "default_role": "admin"},
        {},
    ):
        set_up(home, "providers", "small", provider_body(small, admission=admission))
        before, visitor = how_many(home), Visitor(home)
        assert came_in_as(visitor, visitor.sign_in(small)) is None
        assert how_many(home) == before


def test_identity_takeover_by_email_ldap(home: House, victim: str) -> None:
    login = f"ada{secrets.token_hex(4)}"
    seed = Seed([Member(login, "ada's", victim, "Ada")], {group_dn("staff"): [person_dn(login)]})
    home.bound.wiring.__dict__["_ports"][Directories] = Remembered(seed)
    for more in ({"mail_is_verified": False}, {"mail_is_verified": True}):
        body = directory_body(admission={"groups": [group_dn("staff")]}, **more)
        set_up(home, "directories", "corp", body)
        for name in (login, victim):  # the login, and the address in its place
            visitor = Visitor(home)
            answer = visitor.ask("POST", "/api/session/directory/corp", {"login": name, "password": "ada's"})
            not_the_victim(came_in_as(visitor, answer), victim)


def test_identity_takeover_by_email_pki(home: House, victim: str) -> None:
    root = Authority.root(now=datetime.now(UTC).replace(microsecond=0))
    with publishing() as web:
        root.crl = f"{web.url}/root.crl"
        web.lists["/root.crl"] = root.revocation_list()
        card = root.client(victim, x509.RFC822Name(victim))
        for more in ({"mail_is_verified": False}, {"mail_is_verified": True, "admission": {"domains": ["vault.example"]}}):
            known = {"id": "cards", "name": "Cards", "field": "email", "anchors_pem": root.pem}
            set_up(home, "certificates", "cards", {**known, "revocation": {"sources": ["crl"]}, **more})
            visitor = Visitor(home)
            answer = showing(home, visitor, card)
            assert answer.status_code in (201, 403)  # the card itself is believed
            not_the_victim(came_in_as(visitor, answer), victim)


def test_identity_takeover_by_email_proxy_header(home: House, victim: str) -> None:
    for verified in (False, True):
        body: dict[str, Any] = {"enabled": True, "addresses": [PROXY], "email_header": "Remote-Email", "proxy_secret": SECRET}
        body |= {
            "mail_is_verified": verified,
            "groups_header": "Remote-Groups",
            "admission": {"groups": ["all"], "domains": ["vault.example"]},
        }
        set_up(home, "trusted-header", "", body)
        for name in (victim, f"ada-{secrets.token_hex(4)}"):
            visitor = Visitor(home, PROXY)
            said = {"Remote_User": name, "Remote_Email": victim, "Remote_Groups": "all", "X_Proxy_Secret": SECRET}
            not_the_victim(came_in_as(visitor, visitor.ask("POST", "/api/session/header", {}, **said)), victim)


def not_the_victim(me: dict[str, Any] | None, victim: str) -> None:
    """Refused, or somebody new without that address and with no more than the rules give."""
    assert me is None or (me["email"] != victim and me["roles"] == ["member"])


class Remembered:
    """A directory that does as it is seeded."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed

    def for_(self, connection: DirectoryConnection) -> MemoryDirectory:
        return MemoryDirectory(self._seed, connection)


def directory_body(**more: Any) -> dict[str, Any]:
    known = {"id": "corp", "name": "Corp", "servers": [{"host": "ldap.example.test"}], "bind_dn": f"cn=auricle,{BASE}"}
    return {**known, "people": PEOPLE, "groups": GROUPS, "bind_password": "of the service account", **more}


def showing(home: House, visitor: Visitor, card: Holder) -> Response:
    home.certificate = Certificate(subject="CN=ada", fingerprint=card.fingerprint)
    try:
        der = base64.b64encode(ssl.PEM_cert_to_DER_cert(card.pem)).decode()
        return visitor.ask("POST", "/api/session/certificate", {}, X_Auricle_Client_Certificate=der)
    finally:
        home.certificate = None


# What of a provider's answer counts


def test_oidc_fell_back_to_the_access_token(home: House, small: SmallProvider) -> None:
    """Without an ID token nobody is signed in, however good an access token looks, or what userinfo says to it."""
    as_jwt = small.signed({**small.people["alice"], "iss": small.url, "aud": "auricle", "exp": 2**31, "iat": 0})
    for tokens in (
        {"id_token": REMOVED},
        {"id_token": REMOVED, "access_token": as_jwt},
        {"id_token": ""},
        {"id_token": "opaque"},
    ):
        small.manners.tokens = dict(tokens)
        visitor = Visitor(home)
        assert came_in_as(visitor, visitor.sign_in(small)) is None
    assert "/userinfo" not in small.requests
    for theirs in (as_jwt, next(iter(small.access_tokens))):
        assert Visitor(home).ask("GET", "/api/me", bearer=theirs).status_code == 401


def test_oidc_jit_admits_everybody(home: House, small: SmallProvider) -> None:
    for admission in ({}, {"domains": ["elsewhere.test"]}, {"groups": ["nobody"]}, {"domains": ["ple.test", "*", ""]}):
        nobody_new(home, small, admission)
    small.people["alice"]["email_verified"] = False  # an address that nobody has proved counts for no rule
    nobody_new(home, small, {"domains": ["example.test"]})
    small.people["alice"]["email_verified"] = True
    home_admits(home, small, {"domains": ["example.test"]})
    visitor = Visitor(home)
    assert came_in_as(visitor, visitor.sign_in(small)) is not None  # the rule that does fit


def nobody_new(home: House, small: SmallProvider, admission: dict[str, Any]) -> None:
    home_admits(home, small, admission)
    before, visitor = how_many(home), Visitor(home)
    assert came_in_as(visitor, visitor.sign_in(small)) is None
    assert how_many(home) == before


def home_admits(home: House, small: SmallProvider, admission: dict[str, Any]) -> None:
    """Set the rules; those that can fit nobody or everybody may be refused when they are set."""
    admin = person(home.bound.wiring, Role.ADMIN)
    tag = home.raw("GET", "/api/settings/providers/small", **admin.headers).headers["ETag"]
    answer = home.raw(
        "PUT", "/api/settings/providers/small", provider_body(small, admission=admission), If_Match=tag, **admin.headers
    )
    assert answer.status_code in (200, 422)


def test_state_of_another_browser(home: House, small: SmallProvider) -> None:
    """An attacker's answer does not sign a victim in as the attacker, nor a victim's answer the attacker as the victim."""
    attackers = small.sign_in(Visitor(home).leave(), "bob")
    victim = Visitor(home)
    victim.leave()
    assert came_in_as(victim, victim.come_back(attackers)) is None
    bare = Visitor(home)
    assert came_in_as(bare, bare.come_back(attackers)) is None


def test_oauth_mix_up(home: House, small: SmallProvider) -> None:
    """RFC 9700, 4.4: what one provider answers is not shown to another one."""
    with small_provider() as attackers:
        set_up(home, "providers", "attackers", provider_body(attackers, "attackers", name="Other"))
        visitor = Visitor(home)
        honest = small.sign_in(visitor.leave("small"))
        assert came_in_as(visitor, visitor.come_back(honest, "attackers")) is None
        visitor = Visitor(home)
        visitor.leave("attackers")
        provider_body(small)
        honest = small.sign_in(Visitor(home).leave("small"))
        assert came_in_as(visitor, visitor.come_back(honest, "attackers")) is None
        assert "/token" not in attackers.requests


ELSEWHERE = (
    *(
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%2f%2fevil.example",
    ),
    *(
        "javascript:alert(1)",
        "data:text/html,x",
        "/\t/evil.example",
        "/%09/evil.example",
        "https:evil.example",
        "/..//evil.example",
    ),
    *(
        "http://127.0.0.1:8787@evil.example/",
        "/api/session",
        "/%2561pi/session",
        "evil.example",
        " //evil.example",
        "/\r\nLocation: //evil.example",
    ),
)


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_open_redirect_after_login(home: House, small: SmallProvider, wanted: str) -> None:
    visitor = Visitor(home)
    answer = visitor.ask("GET", f"/api/sign-in/small?{urlencode({'next': wanted})}")
    back = visitor.come_back(small.sign_in(answer.headers["Location"]))
    assert (back.status_code, back.headers["Location"]) == (303, "/")


def test_open_redirect_at_sign_out(home: House, small: SmallProvider) -> None:
    visitor = Visitor(home)
    visitor.sign_in(small)
    answer = visitor.ask(
        "DELETE", "/api/session?next=https://evil.example&post_logout_redirect_uri=https://evil.example", bearer=visitor.token()
    )
    assert "evil" not in answer.get_data(as_text=True)


def test_linking_by_a_stolen_answer(home: House, small: SmallProvider) -> None:
    """Whoever begins to link an account finishes it: an attacker's account is not linked to whom they lure to the address."""
    attacker, victim = person(home.bound.wiring), person(home.bound.wiring)
    begun = Visitor(home)
    url = begun.ask("POST", "/api/me/identities/small", {}, bearer=attacker.bearer, **PAGE).get_json()["url"]
    pairs = small.sign_in(url, "bob")
    lured = Visitor(home)
    assert lured.come_back(pairs).status_code == 401
    assert linked(lured, victim) == []
    assert attacker_after_sign_out(home, attacker, begun, pairs) == 403  # nor to who has signed out meanwhile


def attacker_after_sign_out(home: House, who: Person, browser: Visitor, pairs: list[tuple[str, str]]) -> int:
    assert browser.ask("DELETE", "/api/session", bearer=who.bearer).status_code == 204
    return browser.come_back(pairs).status_code


def linked(visitor: Visitor, who: Person) -> list[Any]:
    return list(visitor.ask("GET", "/api/me/identities", bearer=who.bearer).get_json()["items"])


# LDAP

LOGINS = (
    *(
        "*",
        "a*",
        "*)(uid=*",
        "ada)(|(uid=*",
        "ada)(&",
        "*))%00",
        "ada\x00",
        "\\2a",
        "\\",
        "ada)(objectClass=*)",
        ")(cn=))(|(cn=*",
    ),
    *("ada,dc=evil", "cn=auricle,dc=example,dc=test", "(uid=ada)", "äda)(uid=*"),
)


def test_ldap_injection(home: House) -> None:
    """By ldap3, over TLS: every login is one value of one filter, whatever stands in it."""
    with listening() as ear:
        home.bound.wiring.__dict__["_ports"][Directories] = LazyDirectories()
        server = {"host": "127.0.0.1", "port": ear.port, "encryption": "ldaps"}
        set_up(
            home,
            "directories",
            "corp",
            directory_body(servers=[server], ca_pem=ear.ca_pem, admission={"groups": [group_dn("staff")]}),
        )
        answers = [
            Visitor(home).ask("POST", "/api/session/directory/corp", {"login": login, "password": "x"})
            for login in ("ada", *LOGINS)
        ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.get_json()["detail"] for answer in answers}) == 1
    assert ear.shapes == {"(&(objectClass=…)(|(uid=…)))"}
    assert set(ear.values) - {"inetOrgPerson"} == {login for login in ("ada", *LOGINS) if "\x00" not in login}
    assert all(name.startswith(("cn=auricle,", "cn=nobody-")) for name in ear.bound)  # and nobody's choice of a name is bound
