"""Signing in by a directory, a certificate and a proxy's header, through the door."""

from __future__ import annotations

import base64
import secrets
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Response
from sqlalchemy import text

from auricle.access.permissions import Role
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.errors import Retryable
from auricle.ports.directory import Directories, DirectoryConnection
from auricle.runtime.clientheaders import Certificate
from builders.directory import BASE, GROUPS, PEOPLE, Member, MemoryDirectory, Seed, group_dn, person_dn
from builders.house import House, house
from builders.persons import person
from builders.pki import Authority, Holder, Publisher, publishing, upn
from builders.visitor import PAGE, PUBLIC_URL, Visitor, set_up

PROXY, SECRET = "192.0.2.77", "of-this-proxy-and-us-alone-0123456789"


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url=PUBLIC_URL) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_certificate(home: House) -> Iterator[None]:
    yield
    home.certificate = None


def trail(home: House, address: str) -> list[AuditRow]:
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(200, None, AuditFilter(address=address))[::-1]


# Directories


class Corp:
    """A directory whose people are new for each test, and which can be away."""

    def __init__(self) -> None:
        self.ada, self.bob = (f"{name}{secrets.token_hex(4)}" for name in ("ada", "bob"))
        self.away = False
        self.asked: list[str] = []
        self.checked_out: list[int] = []
        self.pool: Any = None

    def for_(self, connection: DirectoryConnection) -> Corp:
        self.connection = connection
        return self

    def sign_in(self, login: str, password: str) -> Any:
        self.asked.append(login)
        self.checked_out.append(self.pool.checkedout())
        if self.away:
            raise Retryable("The directory is away.")
        people = [Member(self.ada, "ada's", f"{self.ada}@example.test", "Ada"), Member(self.bob, "bob's")]
        groups = {
            group_dn("backend"): [person_dn(self.ada)],
            group_dn("staff"): [group_dn("backend")],
            group_dn("guests"): [person_dn(self.bob)],
        }
        return MemoryDirectory(Seed(people, groups), self.connection).sign_in(login, password)


@pytest.fixture
def corp(home: House) -> Corp:
    made = Corp()
    made.pool = home.bound.wiring.database.engine.pool
    home.bound.wiring.__dict__.setdefault("_ports", {})[Directories] = made
    in_staff = {"required_groups": [group_dn("staff")], "groups": [group_dn("STAFF")]}
    roles = {"roles": [{"group": group_dn("backend"), "role": "auditor"}], "default_role": "guest"}
    set_up(home, "directories", "corp", directory_body(admission={**in_staff, **roles}))
    return made


def directory_body(**more: Any) -> dict[str, Any]:
    known = {"id": "corp", "name": "Corp", "servers": [{"host": "ldap.example.test"}], "bind_dn": f"cn=auricle,{BASE}"}
    return {**known, "people": PEOPLE, "groups": GROUPS, "bind_password": "of the service account", **more}


def log_in(visitor: Visitor, login: str, password: str, **headers: str) -> Response:
    return visitor.ask("POST", "/api/session/directory/corp", {"login": login, "password": password}, **headers)


def test_somebody_of_the_directory_signs_in_with_the_role_of_nested_groups(home: House, corp: Corp) -> None:
    visitor = Visitor(home)
    answer = log_in(visitor, corp.ada, "ada's")
    assert (answer.status_code, answer.get_json()["answer"]) == (201, "session")
    me = visitor.me()
    assert (me["name"], me["roles"]) == ("Ada", ["auditor"])
    assert not me["email"]  # anybody could write an address into their own entry
    again = Visitor(home)
    log_in(again, corp.ada.upper(), "ada's")
    assert again.me()["id"] == me["id"]
    assert corp.checked_out == [0, 0]  # no connection is held meanwhile


def test_whoever_is_not_let_in_is_answered_alike(home: House, corp: Corp) -> None:
    answers = [
        log_in(Visitor(home), login, password)
        for login, password in ((corp.bob, "bob's"), (corp.ada, "wrong"), ("nobody", "x"), ("*", "ada's"), (corp.ada, ""))
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.get_json()["detail"] for answer in answers}) == 1


