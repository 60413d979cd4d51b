"""A real OpenLDAP and our own route: StartTLS that the server saw, nested groups, and nobody from outside the required one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auricle.access.permissions import Role
from builders.directory import GROUPS, PEOPLE, Member, Seed, group_dn, person_dn
from builders.house import House, house
from builders.persons import person
from builders.slapd_server import SERVICE, SERVICE_PASSWORD, SlapdServer, running
from builders.visitor import PUBLIC_URL, Visitor, set_up

pytestmark = pytest.mark.services
SEED = Seed(
    people=[Member("alice", "alice-pass", mail="alice@example.test", shown="Alice"), Member("bob", "bob-pass")],
    groups={
        group_dn("backend"): [person_dn("alice")],
        group_dn("engineering"): [group_dn("backend")],
        group_dn("staff"): [group_dn("engineering")],
        group_dn("guests"): [person_dn("bob")],
    },
)


@pytest.fixture(scope="module")
def slapd() -> Iterator[SlapdServer]:
    with running(SEED) as server:
        yield server


@pytest.fixture(scope="module")
def home(database_url: str, slapd: SlapdServer) -> Iterator[House]:
    with house(database_url, public_url=PUBLIC_URL) as made:
        rules = {"required_groups": [group_dn("staff")], "groups": [group_dn("staff")]}
        roles = {"roles": [{"group": group_dn("engineering"), "role": "auditor"}], "default_role": "guest"}
        body = {
            "id": "corp",
            "name": "Corp",
            "servers": [{"host": "localhost", "port": slapd.port, "encryption": "starttls"}],
            "ca_pem": slapd.authority.pem,
            "bind_dn": SERVICE,
            "bind_password": SERVICE_PASSWORD,
            "people": PEOPLE,
            "groups": GROUPS,
            "admission": {**rules, **roles},
        }
        set_up(made, "directories", "corp", body)
        yield made


def log_in(home: House, login: str, password: str) -> tuple[Visitor, int, dict[str, str]]:
    visitor = Visitor(home)
    answer = visitor.ask("POST", "/api/session/directory/corp", {"login": login, "password": password})
    return visitor, answer.status_code, answer.get_json()


def test_somebody_deep_in_the_required_group_signs_in_over_starttls(home: House, slapd: SlapdServer) -> None:
    before = len(slapd.log())
    visitor, status, _ = log_in(home, "alice", "alice-pass")
    assert status == 201
    me = visitor.me()
    assert (me["name"], me["roles"]) == ("Alice", ["auditor"])
    log = slapd.log()[before:]
    assert "STARTTLS" in log
    assert "ssf=0 ssf=0" not in log


def test_somebody_outside_it_is_refused_like_a_stranger(home: House) -> None:
    answers = [log_in(home, *words) for words in (("bob", "bob-pass"), ("bob", "wrong"), ("nobody", "x"))]
    assert [status for _, status, _ in answers] == [401, 401, 401]
    assert len({said["detail"] for _, _, said in answers}) == 1


@pytest.mark.parametrize("login", ["*", "alice)(uid=*", "*)(objectClass=*", "alice\0", "uid=alice"])
def test_what_is_typed_is_never_a_filter(home: House, login: str) -> None:
    assert log_in(home, login, "alice-pass")[1] == 401


def test_the_directory_is_tried_from_the_settings(home: House) -> None:
    admin = person(home.bound.wiring, Role.ADMIN)
    report = home.ask("POST", "/api/settings/directories/corp/test", **admin.headers)
    assert report["works"] is True, report


def test_a_directory_that_is_away_is_said_to_be_and_locks_nobody(home: House, slapd: SlapdServer) -> None:
    slapd.stop()
    try:
        assert {log_in(home, "alice", "alice-pass")[1] for _ in range(6)} == {503}
    finally:
        slapd.start()
    assert log_in(home, "alice", "alice-pass")[1] == 201
