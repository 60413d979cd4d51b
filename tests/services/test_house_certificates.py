"""A real nginx and our own route: a card at the handshake signs its holder in, and a revoked one does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from auricle.access.permissions import Role
from builders.house import GATEWAY_KEY, House, house
from builders.house_door import open_door
from builders.nginx_gateway import Answer, Nginx, Pair, address, nginx, places
from builders.persons import person
from builders.pki import Authority, Holder, Publisher, publishing, upn

pytestmark = pytest.mark.services
PATH = "/api/session/certificate"


@dataclass
class Vault:
    """The house behind the gateway, and the authorities that it trusts."""

    home: House
    gateway: Nginx
    folder: Path
    root: Authority
    issuing: Authority
    web: Publisher

    def publish(self) -> None:
        """The lists as they are now."""
        self.web.lists = {"/root.crl": self.root.revocation_list(), "/issuing.crl": self.issuing.revocation_list()}

    def ask(self, path: str, card: Holder | None, bearer: str = "", **headers: str) -> Answer:
        """One request with a card in the reader."""
        mine = None
        if card is not None:
            mine = Pair(*card.write(self.folder / card.fingerprint[:12], self.issuing), card.fingerprint)
        sent = {"Content_Type": "application/json", "Host": "vault.test", **headers}
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        return self.gateway.ask(path, "POST", b"{}", source=self.gateway.address(), mine=mine, **sent)

    def set_up(self, **more: Any) -> None:
        """As an administrator does."""
        admin, path = person(self.home.bound.wiring, Role.ADMIN), "/api/settings/certificates/corp"
        tag = self.home.raw("GET", path, **admin.headers).headers.get("ETag")
        known = {"id": "corp", "name": "Corp", "field": "upn", "anchors_pem": self.root.pem}
        body = {**known, "intermediates_pem": self.issuing.pem, "revocation": {"sources": ["crl"]}, **more}
        answer = self.home.raw("PUT", path, body, **admin.headers, **({"If_Match": tag} if tag else {}))
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def linked(self, name: str) -> tuple[Holder, str]:
        """A card that somebody here has linked, through the gateway; and who."""
        known, card = person(self.home.bound.wiring), self.issuing.client(name, upn(f"{name}@corp.test"))
        answer = self.ask("/api/me/identities/certificate", card, known.bearer, User_Agent="", Accept_Language="")
        assert answer.status == 201, answer.body
        return card, str(known.id)


@pytest.fixture(scope="module")
def vault(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    folder = tmp_path_factory.mktemp("vault")
    with ExitStack() as stack:
        web = stack.enter_context(publishing())
        root = Authority.root(now=datetime.now(UTC).replace(microsecond=0))
        root.crl = f"{web.url}/root.crl"
        issuing = root.under()
        issuing.crl = f"{web.url}/issuing.crl"
        (folder / "clients.crt").write_text(root.pem)
        site = f"ssl_client_certificate {folder}/clients.crt;\nssl_verify_client optional;\nssl_verify_depth 4;\n"
        home = stack.enter_context(house(database_url, public_url="https://vault.test"))
        functions = stack.enter_context(open_door(home, gateway=False))
        place = places(address(functions))
        gateway = stack.enter_context(nginx(folder / "gateway", place, files={"site.conf": site}, key=GATEWAY_KEY))
        made = Vault(home, gateway, folder, root, issuing, web)
        made.publish()
        made.set_up()
        yield made


def test_a_card_at_the_handshake_signs_its_holder_in(vault: Vault) -> None:
    card, id = vault.linked("ada")
    answer = vault.ask(PATH, card)
    assert answer.status == 201, answer.body
    refresh = next(line for line in answer.headers["set-cookie"] if line.startswith("__Secure-auricle_refresh="))
    assert {"Secure", "HttpOnly", "SameSite=Strict"} <= set(refresh.split("; "))
    bearer = json.loads(answer.body)["access_token"]
    me = vault.gateway.ask("/api/me", source=vault.gateway.address(), Host="vault.test", Authorization=f"Bearer {bearer}")
    assert json.loads(me.body)["id"] == id


def test_a_revoked_card_is_refused_though_tls_takes_it(vault: Vault) -> None:
    card, _ = vault.linked("eve")
    assert vault.ask(PATH, card).status == 201
    vault.issuing.revoke(card)
    vault.publish()
    vault.set_up(max_between=3)  # another trust, whose lists are fetched anew
    refused = vault.ask(PATH, card)
    assert refused.status == 401
    assert "set-cookie" not in refused.headers


def test_nobody_without_a_card_is_signed_in_whatever_headers_say(vault: Vault) -> None:
    card, _ = vault.linked("bea")
    spoofed = {
        "X_Auricle_Client_Certificate": "MIIB",
        "X_Auricle_Client_Certificate_Fingerprint": card.fingerprint,
        "X_Auricle_Client_Signature": "1:" + "0" * 64,
        "X_SSL_Client_Verify": "SUCCESS",
    }
    assert vault.ask(PATH, None, **spoofed).status == 401


def test_a_card_of_other_authorities_does_not_get_as_far_as_us(vault: Vault) -> None:
    stranger = Authority.root("Test Root", now=vault.root.now).under()
    card = stranger.client("ada", upn("ada@corp.test"))
    assert vault.ask(PATH, card).status == 400
