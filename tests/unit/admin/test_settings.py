"""Settings over HTTP: what holds and where it comes from, one change at a time, secrets that are only written."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from auricle.access.permissions import Role
from auricle.access.sessions import Limits
from auricle.admin.audit.model import AuditFilter, AuditRow
from auricle.admin.audit.store import AuditStore
from auricle.admin.configuration import sections
from auricle.admin.configuration.actions import Configuration
from auricle.admin.configuration.model import Section
from auricle.admin.configuration.sections import Listed
from auricle.identity.passwords import Profile
from auricle.runtime.timerdoor import TimerDoor
from auricle.runtime.wiring import Wiring
from builders.house import House, house
from builders.persons import Person, person


class Bulb(msgspec.Struct, frozen=True):
    """A part of a lamp."""

    watts: int = 40


class Lamp(msgspec.Struct, frozen=True, kw_only=True):
    """What these tests set."""

    bulbs: tuple[Bulb, ...] = ()
    shade: Bulb | None = None
    names: dict[str, Bulb] = {}


LAMP = Section("lamp", Lamp)
ELSEWHERE = Section("elsewhere", Bulb)
PROVIDER = Section("provider", Bulb)
OWN = {
    "lamp": Listed(section=f"{__name__}:LAMP", about="A lamp.", secret="its key"),
    "elsewhere": Listed(section=f"{__name__}:ELSEWHERE", about="Checked elsewhere.", place="/api/elsewhere"),
    "provider": Listed(section=f"{__name__}:PROVIDER", about="Others.", several=True),
}


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url, session_idle_minutes=60) as made:
        yield made


@pytest.fixture(scope="module")
def admin(home: House) -> Person:
    return person(home.bound.wiring, Role.ADMIN)


@pytest.fixture(scope="module")
def owner(home: House) -> Person:
    return person(home.bound.wiring, Role.OWNER)


@pytest.fixture(autouse=True)
def nothing_set(home: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, row in OWN.items():
        monkeypatch.setitem(sections.SECTIONS, name, row)
    yield
    with home.bound.wiring.database.work() as db:
        db.execute(text("delete from configuration"))
    home.bound.wiring.provide(Configuration).forget()


def put(home: House, who: Person, name: str, value: dict[str, Any], etag: str | None = "0", **more: Any) -> Any:
    headers = {"If_Match": f'"{etag}"'} if etag is not None else {}
    return home.raw("PUT", f"/api/settings/{name}", {"value": value, **more}, **who.headers, **headers)


def entries(home: House, name: str) -> list[AuditRow]:
    with home.bound.wiring.database.work() as db:
        return [row for row in AuditStore(db).page(200, None, AuditFilter()) if row.details.get("setting") == name]


def test_what_nobody_set_is_as_the_environment_says(home: House, admin: Person) -> None:
    listed = {item["name"]: item for item in home.ask("GET", "/api/settings", **admin.headers)["items"]}
    assert {"sessions", "passwords", "lockout", "audit", "lamp"} <= set(listed)
    assert "provider" not in listed  # there may be several, and there is none
    found = listed["sessions"]
    assert (found["source"], found["version"], found["value"]["idle"]) == ("environment", 0, "PT3600S")
    assert found["value"] == found["default"]


def test_a_change_of_limits_ends_sessions_that_exist_already(home: House, admin: Person) -> None:
    wiring = home.bound.wiring
    other = person(wiring)
    with wiring.database.work() as db:
        when = text("update sessions set seen_at = now() - interval '30 minutes' where principal_id = :id")
        db.execute(when, {"id": other.id})
    assert home.raw("GET", "/api/files", **other.headers).status_code == 200
    with wiring.database.work() as db:
        db.execute(when, {"id": other.id})
    answer = put(home, admin, "sessions", {"idle": "PT15M"})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    told = answer.get_json()
    assert (told["source"], told["version"], told["changed_by"]) == ("database", 1, str(admin.id))
    assert (told["value"]["idle"], told["default"]["idle"]) == ("PT900S", "PT3600S")
    assert told["value"]["concurrent"] == told["default"]["concurrent"]  # left out: as the environment says
    assert home.raw("GET", "/api/files", **other.headers).status_code == 401
    etag = answer.headers["ETag"].strip('"')
    back = home.raw("DELETE", "/api/settings/sessions", **admin.headers, If_Match=f'"{etag}"')
    assert (back.status_code, back.get_json()["source"]) == (200, "environment")
    assert wiring.provide(Limits).idle.total_seconds() == 3600


def test_who_has_not_seen_what_they_replace_is_refused(home: House, admin: Person) -> None:
    assert put(home, admin, "sessions", {}, None).status_code == 428
    first = put(home, admin, "sessions", {"concurrent": 3}).headers["ETag"].strip('"')
    assert put(home, admin, "sessions", {"concurrent": 4}).status_code == 412
    assert put(home, admin, "sessions", {"concurrent": 4}, "*").status_code == 412
    second = put(home, admin, "sessions", {"concurrent": 5}, first)
    assert second.get_json()["version"] == 2
    assert home.raw("DELETE", "/api/settings/sessions", **admin.headers).status_code == 428
    assert home.raw("DELETE", "/api/settings/sessions", **admin.headers, If_Match=f'"{first}"').status_code == 412
    shown = home.raw("GET", "/api/settings/sessions", **admin.headers)
    assert (shown.headers["ETag"], shown.get_json()["value"]["concurrent"]) == (second.headers["ETag"], 5)


def test_settings_that_were_forgotten_and_set_anew_are_others(home: House, admin: Person) -> None:
    old = put(home, admin, "sessions", {"concurrent": 3}).headers["ETag"].strip('"')
    home.ask("DELETE", "/api/settings/sessions", **admin.headers, If_Match=f'"{old}"')
    assert put(home, admin, "sessions", {"concurrent": 4}).get_json()["version"] == 1
    assert put(home, admin, "sessions", {"concurrent": 9}, old).status_code == 412


@pytest.mark.parametrize(
    ("section", "value", "field"),
    [
        ("sessions", {"idel": "PT15M"}, "idel"),
        ("sessions", {"idle": "soon"}, "idle"),
        ("sessions", {"idle": "PT1S"}, None),
        ("sessions", {"concurrent": "3"}, "concurrent"),
        ("lockout", {"account": {"tries": 3, "within": "P1D", "fist": "PT15M"}}, "account.fist"),
        ("lockout", {"account": {"tries": 1, "within": "P1D"}}, None),
        ("passwords", {"length": 8}, None),
        ("passwords", {"profile": "stig", "longest": "P90D"}, None),
        ("passwords", {"profile": "nist", "classes": False, "history": 3}, None),
        ("passwords", {"length": 80}, None),
        ("lamp", {"bulbs": [{"watts": 5}, {"wats": 6}]}, "bulbs[1].wats"),
        ("lamp", {"shade": {"size": 3}}, "shade.size"),
        ("lamp", {"names": {"desk": {"size": 3}}}, "names.desk.size"),
    ],
)
def test_what_no_section_means_is_refused_with_its_place(
    home: House, admin: Person, section: str, value: dict[str, Any], field: str | None
) -> None:
    answer = put(home, admin, section, value)
    problem = answer.get_json()
    assert (answer.status_code, problem.get("field")) == (422, field), problem
    assert problem["detail"].endswith(".")
    assert home.ask("GET", f"/api/settings/{section}", **admin.headers)["source"] == "environment"


def test_passwords_become_stricter_and_never_weaker_than_their_profile(home: House, admin: Person) -> None:
    value = {"profile": "nist", "length": 20, "longest": "P365D", "history": 30}
    assert put(home, admin, "passwords", value).status_code == 200
    profile = home.bound.wiring.provide(Profile)
    assert (profile.length, profile.classes, profile.history) == (20, False, 30)
    assert profile.longest is not None
    assert profile.longest.days == 365


def test_a_secret_is_written_and_never_read(home: House, admin: Person) -> None:
    hidden = secrets.token_hex(8)
    first = put(home, admin, "lamp", {"bulbs": [{"watts": 7}]}, secret=hidden)
    configuration: Configuration = home.bound.wiring.provide(Configuration)
    assert (first.get_json()["has_secret"], first.get_json()["takes_secret"]) == (True, "its key")
    assert hidden not in first.get_data(as_text=True) + home.raw("GET", "/api/settings", **admin.headers).get_data(as_text=True)
    second = put(home, admin, "lamp", {"bulbs": []}, first.headers["ETag"].strip('"'))  # left out: it stays
    assert configuration.secret(LAMP) == hidden
    tag = second.headers["ETag"].strip('"')
    for mask in ("********", "••••", "<redacted>", "", "x" * 9000):
        assert put(home, admin, "lamp", {}, tag, secret=mask).status_code == 422
    assert configuration.secret(LAMP) == hidden
    third = put(home, admin, "lamp", {}, tag, secret=None)
    assert third.get_json()["has_secret"] is False
    assert configuration.secret(LAMP) is None
    assert put(home, admin, "sessions", {}, secret="one").status_code == 422
    told = entries(home, "lamp")
    assert [row.kind for row in told].count("admin.settings.secret_change") == 2
    assert hidden not in repr(told)


def test_of_some_things_there_are_several(home: House, admin: Person) -> None:
    assert put(home, admin, "provider:desk", {"watts": 3}).status_code == 200
    assert put(home, admin, "provider:no spaces", {"watts": 3}).status_code == 422
    assert put(home, admin, "provider:", {"watts": 3}).status_code == 404
    assert put(home, admin, "provider", {"watts": 3}).status_code == 404
    assert put(home, admin, "sessions:one", {}).status_code == 404
    names = [item["name"] for item in home.ask("GET", "/api/settings", **admin.headers)["items"]]
    assert "provider:desk" in names


def test_what_has_routes_of_its_own_is_shown_and_not_set_past_their_checks(home: House, admin: Person) -> None:
    refused = put(home, admin, "elsewhere", {"watts": 3})
    assert (refused.status_code, "/api/elsewhere" in refused.get_json()["detail"]) == (409, True)
    assert home.raw("DELETE", "/api/settings/elsewhere", **admin.headers, If_Match='"0"').status_code == 409
    assert home.ask("GET", "/api/settings/elsewhere", **admin.headers)["place"] == "/api/elsewhere"


def test_changes_are_told_with_who_made_them(home: House, admin: Person) -> None:
    before = len(entries(home, "lockout"))
    put(home, admin, "lockout", {"account": {"tries": 4, "within": "P1D"}})
    (entry, *_) = entries(home, "lockout")
    assert len(entries(home, "lockout")) == before + 1
    assert (entry.kind, entry.actor, entry.subject_kind, entry.subject_id) == (
        "admin.settings.change",
        admin.id,
        "setting",
        "lockout",
    )


def test_only_an_owner_shortens_the_record_of_administrators(home: House, admin: Person, owner: Person) -> None:
    assert put(home, admin, "audit", {"keep_days": 90}).status_code == 403
    assert put(home, owner, "audit", {"keep_days": 30}).status_code == 422
    assert put(home, owner, "audit", {"keep_days": 90}).status_code == 200


def test_settings_are_for_administrators_with_a_fresh_factor(home: House, admin: Person) -> None:
    assert home.raw("GET", "/api/settings").status_code == 403  # a token
    stale = {"Authorization": f"Bearer {admin.stale}"}
    assert home.raw("GET", "/api/settings", **stale).status_code == 403
    for role in (Role.MEMBER, Role.GUEST, Role.AUDITOR):
        assert home.raw("GET", "/api/settings", **person(home.bound.wiring, role).headers).status_code == 403


def test_failures_are_counted_as_administrators_want(home: House, admin: Person) -> None:
    put(home, admin, "lockout", {"account": {"tries": 2, "within": "P1D"}})
    body = {"email": "guessed@vault.example", "password": "wrong"}
    with home.coming_from("203.0.113.9"):
        assert [home.raw("POST", "/api/session", body).status_code for _ in "123"] == [401, 401, 429]


def test_a_timer_reads_what_was_set_meanwhile(home: House, admin: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    wiring: Wiring = home.bound.wiring
    seen: list[int] = []

    def look(limits: Limits) -> None:
        seen.append(limits.concurrent)

    from auricle.contract.function import Signature, Timer

    door = TimerDoor({"look": Timer("look", 15, look, Signature.of(look))}, wiring)
    door.run("look")
    put(home, admin, "sessions", {"concurrent": 7})
    door.run("look")
    assert seen == [10, 7]
