"""Holes of authority: rights that somebody gives themselves, other people's things by their ids, other sites' pages."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from flask import Response

from auricle.access.permissions import Grant, Role
from auricle.access.sharing.model import Subject
from auricle.access.sharing.store import GrantStore
from auricle.access.store import people
from auricle.admin.configuration.actions import Configuration
from auricle.contract.choices import SCOPES, Permission
from auricle.contract.function import Route, registry
from auricle.contract.http import Body, Form
from auricle.contract.ids import uuid7
from auricle.deploy.catalogue import load
from auricle.files.model import FileId, MediaKind, Options, original_key
from auricle.files.store import FileStore
from auricle.identity.accounts.model import REGISTRATION, RegistrationMode, RegistrationPolicy
from auricle.intake.model import UploadId
from auricle.intake.store import IntakeStore
from auricle.runs import conducting
from auricle.runs.model import RunId, plan_of
from auricle.runs.store import RunStore
from builders.authenticator import Device
from builders.house import House
from builders.members import by_password, held, member, with_app
from builders.newcomers import OTHER, OWNER, PASSWORD, THIRD, bearer, from_somewhere, newcomer, sign_in, token
from builders.oidc_provider import small_provider
from builders.persons import Person, person
from builders.visitor import PAGE, Visitor, provider_body, set_up

load()
EVIL = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
SIBLING = {"Origin": "http://other.127.0.0.1:8787", "Sec_Fetch_Site": "same-site"}
NULL = {"Origin": "null", "Sec_Fetch_Site": "cross-site"}
SILENT: dict[str, str] = {}
"""A request of which the browser says nothing, as an old one."""


# Mass assignment

WANTED: tuple[dict[str, Any], ...] = (
    *({"role": "owner"}, {"roles": ["owner"]}, {"is_admin": True}, {"state": "active"}, {"id": str(UUID(int=7))}),
    *({"second_factor": False}, {"email_verified": True}, {"scopes": ["operate"]}, {"must_change_password": False}),
)


def let(home: House, mode: RegistrationMode) -> None:
    configuration: Configuration = home.bound.wiring.provide(Configuration)
    with home.bound.wiring.database.work() as db:
        configuration.put(db, REGISTRATION, RegistrationPolicy(mode=mode), None, None, expected=None)


def roles(home: House, email: str) -> str:
    with home.bound.wiring.database.work() as db:
        return str(db.execute(people.select().where(people.c.email_key == email)).one().role)


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: next(iter(wanted)))
def test_mass_assignment_of_roles_by_who_registers(home: House, wanted: dict[str, Any]) -> None:
    let(home, RegistrationMode.OPEN)
    email = f"reg-{next(iter(wanted)).replace('_', '-')}@vault.example"
    assert from_somewhere(home, "POST", "/api/registration", {"email": email, **wanted}).status_code == 422
    from_somewhere(home, "POST", "/api/registration", {"email": email})
    body = {"token": token(home, email), "display_name": "Kim", "password": OTHER}
    assert from_somewhere(home, "POST", "/api/registration/confirm", {**body, **wanted}).status_code == 422
    assert from_somewhere(home, "POST", "/api/registration/confirm", body).status_code == 201
    assert roles(home, email) == "member"


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: next(iter(wanted)))
def test_mass_assignment_of_roles_by_who_is_invited(home: House, wanted: dict[str, Any]) -> None:
    let(home, RegistrationMode.INVITATION)
    email = f"inv-{next(iter(wanted)).replace('_', '-')}@vault.example"
    home.ask("POST", "/api/invitations", {"email": email, "role": "guest"}, status=201, **bearer(home))
    body = {"token": token(home, email), "display_name": "Kim", "password": OTHER}
    assert from_somewhere(home, "POST", "/api/invitations/accept", {**body, **wanted}).status_code == 422
    assert from_somewhere(home, "POST", "/api/invitations/accept", body).status_code == 201
    assert roles(home, email) == "guest"


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: next(iter(wanted)))
def test_mass_assignment_of_roles_in_ones_profile(home: House, wanted: dict[str, Any]) -> None:
    ada = person(home.bound.wiring)
    assert home.raw("PATCH", "/api/me", {"display_name": "Ada", **wanted}, **ada.headers).status_code == 422
    assert (roles(home, ada.email), home.ask("GET", "/api/me", **ada.headers)["roles"]) == ("member", ["member"])


@pytest.mark.parametrize("role", ["owner", "admin", "auditor"])
def test_mass_assignment_of_roles_by_an_administrator(home: House, role: str) -> None:
    """Administrators give member and guest: nobody becomes more than they are by way of somebody else."""
    let(home, RegistrationMode.INVITATION)
    admin, other = person(home.bound.wiring, Role.ADMIN), person(home.bound.wiring)
    new = {"email": f"{role}-by-admin@vault.example", "display_name": "New", "role": role}
    assert home.raw("POST", "/api/users", new, **admin.headers).status_code == 403
    assert home.raw("POST", "/api/invitations", {"email": new["email"], "role": role}, **admin.headers).status_code == 403
    assert home.raw("PATCH", f"/api/users/{other.id}", {"role": role}, **admin.headers).status_code == 403
    assert home.raw("PATCH", f"/api/users/{admin.id}", {"role": role}, **admin.headers).status_code in (200, 403, 409)
    assert (roles(home, other.email), roles(home, admin.email)) == ("member", "admin")
    above = person(home.bound.wiring, Role(role))  # nor are those above them changed, to take their place
    for method, path, body in (
        *(
            ("PATCH", "", {"role": "member"}),
            ("PATCH", "", {"state": "disabled"}),
            ("DELETE", "", None),
            ("DELETE", "/mfa", None),
        ),
        *(("POST", "/password-reset", {"letter": False}), ("DELETE", "/sessions", None), ("POST", "/unlock", None)),
    ):
        assert home.raw(method, f"/api/users/{above.id}{path}", body, **admin.headers).status_code == 403, (method, path)
    assert home.raw("GET", "/api/me", **above.headers).status_code == 200


def test_mass_assignment_anywhere(home: House) -> None:
    """No body takes what it does not name; forms are other programs', whose standards add fields."""
    bodies = [route.signature.parameters[route.body] for route in registry.routes if route.body]
    assert len(bodies) > 30
    lenient = {
        kind.__name__
        for kind in bodies
        if issubclass(kind, Body) and not issubclass(kind, Form) and not kind.__struct_config__.forbid_unknown_fields
    }
    assert lenient == {"BucketNotification"}  # a bucket's own words: they make nobody anything


