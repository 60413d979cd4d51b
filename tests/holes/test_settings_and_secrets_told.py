"""Holes of configuration: settings that change nothing, failures taken for "clean", secrets that are told, a public map."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from auricle.access.permissions import Role
from auricle.access.store import sessions
from auricle.admin.audit.model import AuditRules
from auricle.admin.configuration.actions import Configuration
from auricle.admin.configuration.sections import SECTIONS
from auricle.admin.configuration.store import ConfigurationStore
from auricle.errors import Retryable
from auricle.ports.mail import Mail
from auricle.runtime.settings import ApiDocs
from builders import smtp_server
from builders.breach_list import as_file
from builders.directory import BASE, GROUPS, PEOPLE
from builders.house import House, house
from builders.newcomers import OWNER, PASSWORD, THIRD, bearer, from_somewhere, newcomer, sign_in, token, vault
from builders.oidc_provider import small_provider
from builders.persons import person
from builders.pki import Authority
from builders.visitor import Visitor, provider_body

PROXY_SECRET = "of-this-proxy-and-us-alone-0123456789"


@pytest.fixture(scope="module")
def letters_authority(tmp_path_factory: pytest.TempPathFactory) -> smtp_server.Authority:
    return smtp_server.authority(tmp_path_factory.mktemp("letters"))


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the list of stolen passwords will be; it is away at first."""
    return tmp_path_factory.mktemp("breaches") / "stolen.txt"


@pytest.fixture(scope="module")
def home(database_url: str, letters_authority: smtp_server.Authority, stolen: Path) -> Iterator[House]:
    with vault(database_url, smtp_ca_file=str(letters_authority.file), breached_passwords=str(stolen)) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_set(home: House) -> Iterator[None]:
    yield
    with home.bound.wiring.database.work() as db:
        db.execute(text("delete from configuration"))
    home.bound.wiring.provide(Configuration).forget()


def put(home: House, section: str, value: dict[str, Any], **more: Any) -> Any:
    """Set a section as the owner, over the API."""
    answer = home.raw("PUT", f"/api/settings/{section}", {"value": value, **more}, If_Match='"0"', **bearer(home))
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def put_way(home: House, path: str, body: dict[str, Any]) -> Any:
    owner = bearer(home)
    tag = home.raw("GET", f"/api/settings/{path}", **owner).headers.get("ETag")
    answer = home.raw("PUT", f"/api/settings/{path}", body, **({"If_Match": tag} if tag else {}), **owner)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


# Settings that were saved, while the policy read the environment


def sessions_are_shorter(home: House, change: Callable[[], Any]) -> None:
    ada = person(home.bound.wiring)
    with home.bound.wiring.database.work() as db:
        ago = datetime.now(UTC) - timedelta(minutes=30)
        db.execute(sessions.update().where(sessions.c.principal_id == ada.id).values(seen_at=ago))
    change()
    assert home.raw("GET", "/api/me", **ada.headers).status_code == 401


def a_factor_is_required(home: House, change: Callable[[], Any]) -> None:
    assert sign_in(home, OWNER, PASSWORD).status_code == 201
    change()
    assert sign_in(home, OWNER, PASSWORD).get_json()["answer"] == "pending"


def anybody_registers(home: House, change: Callable[[], Any]) -> None:
    assert from_somewhere(home, "POST", "/api/registration", {"email": "one@vault.example"}).status_code == 403
    change()
    assert from_somewhere(home, "POST", "/api/registration", {"email": "two@vault.example"}).status_code == 202


def passwords_are_harder(home: House, change: Callable[[], Any]) -> None:
    user = newcomer(home, f"hard-{datetime.now(UTC).microsecond}@vault.example")
    change()
    from_somewhere(home, "POST", "/api/password-reset", {"email": user["email"]})
    body = {"token": token(home, user["email"]), "password": THIRD}
    assert from_somewhere(home, "POST", "/api/password-reset/complete", body).status_code == 422


def two_guesses_lock(home: House, change: Callable[[], Any]) -> None:
    change()
    answers = [sign_in(home, "two-guesses@vault.example", "guess").status_code for _ in range(3)]
    assert answers == [401, 401, 429]


def a_notice_is_read_first(home: House, change: Callable[[], Any]) -> None:
    ada = person(home.bound.wiring)
    assert home.raw("GET", "/api/me", **ada.headers).status_code == 200
    change()
    assert home.raw("GET", "/api/me", **ada.headers).get_json()["acknowledge"] == "/api/banner/acknowledge"


def entries_are_kept_shorter(home: House, change: Callable[[], Any]) -> None:
    assert home.bound.wiring.provide(AuditRules).keep_days == 400
    change()
    assert home.bound.wiring.provide(AuditRules).keep_days == 100  # what the timer is given


