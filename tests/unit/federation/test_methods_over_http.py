"""Setting up ways to sign in: secrets go in and never out, nobody overwrites what they have not seen, all of it is told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from auricle.access.permissions import Role
from auricle.admin.audit.kinds import EventKind
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.ports.directory import Directories, DirectoryConnection
from builders.directory import BASE, GROUPS, PEOPLE, Member, MemoryDirectory, Seed
from builders.house import House, house
from builders.oidc_provider import SECRET, SmallProvider, small_provider
from builders.persons import Person, person
from builders.pki import Authority
from builders.visitor import PUBLIC_URL, provider_body

DIRECTORY = {
    "id": "corp",
    "name": "Corp",
    "servers": [{"host": "ldap.example.test"}],
    "bind_dn": f"cn=auricle,{BASE}",
    "people": PEOPLE,
    "groups": GROUPS,
    "bind_password": "service account's",
}
HEADER = {"enabled": True, "addresses": ["192.0.2.9"], "proxy_secret": "of-this-proxy-and-us-alone-0123456789"}


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, public_url=PUBLIC_URL) as made:
        yield made


@pytest.fixture(scope="module")
def small() -> Iterator[SmallProvider]:
    with small_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def authorities() -> dict[str, Any]:
    return {"id": "corp", "name": "Corp", "field": "upn", "anchors_pem": Authority.root().pem}


@pytest.fixture
def admin(home: House) -> Person:
    return person(home.bound.wiring, Role.ADMIN)


def trail(home: House, admin: Person) -> list[AuditRow]:
    with home.bound.wiring.database.work() as db:
        return AuditStore(db).page(200, None, AuditFilter(actor=admin.id))[::-1]


def bodies(small: SmallProvider, authorities: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "providers/small": provider_body(small),
        "directories/corp": DIRECTORY,
        "certificates/corp": authorities,
        "trusted-header": HEADER,
    }


@pytest.mark.parametrize("which", ["providers/small", "directories/corp", "certificates/corp", "trusted-header"])
def test_each_way_is_set_up_seen_changed_and_removed(
    home: House, admin: Person, small: SmallProvider, authorities: dict[str, Any], which: str
) -> None:
    path, body = f"/api/settings/{which}", bodies(small, authorities)[which]
    made = home.raw("PUT", path, body, **admin.headers)
    assert made.status_code == 200, made.get_data(as_text=True)
    seen = home.raw("GET", path, **admin.headers)
    assert (seen.get_json(), seen.headers["ETag"]) == (made.get_json(), made.headers["ETag"])
    secrets = [value for name, value in body.items() if name in ("client_secret", "bind_password", "proxy_secret")]
    for secret in secrets:
        assert secret not in seen.get_data(as_text=True)
        assert seen.get_json().get("has_secret", seen.get_json().get("has_password")) is True
    # Nobody overwrites what they have not seen.
    assert home.raw("PUT", path, body, **admin.headers).status_code == 428
    assert home.raw("DELETE", path, **admin.headers).status_code == 428
    tag = seen.headers["ETag"]
    again = home.raw("PUT", path, {**body, "enabled": False}, If_Match=tag, **admin.headers)
    assert (again.status_code, again.get_json()["enabled"]) == (200, False)
    assert home.raw("PUT", path, body, If_Match=tag, **admin.headers).status_code == 412
    assert home.raw("DELETE", path, If_Match=tag, **admin.headers).status_code == 412
    assert home.raw("DELETE", path, If_Match=again.headers["ETag"], **admin.headers).status_code == 204
    kinds = Counter((row.kind, row.details["setting"]) for row in trail(home, admin) if row.outcome == "success")
    name = {"providers/small": "oidc:small", "directories/corp": "ldap:corp", "certificates/corp": "pki:corp"}.get(
        which, "header"
    )
    expected = {(EventKind.SETTINGS_CHANGED, name): 3, (EventKind.SECRET_CHANGED, name): 2 if secrets else 0}
    assert kinds == Counter({what: times for what, times in expected.items() if times})


def test_nothing_secret_is_in_the_clear_in_the_database(home: House, admin: Person, small: SmallProvider) -> None:
    path = "/api/settings/providers/kept"
    assert home.raw("PUT", path, provider_body(small, "kept"), **admin.headers).status_code == 200
    with home.bound.wiring.database.work() as db:
        rows = [dict(row._mapping) for row in db.exec_driver_sql("select * from configuration")]
    assert SECRET not in str(rows)
    tag = home.raw("GET", path, **admin.headers).headers["ETag"]
    without = {k: v for k, v in provider_body(small, "kept").items() if k != "client_secret"}
    assert home.raw("PUT", path, without, If_Match=tag, **admin.headers).status_code == 200  # the stored one stays
    tried = home.ask("POST", f"{path}/test", **admin.headers)
    assert tried["works"], tried
    # … and is not sent to another server.
    tag = home.raw("GET", path, **admin.headers).headers["ETag"]
    moved = home.raw("PUT", path, {**without, "issuer": "https://attacker.test"}, If_Match=tag, **admin.headers)
    assert (moved.status_code, moved.get_json()["field"]) == (422, "client_secret")
    home.raw("DELETE", path, If_Match=tag, **admin.headers)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.AUDITOR, Role.GUEST])
@pytest.mark.parametrize("path", ["providers/small", "directories/corp", "certificates/corp", "trusted-header"])
def test_only_administrators_see_and_change_them(home: House, role: Role, path: str) -> None:
    somebody = person(home.bound.wiring, role)
    for method in ("GET", "PUT", "DELETE"):
        assert home.raw(method, f"/api/settings/{path}", {}, **somebody.headers).status_code == 403
    assert home.raw("POST", f"/api/settings/{path}/test", **somebody.headers).status_code == 403


def test_a_token_and_a_stale_proof_are_not_enough(home: House, admin: Person) -> None:
    assert home.raw("GET", "/api/settings/providers").status_code == 403  # the owner's own token
    stale = {"Authorization": f"Bearer {admin.stale}"}
    assert home.raw("GET", "/api/settings/providers", **stale).status_code == 403


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("providers/other", {}, "id"),
        ("providers/certificate", {"id": "certificate"}, "id"),
        ("providers/a--b", {"id": "a--b"}, "id"),
        ("providers/small", {"issuer": "http://idp.example"}, "issuer"),
        ("providers/small", {"algorithms": ["HS256"]}, None),
        ("providers/small", {"algoritms": ["ES256"]}, None),
        ("directories/corp", {"people": "nowhere"}, "people"),
        ("directories/corp", {"person_filter": "(a=b)(c=d)"}, "person_filter"),
        ("certificates/corp", {"anchors_pem": "nothing"}, "anchors_pem"),
        ("certificates/corp", {"revocation": {"silense": "allow"}}, None),
        ("certificates/corp", {"admission": {"groups": ["staff"]}}, "admission"),
        ("trusted-header", {"addresses": ["0.0.0.0/0"]}, "addresses"),
        ("trusted-header", {"user_header": "X-Forwarded-User"}, "user_header"),
    ],
)
def test_what_could_not_work_or_would_let_in_anybody_is_refused(
    home: House,
    admin: Person,
    small: SmallProvider,
    authorities: dict[str, Any],
    path: str,
    change: dict[str, Any],
    field: str | None,
) -> None:
    known = bodies(small, authorities)
    body = next(body for name, body in known.items() if name.partition("/")[0] == path.partition("/")[0])
    refused = home.raw("PUT", f"/api/settings/{path}", {**body, **change}, **admin.headers)
    assert refused.status_code == 422, refused.get_data(as_text=True)
    if field is not None:
        assert refused.get_json()["field"] == field


def test_authorities_that_are_none_are_refused_before_they_are_kept(home: House, admin: Person) -> None:
    leaf = Authority.root().client()
    body = {"id": "leaf", "name": "Leaf", "field": "upn", "anchors_pem": leaf.pem}
    assert home.raw("PUT", "/api/settings/certificates/leaf", body, **admin.headers).status_code == 422
    assert home.raw("GET", "/api/settings/certificates/leaf", **admin.headers).status_code == 404


def test_two_providers_are_never_one_issuer(home: House, admin: Person, small: SmallProvider) -> None:
    first = home.raw("PUT", "/api/settings/providers/first", provider_body(small, "first"), **admin.headers)
    assert first.status_code == 200
    second = home.raw("PUT", "/api/settings/providers/second", provider_body(small, "second"), **admin.headers)
    assert second.status_code == 409
    home.raw("DELETE", "/api/settings/providers/first", If_Match=first.headers["ETag"], **admin.headers)


# Trying them out


def test_a_provider_is_tried_and_every_fault_is_a_finding(home: House, admin: Person, small: SmallProvider) -> None:
    path = "/api/settings/providers/tried"
    tag = home.raw("PUT", path, provider_body(small, "tried"), **admin.headers).headers["ETag"]
    assert home.ask("POST", f"{path}/test", **admin.headers)["works"] is True
    wrong = {**provider_body(small, "tried"), "client_secret": "another secret"}
    tag = home.raw("PUT", path, wrong, If_Match=tag, **admin.headers).headers["ETag"]
    report = home.ask("POST", f"{path}/test", **admin.headers)
    assert report["works"] is False
    assert [one["sentence"] for one in report["findings"] if one["level"] == "problem"] == [
        "It refuses this client id and secret. Copy both from its settings again."
    ]
    assert "another secret" not in json.dumps(report)
    tested = [row for row in trail(home, admin) if row.kind == EventKind.CONNECTION_TESTED]
    assert [(row.outcome, row.details["setting"]) for row in tested] == [("success", "oidc:tried"), ("failure", "oidc:tried")]
    home.raw("DELETE", path, If_Match=tag, **admin.headers)


def test_a_connection_is_tried_a_few_times_only(home: House, admin: Person) -> None:
    answers = [home.raw("POST", "/api/settings/trusted-header/test", **admin.headers).status_code for _ in range(12)]
    assert (answers[0], answers[-1]) == (200, 429)


def test_nothing_is_held_while_a_provider_is_waited_for(home: House, admin: Person, small: SmallProvider) -> None:
    path = "/api/settings/providers/slow"
    tag = home.raw("PUT", path, provider_body(small, "slow"), **admin.headers).headers["ETag"]
    pool = home.bound.wiring.database.engine.pool
    busy: list[int] = []
    metadata = small.metadata

    def watched() -> dict[str, object]:
        busy.append(pool.checkedout())  # type: ignore[attr-defined]
        return metadata()

    small.metadata = watched  # type: ignore[method-assign]
    try:
        assert home.ask("POST", f"{path}/test", **admin.headers)["works"]
        assert home.raw("GET", "/api/sign-in/slow").status_code == 303
    finally:
        del small.metadata
    assert set(busy) == {0}
    home.raw("DELETE", path, If_Match=tag, **admin.headers)


class MemoryDirectories:
    """Every connection leads to one seed."""

    def for_(self, connection: DirectoryConnection) -> MemoryDirectory:
        return MemoryDirectory(Seed(people=[Member("ada", "x")]), connection)


def test_a_directory_is_tried_server_by_server(home: House, admin: Person) -> None:
    home.bound.wiring.__dict__.setdefault("_ports", {})[Directories] = MemoryDirectories()
    path = "/api/settings/directories/corp"
    tag = home.raw("PUT", path, DIRECTORY, **admin.headers).headers["ETag"]
    report = home.ask("POST", f"{path}/test", **admin.headers)
    assert report["works"] is False  # there are no groups in it
    assert {one["level"] for one in report["findings"]} == {"fine", "problem"}
    home.raw("DELETE", path, If_Match=tag, **admin.headers)


def test_the_header_says_what_this_request_would_be_worth(home: House, admin: Person) -> None:
    made = home.raw("PUT", "/api/settings/trusted-header", HEADER, **admin.headers)
    assert made.status_code == 200
    path, sent = "/api/settings/trusted-header/test", {**admin.headers, "Remote_User": "ada"}
    assert "vouches for no address" in home.ask("POST", path, **sent)["findings"][0]["sentence"]
    with home.coming_from("192.0.2.8"):
        assert "192.0.2.8" in home.ask("POST", path, **sent)["findings"][0]["sentence"]
    with home.coming_from("192.0.2.9"):
        assert home.ask("POST", path, **sent)["works"] is False
        assert home.ask("POST", path, **sent, X_Proxy_Secret=HEADER["proxy_secret"])["works"] is True
    home.raw("DELETE", "/api/settings/trusted-header", If_Match=made.headers["ETag"], **admin.headers)