# Scopes


def test_token_scope_escalation(home: House) -> None:
    """A token makes no token, gains no scope, and is never more than its owner is now."""
    owner = bearer(home)
    narrow = home.ask("POST", "/api/tokens", {"name": "narrow", "scopes": ["tokens:write", "files:read"]}, status=201, **owner)
    with_it = {"Authorization": f"Bearer {narrow['token']}"}
    for body in ({"name": "wide"}, {"name": "wide", "scopes": ["operate"]}, {"name": "same", "scopes": ["files:read"]}):
        assert home.raw("POST", "/api/tokens", body, **with_it).status_code == 403
    for method, path in (
        ("POST", "/api/uploads"),
        ("GET", "/api/users"),
        ("GET", "/api/settings"),
        ("GET", "/api/audit"),
        ("PATCH", "/api/me"),
    ):
        assert home.raw(method, path, {} if method != "GET" else None, **with_it).status_code == 403, path
    for scopes in (
        ["*"],
        ["files:*"],
        ["FILES:READ"],
        ["owner"],
        ["users"],
        ["settings"],
        ["purge"],
        [" files:read"],
        ["files:read operate"],
    ):
        assert home.raw("POST", "/api/tokens", {"name": "odd", "scopes": scopes}, **owner).status_code == 422, scopes