BEHAVIOUR: dict[str, tuple[dict[str, Any], Callable[[House, Callable[[], Any]], None]]] = {
    "sessions": ({"idle": "PT15M"}, sessions_are_shorter),
    "mfa": ({"required": "all"}, a_factor_is_required),
    "registration": ({"mode": "open"}, anybody_registers),
    "passwords": ({"profile": "stig"}, passwords_are_harder),
    "lockout": ({"account": {"tries": 2, "within": "PT1H"}}, two_guesses_lock),
    "banner": ({"enabled": True, "text": "Authorized use only."}, a_notice_is_read_first),
    "audit": ({"keep_days": 100}, entries_are_kept_shorter),
}
WAYS = {"oidc": "providers/small", "ldap": "directories/corp", "pki": "certificates/cards", "header": "trusted-header"}


@pytest.mark.parametrize("section", BEHAVIOUR)
def test_settings_saved_to_the_database_while_policy_reads_the_environment(home: House, section: str) -> None:
    value, behaves = BEHAVIOUR[section]
    behaves(home, lambda: put(home, section, value))


def test_settings_of_mail_saved_and_not_used(home: House, letters_authority: smtp_server.Authority) -> None:
    ports = home.bound.wiring.__dict__["_ports"]
    memory = ports.pop(Mail)
    try:
        with smtp_server.running(letters_authority.context("localhost"), passwords=True) as server:
            value = {"host": "localhost", "port": server.port, "username": smtp_server.USER, "sender": "vault@example.org"}
            put(home, "mail", value, secret=smtp_server.PASSWORD)
            from_somewhere(home, "POST", "/api/password-reset", {"email": OWNER})
            home.settle()
            assert [(one.recipients, one.encrypted, one.user) for one in server.letters] == [([OWNER], True, smtp_server.USER)]
    finally:
        ports[Mail] = memory


def bodies() -> dict[str, dict[str, Any]]:
    """What to set up for each way to sign in, with its secret in it."""
    with small_provider() as small:
        oidc = provider_body(small)
    directory = {"id": "corp", "name": "Corp", "servers": [{"host": "ldap.example.test"}], "bind_dn": f"cn=auricle,{BASE}"}
    cards = {"id": "cards", "name": "Cards", "field": "upn", "anchors_pem": Authority.root(now=datetime.now(UTC)).pem}
    return {
        "oidc": oidc,
        "ldap": {**directory, "people": PEOPLE, "groups": GROUPS, "bind_password": "of the service account"},
        "pki": {**cards, "revocation": {"sources": ["crl"]}},
        "header": {"enabled": True, "addresses": ["192.0.2.77"], "proxy_secret": PROXY_SECRET},
    }


@pytest.mark.parametrize("section", WAYS)
def test_settings_of_sign_in_saved_and_not_used(home: House, section: str) -> None:
    def offered() -> set[str]:
        return {one["way"] for one in Visitor(home).ask("GET", "/api/sign-in").get_json()["items"]}

    way = {"oidc": "provider", "ldap": "directory", "pki": "certificate", "header": "proxy"}[section]
    assert way not in offered()
    body = bodies()[section]
    put_way(home, WAYS[section], body)
    assert way in offered()
    put_way(home, WAYS[section], {**body, "enabled": False})
    assert way not in offered()


def test_every_section_has_its_case() -> None:
    assert {*BEHAVIOUR, *WAYS, "mail"} == set(SECTIONS)


# What failed is never "clean"


@pytest.mark.parametrize("section", ["mfa", "banner", "sessions", "lockout", "passwords"])
def test_a_setting_that_cannot_be_read_taken_for_the_default(home: House, section: str) -> None:
    """A default could let in whom the setting kept out."""
    put(home, section, BEHAVIOUR[section][0])
    ada = person(home.bound.wiring)
    with home.bound.wiring.database.work() as db:
        db.execute(
            text("update configuration set value = cast(:v as jsonb) where name = :n"),
            {"v": '{"idle": 7, "required": 7, "enabled": 7, "account": 7, "profile": 7}', "n": section},
        )
    home.bound.wiring.provide(Configuration).forget()
    if section != "banner":  # which is asked after it
        refused = sign_in(home, OWNER, PASSWORD)
        assert (refused.status_code >= 400, "Set-Cookie" in refused.headers) == (True, False)
    if section in ("mfa", "banner", "sessions"):  # the others are asked when somebody signs in
        assert home.raw("GET", "/api/me", **ada.headers).status_code >= 400


def test_settings_that_are_away_taken_for_the_defaults(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "mfa", {"required": "all"})
    ada = person(home.bound.wiring)

    def away(_: ConfigurationStore) -> dict[str, Any]:
        raise Retryable("The database is away.")

    with monkeypatch.context() as broken:
        broken.setattr(ConfigurationStore, "all", away)
        home.bound.wiring.provide(Configuration).forget()
        for _ in "12":  # nor is the failure remembered as "nothing is set"
            assert sign_in(home, OWNER, PASSWORD).status_code >= 500
            assert home.raw("GET", "/api/me", **ada.headers).status_code >= 500
    assert sign_in(home, OWNER, PASSWORD).get_json()["answer"] == "pending"


