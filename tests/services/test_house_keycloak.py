"""A real Keycloak and our own routes: people go there and come back over HTTP, and a logout there ends what is here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from auricle.access.permissions import Role
from builders import keycloak_server
from builders.house import House, house
from builders.house_door import Page, open_door
from builders.keycloak_server import Browser, KeycloakServer, free_port
from builders.persons import person

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]
SECRET = "of the client that is this house"
PROMPT_SECONDS = 15.0


class Vault:
    """The house on its port, with Keycloak set up in it."""

    def __init__(self, home: House, url: str, keycloak: KeycloakServer) -> None:
        self.home, self.url, self.keycloak = home, url, keycloak

    def set_up(self, **more: object) -> None:
        """As an administrator does."""
        admin, path = person(self.home.bound.wiring, Role.ADMIN), "/api/settings/providers/keycloak"
        tag = self.home.raw("GET", path, **admin.headers).headers.get("ETag")
        known = {"id": "keycloak", "name": "Keycloak", "issuer": f"{self.keycloak.url}/realms/house", "client_id": "vault"}
        body = {**known, "client_secret": SECRET, "admission": {"domains": ["example.test"]}, **more}
        answer = self.home.raw("PUT", path, body, **admin.headers, **({"If_Match": tag} if tag else {}))
        assert answer.status_code == 200, answer.get_data(as_text=True)

    def come(self, name: str = "alice", there: Browser | None = None) -> tuple[Page, int]:
        """Somebody signs in there and comes back; the page that they are on, and how they were answered."""
        page, there = Page(self.url), there or Browser()
        away = page.open("/api/sign-in/keycloak?next=/library")
        assert away.status == 303
        asked = parse_qs(urlsplit(away.headers["Location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        back = page.open(there.sign_in(away.headers["Location"], name, f"{name}'s password"))
        if back.status == 303:
            assert back.headers["Location"] == "/library"
            page.sign_in()
        return page, back.status


@pytest.fixture(scope="module")
def vault(database_url: str) -> Iterator[Vault]:
    keycloak, port = keycloak_server.shared(), free_port()
    url = f"http://127.0.0.1:{port}"
    client = {
        "clientId": "vault",
        "secret": SECRET,
        "redirectUris": [f"{url}/api/sign-in/keycloak/callback"],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            "post.logout.redirect.uris": f"{url}/signed-out",
            "backchannel.logout.url": f"{url}/api/sign-in/keycloak/back-channel-logout",
            "backchannel.logout.session.required": "true",
        },
    }
    groups = {
        "name": "groups",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-group-membership-mapper",
        "config": {"claim.name": "groups", "full.path": "false", "id.token.claim": "true"},
    }
    keycloak.as_admin("POST", "clients", {**client, "protocolMappers": [groups]})
    with house(database_url, public_url=url) as home, open_door(home, port):
        made = Vault(home, url, keycloak)
        made.set_up()
        yield made


def soon(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PROMPT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_keycloak_signs_somebody_in_by_code_and_pkce(vault: Vault) -> None:
    page, _ = vault.come()
    me = page.sign_in()  # the session here is renewed as any other
    assert (me["email"], me["name"], me["roles"]) == ("alice@example.test", "Alice A", ["member"])
    again, _ = vault.come()
    assert again.sign_in()["id"] == me["id"]


def test_keycloaks_unverified_address_opens_no_account(vault: Vault) -> None:
    assert vault.come("bob")[1] == 403


def test_groups_in_keycloak_are_roles_here_at_each_sign_in(vault: Vault) -> None:
    first, _ = vault.come()
    vault.set_up(admission={"domains": ["example.test"], "roles": [{"group": "staff", "role": "auditor"}]})
    try:
        second, _ = vault.come()
        assert second.sign_in()["roles"] == ["auditor"]
        assert not first.alive()  # another role ends what began before
    finally:
        vault.set_up()


def test_an_answer_of_keycloak_works_once_and_in_one_browser(vault: Vault) -> None:
    page, there = Page(vault.url), Browser()
    back = there.sign_in(page.open("/api/sign-in/keycloak").headers["Location"], "alice", "alice's password")
    assert Page(vault.url).open(back).status == 401
    assert page.open(back).status == 303
    assert page.open(back).status == 401


def test_signing_out_here_signs_out_there_and_that_ends_the_other_session_here(vault: Vault) -> None:
    there = Browser()
    (first, _), (second, _) = vault.come(there=there), vault.come(there=there)
    url = first.ask("DELETE", "/api/session")["logout_url"]
    assert second.alive()
    answer = there.ask("GET", url)
    assert answer.status == 302
    assert answer.headers["Location"].startswith(f"{vault.url}/signed-out")
    soon(lambda: not second.alive())


def test_an_administrator_of_keycloak_ends_the_sessions_here(vault: Vault) -> None:
    page, _ = vault.come()
    found = vault.keycloak.as_admin("GET", "users?username=alice")
    assert isinstance(found, list)
    vault.keycloak.as_admin("POST", f"users/{found[0]['id']}/logout")
    soon(lambda: not page.alive())


def test_keycloak_is_tried_from_the_settings(vault: Vault) -> None:
    admin, path = person(vault.home.bound.wiring, Role.ADMIN), "/api/settings/providers/keycloak/test"
    assert vault.home.ask("POST", path, **admin.headers)["works"] is True
    vault.set_up(client_secret="another one")
    try:
        report = vault.home.ask("POST", path, **admin.headers)
    finally:
        vault.set_up()
    assert [one["sentence"] for one in report["findings"] if one["level"] == "problem"] == [
        "It refuses this client id and secret. Copy both from its settings again."
    ]