def test_guesses_lock_a_login_in_every_spelling(home: House, corp: Corp) -> None:
    spellings = [corp.ada, corp.ada.upper(), f" {corp.ada} ", corp.ada.title(), corp.ada]
    assert {log_in(Visitor(home), spelling, "guess").status_code for spelling in spellings} == {401}
    locked = Visitor(home)
    refused = log_in(locked, corp.ada, "ada's")
    assert (refused.status_code, int(refused.headers["Retry-After"]) > 60) == (429, True)
    assert len(corp.asked) == 5  # the directory does not hear of it
    assert trail(home, locked.address)[0].details["reason"] == "locked"


def test_a_directory_that_is_away_locks_nobody(home: House, corp: Corp) -> None:
    corp.away = True
    assert {log_in(Visitor(home), corp.ada, "ada's").status_code for _ in range(7)} == {503}
    corp.away = False
    assert log_in(Visitor(home), corp.ada, "ada's").status_code == 201


def test_another_sites_page_signs_nobody_in(home: House, corp: Corp) -> None:
    refused = log_in(Visitor(home), corp.ada, "ada's", Origin="https://evil.example", Sec_Fetch_Site="cross-site")
    assert (refused.status_code, corp.asked) == (403, [])


def test_a_directory_set_up_anew_under_the_same_name_knows_nobody(home: House, corp: Corp) -> None:
    before, after = Visitor(home), Visitor(home)
    log_in(before, corp.ada, "ada's")
    set_up(home, "directories", "corp", directory_body(admission={"groups": [group_dn("staff")]}))  # removed in between
    log_in(after, corp.ada, "ada's")
    assert after.me()["id"] != before.me()["id"]


def test_a_signed_in_person_links_a_directorys_login(home: House, corp: Corp) -> None:
    set_up(home, "directories", "corp", directory_body(admission={}))
    known, visitor = person(home.bound.wiring, Role.MEMBER), Visitor(home)
    assert log_in(visitor, corp.ada, "ada's").status_code == 403  # nobody comes in but who linked
    body = {"login": corp.ada, "password": "wrong"}
    path = "/api/me/identities/directory/corp"
    assert visitor.ask("POST", path, body, bearer=known.bearer).status_code == 401
    linked = visitor.ask("POST", path, {**body, "password": "ada's"}, bearer=known.bearer)
    assert (linked.status_code, linked.get_json()["way"]) == (201, "directory")
    assert log_in(visitor, corp.ada, "ada's").status_code == 201
    assert visitor.me()["id"] == str(known.id)


# Certificates


class Cards:
    """Authorities that publish what they revoked, and the cards of their people."""

    def __init__(self, web: Publisher) -> None:
        self.web = web
        self.root = Authority.root(now=datetime.now(UTC).replace(microsecond=0))
        self.root.crl = f"{web.url}/root.crl"
        self.issuing = self.root.under()
        self.issuing.crl = f"{web.url}/issuing.crl"
        self.publish()

    def publish(self) -> None:
        self.web.lists = {"/root.crl": self.root.revocation_list(), "/issuing.crl": self.issuing.revocation_list()}

    def card(self) -> Holder:
        return self.issuing.client("ada", upn(f"{secrets.token_hex(4)}@corp.test"))

    def body(self, **more: Any) -> dict[str, Any]:
        known = {"id": "corp", "name": "Corp", "field": "upn", "anchors_pem": self.root.pem}
        return {**known, "intermediates_pem": self.issuing.pem, "revocation": {"sources": ["crl"]}, **more}


@pytest.fixture
def cards(home: House) -> Iterator[Cards]:
    with publishing() as web:
        made = Cards(web)
        set_up(home, "certificates", "corp", made.body())
        yield made


def shown(home: House, card: Holder, path: str = "/api/session/certificate", body: Any = None, **more: str) -> Visitor:
    """Somebody whose browser shows a card to the gateway; `visitor.answer` is what came of it."""
    visitor = Visitor(home)
    home.certificate = Certificate(subject="CN=ada", fingerprint=card.fingerprint)
    visitor.answer = visitor.ask("POST", path, body or {}, **{"X_Auricle_Client_Certificate": der(card), **more})  # type: ignore[attr-defined]
    home.certificate = None
    return visitor


def der(card: Holder) -> str:
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(card.pem)).decode()