def test_token_scope_escalation_by_a_role_that_is_gone(home: House) -> None:
    admin = person(home.bound.wiring, Role.ADMIN)
    made = home.ask("POST", "/api/tokens", {"name": "all"}, status=201, **admin.headers)
    with_it = {"Authorization": f"Bearer {made['token']}"}
    assert home.raw("GET", "/api/dead-letters", **with_it).status_code == 200
    home.ask("PATCH", f"/api/users/{admin.id}", {"role": "guest"}, **bearer(home))
    assert home.raw("GET", "/api/dead-letters", **with_it).status_code == 403
    mine = person(home.bound.wiring)
    for scope in set(SCOPES) - {"operate", "audit:read"}:
        assert home.raw("POST", "/api/tokens", {"name": scope, "scopes": [scope]}, **mine.headers).status_code == 201
    for scope in ("operate", "audit:read"):
        assert home.raw("POST", "/api/tokens", {"name": scope, "scopes": [scope]}, **mine.headers).status_code == 422


# Other people's things


class Belongings:
    """Somebody with one of everything, and a stranger who knows all the ids."""

    def __init__(self, home: House) -> None:
        self.home = home
        self.owner, self.friend, self.stranger = (
            newcomer(home, f"{name}@vault.example") for name in ("has", "friend", "knows")
        )
        self.session = bearer(home, "has@vault.example", OTHER)
        file_id, run_id, upload_id = FileId(uuid7()), RunId(uuid7()), UploadId(uuid7())
        owner, other = UUID(self.owner["id"]), UUID(self.friend["id"])
        with home.bound.wiring.database.work() as db:
            files = FileStore(db)
            for id, whose in ((file_id, owner), (own := FileId(uuid7()), UUID(self.stranger["id"]))):
                files.add(id, whose, name="talk.mp3", size=7, content_type="audio/mpeg", kind=MediaKind.AUDIO)
                files.received(id, original_key(id, run_id, ".mp3"))
            RunStore(db).create(run_id, file_id, owner, conducting.begun(Options(), plan_of((), Options())))
            IntakeStore(db).add(upload_id, file_id, owner, key="k", ref="r", size=7, part_size=7, hours=1)
            GrantStore(db).give(file_id, Subject(person=other), Grant.VIEWER, owner, None)
        self.strangers_file = own
        self.ids: dict[str, Any] = {"file_id": file_id, "run_id": run_id, "upload_id": upload_id}
        mine = self.session
        self.ids["grant_id"] = home.ask("GET", f"/api/files/{file_id}/grants", **mine)["items"][0]["id"]
        made = home.ask("POST", "/api/tokens", {"name": "script"}, status=201, **mine)
        self.ids["token_id"], self.token = made["id"], made["token"]
        device = Device("http://localhost:8787")
        begun = from_somewhere(home, "POST", "/api/mfa/passkeys/options", {"use": "passwordless"}, **mine).get_json()
        response = json.loads(device.create(json.dumps(begun["options"]).encode()))
        key = {"ceremony": begun["ceremony"], "use": "passwordless", "name": "my key", "response": response}
        registered = from_somewhere(home, "POST", "/api/mfa/passkeys", key, **mine)
        self.session = held(registered)
        self.ids["passkey_id"] = registered.get_json()["passkey"]["id"]
        self.ids["session_id"] = home.ask("GET", "/api/sessions", **self.session)["items"][0]["id"]
        with small_provider() as small:
            set_up(home, "providers", "small", provider_body(small))
            visitor = Visitor(home)
            with_it = self.session["Authorization"].partition(" ")[2]
            begun = visitor.ask("POST", "/api/me/identities/small", {}, bearer=with_it, **PAGE).get_json()
            assert visitor.come_back(small.sign_in(begun["url"])).status_code == 303
        self.ids["identity"] = home.ask("GET", "/api/me/identities", **self.session)["items"][0]["id"]
        self.knows = bearer(home, "knows@vault.example", OTHER)

    def ask(self, route: Route, **ids: Any) -> Response:
        """As the stranger, with the other's ids."""
        path = route.path
        for name, id in {**self.ids, **ids}.items():
            path = path.replace("{" + name + "}", str(id))
        body = BODIES.get(route.path, {}) if route.body else None
        return self.home.raw(route.method, path, body, If_Match="*", **self.knows)


