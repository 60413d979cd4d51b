"""Holes of traces: secrets in logs and in the trail, and addresses that anybody can claim."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import pytest
import urllib3
from flask import Response
from sqlalchemy import text

from auricle.access.permissions import Role
from auricle.adapters.mail.logged import LoggedMail
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.ports.mail import Mail, Message
from auricle.runtime.clientheaders import Client, ClientHeaders
from builders.house import House
from builders.house_door import open_door
from builders.mail import MemoryMail
from builders.newcomers import OTHER, OWNER, PASSWORD, THIRD, TOKEN, bearer, from_somewhere, newcomer, sign_in
from builders.oidc_provider import small_provider
from builders.persons import person
from builders.visitor import PAGE, Visitor, provider_body, set_up

PROXY, SECRET = "192.0.2.77", "of-this-proxy-and-us-alone-0123456789"


def trail(home: House, count: int = 200, **only: Any) -> list[AuditRow]:
    """The newest first."""
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(count, None, AuditFilter(**only))


# Secrets in logs


@dataclass
class BothMails(MemoryMail):
    """Letters into the log, as where there is no mail server, and into our hands."""

    logged: LoggedMail = field(default_factory=LoggedMail)

    def send(self, message: Message) -> None:
        """Both."""
        super().send(message)
        self.logged.send(message)


@pytest.fixture
def log(home: House, caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All that is logged, down to the last word, while letters go to the log."""
    caplog.set_level(logging.DEBUG)
    ports, both = home.bound.wiring.__dict__["_ports"], BothMails()
    before, ports[Mail], home.mail = home.mail, both, both
    try:
        yield caplog
    finally:
        ports[Mail] = home.mail = before


def whole(log: pytest.LogCaptureFixture) -> str:
    """Every record as a formatter may write it: with what came along with it."""
    rows = [f"{record.getMessage()} {record.__dict__}" for record in log.records]
    return "\n".join(rows) + log.text


def links(home: House, email: str) -> list[str]:
    home.settle()
    return [found[1] for letter in home.mail.to(email) if (found := TOKEN.search(letter.text))]


def test_reset_links_logged_when_smtp_is_unset(home: House, log: pytest.LogCaptureFixture) -> None:
    newcomer(home, "lost@vault.example")
    from_somewhere(home, "POST", "/api/password-reset", {"email": "lost@vault.example"})
    found = links(home, "lost@vault.example")
    assert len(found) == 2  # to choose the first password, and to choose another
    text_ = whole(log)
    assert "There is no mail server" in text_
    for token in found:
        assert token not in text_
        assert token.partition("_")[2][:16] not in text_


def test_password_in_an_address_or_a_log(home: House, log: pytest.LogCaptureFixture) -> None:
    """A tour of everything that has a secret; then no secret of it is in a log, in the trail, or in an address."""
    tour = Tour(home)
    tour.take()
    tour.secrets |= set(links(home, tour.email)) | {*(cookie for cookie in tour.cookies if len(cookie) > 8)}
    assert len(tour.secrets) > 20
    rows = "\n".join(str(row) for row in trail(home))
    places = {"log": whole(log), "trail": rows, "addresses": "\n".join(tour.addresses)}
    assert len(places["log"]) > 1000
    assert len(rows) > 1000
    found = [(place, secret) for place, said in places.items() for secret in tour.secrets if secret in said]
    assert found == []