def status(visitor: Visitor) -> int:
    return int(visitor.answer.status_code)  # type: ignore[attr-defined]


def linked_card(home: House, cards: Cards) -> Holder:
    """A card that somebody here has linked."""
    known, card = person(home.bound.wiring), cards.card()
    assert status(shown(home, card, "/api/me/identities/certificate", bearer=known.bearer)) == 201
    return card


def test_a_linked_card_signs_its_holder_in_and_counts_as_both_factors(home: House, cards: Cards) -> None:
    known, card = person(home.bound.wiring), cards.card()
    assert status(shown(home, card)) == 403  # believed, and nobody's here
    assert status(shown(home, card, "/api/me/identities/certificate", bearer=known.bearer)) == 201
    with home.bound.wiring.database.work() as db:
        db.execute(text("update people set second_factor = true where principal_id = :id"), {"id": known.id})
    visitor = shown(home, card)
    assert status(visitor) == 201
    assert visitor.me()["id"] == str(known.id)


def test_a_revoked_card_signs_nobody_in(home: House, cards: Cards) -> None:
    card = linked_card(home, cards)
    cards.issuing.revoke(card)
    cards.publish()
    set_up(home, "certificates", "corp", cards.body(max_between=3, admission={}))  # another trust: lists are fetched anew
    visitor = shown(home, card)
    assert status(visitor) == 401
    assert trail(home, visitor.address)[0].details["reason"] == "revoked"
    assert "revoked" not in visitor.answer.get_json()["detail"]  # type: ignore[attr-defined]


def test_when_nobody_can_say_whether_it_was_revoked_it_is_as_was_set(home: House, cards: Cards) -> None:
    card = linked_card(home, cards)
    cards.web.lists.clear()
    set_up_again = cards.body(max_between=3, revocation={"sources": ["crl"], "silence": "refuse"})
    change(home, set_up_again)
    assert status(shown(home, card)) == 401
    change(home, {**set_up_again, "revocation": {"sources": ["crl"], "silence": "allow"}})
    assert status(shown(home, card)) == 201


def change(home: House, body: dict[str, Any]) -> None:
    """As an administrator changes authorities that stay the same ones."""
    admin = person(home.bound.wiring, Role.ADMIN)
    path = "/api/settings/certificates/corp"
    tag = home.raw("GET", path, **admin.headers).headers["ETag"]
    assert home.raw("PUT", path, body, If_Match=tag, **admin.headers).status_code == 200


def test_a_card_of_strangers_is_not_believed(home: House, cards: Cards) -> None:
    stranger = Authority.root("Test Root", now=cards.root.now).under().client("ada", upn("ada@corp.test"))
    visitor = shown(home, stranger)
    assert status(visitor) == 401
    assert trail(home, visitor.address)[0].details["reason"] == "untrusted-issuer"


def test_a_certificate_counts_only_as_far_as_the_gateway_vouches_for_it(home: House, cards: Cards) -> None:
    card, others = linked_card(home, cards), cards.card()
    visitor = Visitor(home)
    spoofed = {
        "X_Auricle_Client_Certificate": der(card),
        "X_Auricle_Client_Certificate_Fingerprint": card.fingerprint,
        "X_Auricle_Client_Signature": "1:" + "0" * 64,
    }
    # Without the gateway, past it with its headers made up, and through it with another card.
    assert home.raw("POST", "/api/session/certificate", {}, Authorization="", **spoofed).status_code == 401
    home.certificate = None
    unsigned = {"X_Auricle_Client_Certificate": der(card)}
    assert visitor.ask("POST", "/api/session/certificate", {}, **unsigned).status_code == 401
    home.certificate = Certificate(subject="CN=eve", fingerprint=others.fingerprint)
    assert visitor.ask("POST", "/api/session/certificate", {}, **unsigned).status_code == 401


def test_another_sites_page_cannot_use_the_card_in_the_reader(home: House, cards: Cards) -> None:
    foreign = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    assert status(shown(home, linked_card(home, cards), **foreign)) == 403


def test_without_a_card_one_is_told_what_to_do(home: House, cards: Cards) -> None:
    answer = Visitor(home).ask("POST", "/api/session/certificate", {})
    assert (answer.status_code, "card" in answer.get_json()["detail"]) == (401, True)