BODIES = {"/api/mfa/passkeys/{passkey_id}": {"name": "mine now"}}
OWNED = ("file_id", "run_id", "upload_id", "grant_id", "token_id", "session_id", "passkey_id", "identity")
NAMING = [r for r in registry.routes if set(r.path_parameters) & set(OWNED)]


@pytest.fixture(scope="module")
def belongings(home: House) -> Belongings:
    return Belongings(home)


def test_idor_has_every_path_parameter_in_sight() -> None:
    others = {name for route in registry.routes for name in route.path_parameters} - set(OWNED)
    assert others == {
        *(
            "asset",
            "provider",
            "directory",
            "authorities",
            "section",
            "day",
            "dead_letter_id",
        ),  # nobody's own, or administrators'
        *("user_id", "group_id", "invitation_id", "service_account_id"),
    }
    assert len(NAMING) > 20


@pytest.mark.parametrize("route", NAMING, ids=lambda route: f"{route.method} {route.path}")
def test_idor(belongings: Belongings, route: Route) -> None:
    """Another's thing is answered as one that there is not, by every route that names one; and stays as it is."""
    theirs, nobodys = belongings.ask(route), belongings.ask(route, **{name: uuid7() for name in OWNED})
    assert theirs.status_code in (403, 404)
    assert (theirs.status_code, theirs.get_json()["title"]) == (nobodys.status_code, nobodys.get_json()["title"])
    if "grant_id" in route.path_parameters:  # by way of a file of one's own
        assert belongings.ask(route, file_id=belongings.strangers_file).status_code == 404
    for method, path in (("GET", f"/api/files/{belongings.ids['file_id']}"), ("GET", f"/api/runs/{belongings.ids['run_id']}")):
        assert belongings.home.raw(method, path, **belongings.session).status_code == 200
    for path, name in (
        ("/api/tokens", "token_id"),
        ("/api/sessions", "session_id"),
        ("/api/mfa/passkeys", "passkey_id"),
        ("/api/me/identities", "identity"),
    ):
        listed = belongings.home.ask("GET", path, **belongings.session)["items"]
        assert belongings.ids[name] in {one["id"] for one in listed}, path
        assert belongings.ids[name] not in {one["id"] for one in belongings.home.ask("GET", path, **belongings.knows)["items"]}
    assert belongings.home.ask("GET", "/api/mfa/passkeys", **belongings.session)["items"][0]["name"] == "my key"


@pytest.mark.parametrize("kind", ["admin", "auditor", "owner"])
def test_administrators_read_everybodys_files(belongings: Belongings, kind: str) -> None:
    who = person(belongings.home.bound.wiring, Role(kind))
    for path in ("/api/files/{file_id}", "/api/files/{file_id}/grants", "/api/runs/{run_id}", "/api/uploads/{upload_id}"):
        for name, id in belongings.ids.items():
            path = path.replace("{" + name + "}", str(id))
        assert belongings.home.raw("GET", path, **who.headers).status_code == 404
    assert belongings.home.ask("GET", "/api/files", **who.headers)["items"] == []


# Other sites' pages


@pytest.mark.parametrize("origin", [EVIL, SIBLING, NULL], ids=["another-site", "a-sibling", "null"])
def test_csrf_from_another_origin(home: House, origin: dict[str, str]) -> None:
    """Every route, with the victim's cookies from a page that is not ours: nothing is done in the victim's name."""
    email = f"csrf-{len(origin['Origin'])}@vault.example"
    newcomer(home, email)
    victim = Visitor(home)
    assert victim.ask("POST", "/api/session", {"email": email, "password": OTHER}, **PAGE).status_code == 201
    cookies = dict(victim.cookies)
    done = []
    for route in registry.routes:
        if route.permission is Permission.PUBLIC and route.method == "GET":
            continue
        path = route.path
        for name in route.path_parameters:
            path = path.replace("{" + name + "}", "2026-01-31" if name == "day" else str(uuid7()))
        victim.cookies = dict(cookies)
        answer = Visitor(home, "198.18.0.7")
        answer.cookies = dict(cookies)
        said = answer.ask(route.method, path, {} if route.body else None, **origin)
        if said.status_code < 400 and said.status_code != 202:
            done.append(f"{route.method} {route.path}: {said.status_code}")
        assert answer.cookies.get("auricle_refresh") == cookies["auricle_refresh"]
    assert done == []
    for path in ("/api/session/refresh", "/api/session/owed"):
        foreign = Visitor(home)
        foreign.cookies = dict(cookies)
        assert foreign.ask("POST", path, **origin).status_code == 403
        assert foreign.ask("POST", path, **SILENT).status_code == 403
    victim.cookies = cookies
    assert victim.me()["email"] == email  # nothing happened to the session either