class Tour:
    """Somebody who does everything that takes or gives a secret. `secrets`: all of them; `addresses`: where it happened."""

    def __init__(self, home: House) -> None:
        self.home = home
        self.email = "tour@vault.example"
        self.visitor = Visitor(home)
        self.secrets: set[str] = {PASSWORD, OTHER, THIRD}
        self.cookies: set[str] = set()
        self.addresses: list[str] = []

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Response:
        """One step; what it says in confidence is kept in mind."""
        answer = self.visitor.ask(method, path, body, **more)
        self.addresses += [path, *(answer.headers.getlist("Location"))]
        for line in answer.headers.getlist("Set-Cookie"):
            self.cookies |= {morsel.value for morsel in SimpleCookie(line).values()}
        told = answer.get_json() if answer.is_json else {}
        self._noted(told)
        return answer

    def _noted(self, told: Any) -> None:
        if isinstance(told, dict):
            for name, value in told.items():
                if name in ("access_token", "pending", "token", "secret", "password", "uri", "ceremony") and isinstance(
                    value, str
                ):
                    self.secrets.add(value)
                elif name == "backup_codes":
                    self.secrets |= set(value)
                else:
                    self._noted(value)

    def take(self) -> None:
        """All of it."""
        home = self.home
        newcomer(home, self.email)
        guess, code = f"a wrong guess {secrets.token_hex(8)}", secrets.token_hex(10)
        self.secrets |= {guess, code}
        self.ask("POST", "/api/session", {"email": self.email, "password": guess}, **PAGE)
        self.ask("POST", "/api/setup", {"code": code, "email": "x@vault.example", "display_name": "X", "password": guess})
        self.ask("POST", "/api/session", {"email": self.email, "password": OTHER, "unknown": guess}, **PAGE)
        mine = self.ask("POST", "/api/session", {"email": self.email, "password": OTHER}, **PAGE).get_json()["access_token"]
        mine = self.ask("POST", "/api/session/refresh", **PAGE).get_json()["access_token"]
        mine = self.ask("POST", "/api/session/confirm", {"password": OTHER}, bearer=mine).get_json()["access_token"]
        self.ask("PUT", "/api/me/password", {"current_password": guess, "password": THIRD}, bearer=mine)
        mine = self.ask("PUT", "/api/me/password", {"current_password": OTHER, "password": THIRD}, bearer=mine).get_json()[
            "access_token"
        ]
        self.ask("PUT", "/api/me/email", {"email": "tour-2@vault.example", "password": THIRD}, bearer=mine)
        self.ask("POST", "/api/tokens", {"name": "script"}, bearer=mine)
        self.ask("POST", "/api/mfa/totp", bearer=mine)
        self.ask("POST", "/api/mfa/totp/confirm", {"code": "000000"}, bearer=mine)
        self.ask("POST", "/api/mfa/passkeys/options", {"use": "passwordless"}, bearer=mine)
        self.ask("POST", "/api/mfa/backup-codes", bearer=mine)
        self.ask("POST", "/api/password-reset", {"email": self.email})
        self.ask("POST", "/api/password-reset/complete", {"token": f"aurr_{guess}", "password": guess})
        self.ask("GET", "/api/me", bearer=mine[:-8] + "AAAAAAAA")
        self.ask("GET", "/api/me", bearer="aur_" + code)
        self._administer(guess)
        self._elsewhere()

    def _administer(self, guess: str) -> None:
        owner = bearer(self.home)["Authorization"].partition(" ")[2]
        mail_password = secrets.token_hex(12)
        self.secrets |= {owner, mail_password, SECRET}
        value = {"host": "", "username": "vault", "sender": "vault@example.org"}
        tag = self.ask("GET", "/api/settings/mail", bearer=owner).headers["ETag"]
        self.ask("PUT", "/api/settings/mail", {"value": value, "secret": mail_password}, bearer=owner, If_Match=tag)
        tag = self.ask("GET", "/api/settings/mail", bearer=owner).headers["ETag"]
        self.ask("DELETE", "/api/settings/mail", bearer=owner, If_Match=tag)
        header = {"enabled": True, "addresses": [PROXY], "proxy_secret": SECRET, "admission": {"groups": ["x"]}}
        self.ask("PUT", "/api/settings/trusted-header", header, bearer=owner)
        self.ask("POST", "/api/session/header", {}, Remote_User="ada", X_Proxy_Secret=SECRET)
        new = self.ask("POST", "/api/users", {"email": "by@vault.example", "display_name": "By", "letter": False}, bearer=owner)
        assert new.get_json()["password"] in self.secrets
        self.ask("POST", f"/api/users/{new.get_json()['user']['id']}/password-reset", {"letter": False}, bearer=owner)
        made = self.ask("POST", "/api/service-accounts", {"name": "importer"}, bearer=owner).get_json()
        self.ask("POST", f"/api/service-accounts/{made['id']}/tokens", {"name": guess[:20]}, bearer=owner)

    def _elsewhere(self) -> None:
        """By a provider: its secret, the code and what it is exchanged for. The code itself is in the address that it comes by."""
        with small_provider() as small:
            set_up(self.home, "providers", "small", provider_body(small))
            self.secrets.add(provider_body(small)["client_secret"])
            url = self.ask("GET", "/api/sign-in/small").headers["Location"]
            pairs = small.sign_in(url)
            self.visitor.come_back(pairs)
            self.secrets |= {*small.access_tokens, *small.refresh_tokens, dict(pairs)["code"]}
            self.addresses = [one for one in self.addresses if one != url]


# Addresses that anybody can claim


def test_x_forwarded_for_trusted_in_the_audit(home: House) -> None:
    claimed = {
        "X_Forwarded_For": "203.0.113.9",
        "X_Real_IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "True_Client_IP": "203.0.113.9",
    }
    with home.coming_from("198.51.100.4"):
        home.raw("POST", "/api/session", {"email": "xff@vault.example", "password": "x"}, Authorization="", **claimed)
    assert trail(home, 1)[0].address == "198.51.100.4"
    home.raw("POST", "/api/session", {"email": "xff@vault.example", "password": "x"}, Authorization="", **claimed)
    assert trail(home, 1)[0].address is None  # nobody vouches for any
    assert trail(home, address="203.0.113.9") == []


def test_x_forwarded_for_trusted_in_limits(home: House) -> None:
    """Who says to be somebody else each time is counted as who they are."""
    statuses = []
    with home.coming_from("198.51.100.5"):
        for n in range(20):
            claimed = {"X_Forwarded_For": f"203.0.113.{n}", "Forwarded": f"for=203.0.113.{n}"}
            answer = home.raw(
                "POST", "/api/session", {"email": f"limits-{n}@vault.example", "password": "x"}, Authorization="", **claimed
            )
            statuses.append(answer.status_code)
    assert statuses == [401] * 15 + [429] * 5