# A proxy's header


@pytest.fixture
def proxy(home: House) -> dict[str, Any]:
    body = {"enabled": True, "addresses": [PROXY], "groups_header": "Remote-Groups", "proxy_secret": SECRET}
    body |= {"admission": {"groups": ["vault"], "roles": [{"group": "admins", "role": "admin"}], "default_role": "member"}}
    set_up(home, "trusted-header", "", body)
    return body


def proxied(home: House, address: str, **headers: str) -> tuple[Visitor, Response]:
    visitor = Visitor(home, address)
    return visitor, visitor.ask("POST", "/api/session/header", {}, **headers)


def test_whom_the_proxy_names_is_signed_in(home: House, proxy: dict[str, Any]) -> None:
    name = f"ada-{secrets.token_hex(4)}"
    said = {"Remote_User": name, "X_Proxy_Secret": SECRET}
    visitor, answer = proxied(home, PROXY, **said, Remote_Groups="vault")
    assert answer.status_code == 201
    assert visitor.me()["roles"] == ["member"]
    visitor, _ = proxied(home, PROXY, **said, Remote_Groups="vault,admins")
    assert visitor.me()["roles"] == ["admin"]


@pytest.mark.parametrize(
    "how",
    ["another-address", "no-gateway", "no-secret", "wrong-secret", "two-users", "no-user", "forwarded-for"],
)
def test_a_header_from_anywhere_else_names_nobody(home: House, proxy: dict[str, Any], how: str) -> None:
    headers = {"Remote_User": "ada", "Remote_Groups": "vault", "X_Proxy_Secret": SECRET}
    address = PROXY
    if how == "another-address":
        address = "192.0.2.78"
    elif how == "forwarded-for":
        address, headers["X_Forwarded_For"], headers["X_Real_IP"] = "192.0.2.79", PROXY, PROXY
    elif how == "no-gateway":
        refused = home.raw("POST", "/api/session/header", {}, Authorization="", **headers)
        assert refused.status_code == 401
        return
    elif how == "no-secret":
        del headers["X_Proxy_Secret"]
    elif how == "wrong-secret":
        headers["X_Proxy_Secret"] = SECRET[::-1]
    elif how == "two-users":
        headers["Remote_User"] = "eve, ada"
    else:
        del headers["Remote_User"]
    visitor, answer = proxied(home, address, **headers)
    assert answer.status_code == 401
    assert "auricle_refresh" not in visitor.cookies
    last = trail(home, address)[-1]
    assert (last.kind, last.outcome, last.details["method"]) == (EventKind.LOGIN, "failure", "proxy-header")


def test_it_is_off_until_somebody_switches_it_on(home: House, proxy: dict[str, Any]) -> None:
    admin = person(home.bound.wiring, Role.ADMIN)
    tag = home.raw("GET", "/api/settings/trusted-header", **admin.headers).headers["ETag"]
    assert home.raw("DELETE", "/api/settings/trusted-header", If_Match=tag, **admin.headers).status_code == 204
    _, answer = proxied(home, PROXY, Remote_User="ada", Remote_Groups="vault", X_Proxy_Secret=SECRET)
    assert answer.status_code == 401


def test_another_sites_page_cannot_use_the_proxys_sign_in(home: House, proxy: dict[str, Any]) -> None:
    headers = {"Remote_User": "ada", "Remote_Groups": "vault", "X_Proxy_Secret": SECRET, "Origin": "https://evil.example"}
    assert proxied(home, PROXY, **headers)[1].status_code == 403
    assert proxied(home, PROXY, **{**headers, **PAGE})[1].status_code == 201


def test_an_owner_is_never_named_by_a_proxy(home: House, proxy: dict[str, Any]) -> None:
    name = f"ada-{secrets.token_hex(4)}"
    said = {"Remote_User": name, "Remote_Groups": "vault", "X_Proxy_Secret": SECRET}
    visitor, _ = proxied(home, PROXY, **said)
    with home.bound.wiring.database.work() as db:
        db.execute(text("update people set role = 'owner' where principal_id = :id"), {"id": visitor.me()["id"]})
    assert proxied(home, PROXY, **said)[1].status_code == 403
    assert EventKind.LOGIN in {row.kind for row in trail(home, PROXY)}