def test_a_failed_check_cached_as_clean(home: House, stolen: Path) -> None:
    """While the list of stolen passwords is away, people choose; what was not checked then is checked the next time."""
    leaked, user = "correct horse battery staple", newcomer(home, "checked@vault.example")

    def choose(password: str) -> int:
        from_somewhere(home, "POST", "/api/password-reset", {"email": user["email"]})
        body = {"token": token(home, user["email"]), "password": password}
        return from_somewhere(home, "POST", "/api/password-reset/complete", body).status_code

    assert choose(leaked) == 204
    stolen.write_bytes(as_file({leaked: 9, "another leaked kettle of mine": 2}))
    other = newcomer(home, "checked-too@vault.example")
    from_somewhere(home, "POST", "/api/password-reset", {"email": other["email"]})
    link = token(home, other["email"])
    refused = from_somewhere(home, "POST", "/api/password-reset/complete", {"token": link, "password": leaked})
    assert (refused.status_code, refused.get_json()["rules"]) == (422, ["breached"])
    assert choose("another leaked kettle of mine") == 422


# Secrets that are told


SECRETS = {"oidc": "client_secret", "ldap": "bind_password", "header": "proxy_secret"}


def kept_of(home: House) -> list[bytes]:
    with home.bound.wiring.database.work() as db:
        return [bytes(row.sealed) for row in db.execute(text("select sealed from configuration where sealed is not null"))]


def spellings(secret: str, sealed: list[bytes]) -> list[str]:
    """All that stands for a secret: itself, what it is kept as, and what forms show in its place."""
    found = [secret, base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex(), "***", "•••", "redacted"]
    for one in sealed:
        found += [base64.b64encode(one).decode().rstrip("="), base64.urlsafe_b64encode(one).decode().rstrip("="), one.hex()]
    return found


@pytest.mark.parametrize("section", [*SECRETS, "mail"])
def test_secrets_returned_as_ciphertext_or_mask(home: House, section: str) -> None:
    """Whoever administers writes secrets, and reads none: not in the answer, not in lists, not in the trail."""
    if section == "mail":
        secret = "the mail server's own"
        told = put(home, "mail", {"host": "mail.example", "username": "vault", "sender": "vault@example.org"}, secret=secret)
        path, known = "mail", told["has_secret"]
    else:
        body = bodies()[section]
        secret = body[SECRETS[section]]
        told = put_way(home, WAYS[section], body)
        path, known = WAYS[section], told.get("has_secret") or told.get("has_password")
    assert known is True
    sealed, owner = kept_of(home), bearer(home)
    assert len(sealed) == 1
    assert secret.encode() not in sealed[0]
    answers = [str(told)]
    for place in (
        f"/api/settings/{path}",
        "/api/settings",
        "/api/settings/providers",
        "/api/settings/directories",
        "/api/audit",
    ):
        answers.append(home.raw("GET", place, **owner).get_data(as_text=True))
    for spelling in spellings(secret, sealed):
        assert not any(spelling in answer for answer in answers), spelling


def test_a_mask_saved_over_the_secret(home: House) -> None:
    value = {"host": "mail.example", "username": "vault", "sender": "vault@example.org"}
    put(home, "mail", value, secret="the mail server's own")
    owner, before = bearer(home), kept_of(home)
    for mask in ("********", "••••••", "", "<redacted>"):
        tag = home.raw("GET", "/api/settings/mail", **owner).headers["ETag"]
        refused = home.raw("PUT", "/api/settings/mail", {"value": value, "secret": mask}, If_Match=tag, **owner)
        assert refused.status_code == 422
    home.ask("PUT", "/api/settings/mail", {"value": {**value, "port": 2525}}, If_Match=tag, **owner)
    assert kept_of(home) == before  # left out: it stays


# A public map of the house


MAP = ("/api/openapi.json", "/api/docs", "/api/docs/start.js")


def test_public_api_docs_in_production(home: House) -> None:
    """Nobody who is not signed in is told what there is; any credential will do."""
    for path in MAP:
        assert Visitor(home).ask("GET", path).status_code == 401
        assert Visitor(home).ask("GET", path, bearer="aur_" + "x" * 43).status_code == 401
        assert home.raw("GET", path, **person(home.bound.wiring, Role.GUEST).headers).status_code == 200
        assert home.raw("GET", path).status_code == 200  # a personal token, by which programs ask
        pending = person(home.bound.wiring).pending
        assert Visitor(home).ask("GET", path, bearer=pending).status_code == 403
    assert Visitor(home).ask("GET", "/").headers["Location"] == "/api/docs"


def test_api_docs_are_public_only_where_it_is_said(database_url: str) -> None:
    with house(database_url, public_url="http://127.0.0.1:8787", api_docs=ApiDocs.PUBLIC) as open_house:
        assert [Visitor(open_house).ask("GET", path).status_code for path in MAP] == [200, 200, 200]
        assert Visitor(open_house).ask("GET", "/api/files").status_code == 401
        assert Visitor(open_house).ask("GET", f"/api/files/{UUID(int=7)}").status_code == 401