def test_header_spoofing_from_an_untrusted_address(home: House) -> None:
    """Without the gateway's signature, with another key's, with one for another request or of long ago: nobody is vouched for."""
    claimed = Client(address="203.0.113.66", host="127.0.0.1:8787", scheme="http")
    path, key = "/api/session", "11" * 32
    own = ClientHeaders(home.bound.wiring.settings.gateway_key)
    genuine = own.signed(claimed, "POST", path.encode())
    long_ago = ClientHeaders(home.bound.wiring.settings.gateway_key, lambda: 1.7e9).signed(claimed, "POST", path.encode())
    spoofs: list[dict[str, str]] = [
        {
            "X-Auricle-Client-Address": "203.0.113.66",
            "X-Auricle-Client-Host": "127.0.0.1:8787",
            "X-Auricle-Client-Scheme": "http",
        },
        {**genuine, "X-Auricle-Client-Signature": "1:" + "0" * 64},
        ClientHeaders(key).signed(claimed, "POST", path.encode()),
        own.signed(claimed, "GET", path.encode()),
        own.signed(claimed, "POST", b"/api/setup"),
        {**genuine, "X-Auricle-Client-Address": "203.0.113.67"},
        {**genuine, "X-Auricle-Client-Certificate-Fingerprint": "ab" * 32},
        long_ago,
    ]
    for n, headers in enumerate(spoofs):
        body = {"email": f"spoof-{n}@vault.example", "password": "x"}
        home.raw("POST", path, body, Authorization="", **{k.replace("-", "_"): v for k, v in headers.items()})
        assert trail(home, 1)[0].address is None, headers
    home.raw(
        "POST",
        path,
        {"email": "real@vault.example", "password": "x"},
        Authorization="",
        **{k.replace("-", "_"): v for k, v in genuine.items()},
    )
    assert trail(home, 1)[0].address == "203.0.113.66"  # the same, as the gateway signs it


def test_header_spoofing_through_the_gateway(home: House) -> None:
    """On a real port: what a stranger says of themselves is taken off, and what the gateway saw is put there."""
    genuine = ClientHeaders(home.bound.wiring.settings.gateway_key).signed(
        Client(address="203.0.113.70", host="127.0.0.1:8787", scheme="http"), "POST", b"/api/session"
    )
    with open_door(home) as url:
        body = json.dumps({"email": "through@vault.example", "password": "x"})
        for headers in ({"X-Auricle-Client-Address": "203.0.113.70"}, genuine, {"X_Auricle_Client_Address": "203.0.113.70"}):
            sent = {"Content-Type": "application/json", **headers}
            assert urllib3.request("POST", f"{url}/api/session", body=body, headers=sent, timeout=20).status == 401
            assert trail(home, 1)[0].address == "127.0.0.1"


@pytest.mark.parametrize("how", ["another-address", "no-gateway", "no-secret", "forwarded-for", "spoofed-address"])
def test_header_spoofing_of_the_proxys_user(home: House, how: str) -> None:
    body = {
        "enabled": True,
        "addresses": [PROXY],
        "groups_header": "Remote-Groups",
        "proxy_secret": SECRET,
        "admission": {"groups": ["vault"]},
    }
    set_up(home, "trusted-header", "", body)
    said = {"Remote_User": OWNER, "Remote_Groups": "vault", "X_Proxy_Secret": SECRET}
    more = {
        "forwarded-for": {"X_Forwarded_For": PROXY, "X_Real_IP": PROXY},
        "no-secret": {"X_Proxy_Secret": ""},
    }.get(how, {})
    if how in ("no-gateway", "spoofed-address"):
        spoofed = {"X_Auricle_Client_Address": PROXY} if how == "spoofed-address" else {}
        answer = home.raw("POST", "/api/session/header", {}, Authorization="", **said, **spoofed)
    else:
        visitor = Visitor(home, PROXY if how == "no-secret" else "198.51.100.77")
        answer = visitor.ask("POST", "/api/session/header", {}, **said | more)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)


def test_trail_edited_by_who_is_in_it(home: House) -> None:
    """What strangers say of themselves is one clean line, and no route changes an entry."""
    agent = "x\r\n2026-01-01 auth.login success admin\t\x1b[2J" + "y" * 400
    sign_in(home, "agent@vault.example", "x", User_Agent=agent.replace("\r\n", " ").replace("\x1b", ""))
    kept = trail(home, 1)[0].user_agent or ""
    assert kept.isprintable()
    assert len(kept) <= 200
    owner = bearer(home)
    for method in ("PUT", "PATCH", "DELETE", "POST"):
        assert home.raw(method, "/api/audit", {}, **owner).status_code in (404, 405)
    with pytest.raises(Exception, match=r"(?i)append|permission|denied"), home.bound.wiring.database.work() as db:
        db.execute(text("update audit_events set address = null"))
    assert home.raw("GET", "/api/audit", **person(home.bound.wiring, Role.ADMIN).headers).status_code == 403