def test_login_csrf(home: House) -> None:
    """Nobody is signed in as an attacker by a page of the attacker's."""
    for origin in (EVIL, SIBLING, NULL):
        victim = Visitor(home)
        answer = victim.ask("POST", "/api/session", {"email": OWNER, "password": PASSWORD}, **origin)
        assert (answer.status_code, victim.cookies) == (403, {})
    form = b"email=ada%40vault.example&password=x"  # what a page can send without being asked about it first
    assert Visitor(home).ask("POST", "/api/session", form, **EVIL).status_code in (403, 415)


def test_cross_site_mfa_reset(home: House) -> None:
    """The whole prefix /auth/mfa was exempt there. Here cookies do not even reach these routes, and count for none of them."""
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    signed = from_somewhere(home, "POST", "/api/mfa/verify", {"code": app.backup[0]}, **held(by_password(home, ada)))
    cookies = [line for line in signed.headers.getlist("Set-Cookie") if "refresh" in line]
    assert all("Path=/api/session" in line and "SameSite=Strict" in line and "HttpOnly" in line for line in cookies)
    carried = "; ".join(line.partition(";")[0] for line in signed.headers.getlist("Set-Cookie"))
    routes = [r for r in registry.routes if "/mfa" in r.path]
    assert len(routes) > 10
    for route in routes:
        path = route.path.replace("{passkey_id}", str(uuid7())).replace("{user_id}", str(ada.id))
        for origin in (EVIL, SIBLING, SILENT, PAGE):
            answer = from_somewhere(home, route.method, path, {} if route.body else None, Cookie=carried, **origin)
            assert answer.status_code == 401, (route.method, path, origin)
    assert by_password(home, ada).get_json()["factors"] == ["totp", "backup-code"]


def test_email_change_without_password(home: House) -> None:
    user = newcomer(home, "mail@vault.example")
    mine = bearer(home, "mail@vault.example", OTHER)
    new = {"email": "thief@evil.example"}
    wrong = ({}, {"password": ""}, {"password": "guess"}, {"password": THIRD}, {"current_password": OTHER})
    for more in wrong:
        answer = from_somewhere(home, "PUT", "/api/me/email", {**new, **more}, **mine)
        assert answer.status_code in (422, 429), more
    assert home.raw("PATCH", "/api/me", new, **mine).status_code == 422
    assert home.raw("PATCH", f"/api/users/{user['id']}", new, **bearer(home)).status_code == 422
    home.settle()
    assert home.mail.to("thief@evil.example") == []
    assert sign_in(home, "mail@vault.example", OTHER).status_code == 201


def test_email_change_by_a_session_from_long_ago(home: House) -> None:
    """Who finds a page open, and knows nothing, changes nothing: neither the address nor the password, nor makes a token."""
    ada: Person = person(home.bound.wiring)
    stale = {"Authorization": f"Bearer {ada.stale}"}
    for method, path, body in (
        ("PUT", "/api/me/email", {"email": "thief@evil.example", "password": "x"}),
        ("PUT", "/api/me/password", {"current_password": "x", "password": OTHER}),
        ("POST", "/api/tokens", {"name": "x"}),
        ("POST", "/api/mfa/totp", None),
        ("POST", "/api/me/identities/small", {}),
    ):
        assert home.raw(method, path, body, **stale).status_code == 403, path
