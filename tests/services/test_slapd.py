"""A real OpenLDAP: TLS that is really negotiated, rules that really hold, and a server that goes away and comes back."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from auricle.adapters.directory.ldap3 import Ldap3Directories, Ldap3Directory
from auricle.errors import Permanent, Retryable
from auricle.identity.ldap import DirectoryBody, Server, as_external, changed, connection
from auricle.identity.oidc.admission import Admission, GivenRole, RoleRule, role_for
from auricle.ports.directory import Check, Encryption, Membership, Refusal, ServerAddress
from builders.directory import BASE, GROUPS, PEOPLE, Member, Seed, group_dn, person_dn
from builders.pki import Authority
from builders.relay import Relay
from builders.slapd_server import SERVICE, SERVICE_PASSWORD, SlapdServer, running

pytestmark = pytest.mark.services
SEED = Seed(
    people=[Member("alice", "alice-pass", mail="alice@example.test", shown="Alice"), Member("bob", "bob-pass")],
    groups={
        group_dn("backend"): [person_dn("alice")],
        group_dn("staff"): [group_dn("backend")],
        group_dn("guests"): [person_dn("bob")],
    },
)
UNAUTHENTICATED = "allow bind_anon_dn\n"
"""Makes a bind with a name and no password succeed, as Active Directory does and RFC 4513 allows."""


@pytest.fixture(scope="module")
def slapd() -> Iterator[SlapdServer]:
    """A server that nobody stops."""
    with running(SEED, more=UNAUTHENTICATED) as server:
        yield server


def operations(server: SlapdServer, since: int) -> list[str]:
    """What was asked of it, in order: `STARTTLS`, `BIND`, `SRCH`."""
    return re.findall(r"op=\d+ (STARTTLS|BIND(?= dn=\S+ method)|SRCH(?= base))", server.log()[since:])


# TLS


@pytest.mark.parametrize("encryption", list(Encryption))
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_people_sign_in_over_tls_that_the_server_saw(slapd: SlapdServer, encryption: Encryption, host: str) -> None:
    before = len(slapd.log())
    directory = Ldap3Directory(slapd.connection(servers=(slapd.address(encryption, host),)))
    assert directory.sign_in("alice", "alice-pass") is not None
    log = slapd.log()[before:]
    binds = re.findall(r"BIND dn=\S+ mech=SIMPLE bind_ssf=0 ssf=(\d+)", log)
    assert len(binds) == 2
    assert all(int(strength) >= 128 for strength in binds)
    assert ("STARTTLS" in log) == (encryption is Encryption.STARTTLS)


@pytest.mark.parametrize("encryption", list(Encryption))
def test_another_authoritys_server_is_refused(slapd: SlapdServer, encryption: Encryption) -> None:
    before = len(slapd.log())
    other = Authority.root("Another Root", now=datetime.now(UTC))
    settings = slapd.connection(servers=(slapd.address(encryption),), ca_pem=other.pem)
    with pytest.raises(Permanent, match="certificate"):
        Ldap3Directory(settings).sign_in("alice", "alice-pass")
    assert " BIND " not in slapd.log()[before:]


@pytest.mark.parametrize("encryption", list(Encryption))
def test_the_systems_authorities_do_not_vouch_for_it(slapd: SlapdServer, encryption: Encryption) -> None:
    with pytest.raises(Permanent, match="certificate"):
        Ldap3Directory(slapd.connection(servers=(slapd.address(encryption),), ca_pem=None)).sign_in("alice", "alice-pass")


@pytest.mark.parametrize("encryption", list(Encryption))
def test_a_certificate_for_another_name_is_refused(encryption: Encryption) -> None:
    with running(SEED, hosts=("ldap.example.test",)) as server:
        before = len(server.log())
        with pytest.raises(Permanent, match="certificate"):
            Ldap3Directory(server.connection(servers=(server.address(encryption),))).sign_in("alice", "alice-pass")
        assert " BIND " not in server.log()[before:]


def test_a_server_without_tls_never_hears_a_password() -> None:
    with running(SEED, tls=False) as server:
        before = len(server.log())
        directory = Ldap3Directory(server.connection())
        with pytest.raises(Permanent, match="does not start TLS"):
            directory.sign_in("alice", "alice-pass")
        assert " BIND " not in server.log()[before:]
        assert [(found.check, found.passed) for found in directory.test_connection()] == [(Check.CONNECTION, False)]


# Binds


def test_this_server_really_lets_an_empty_password_pass(slapd: SlapdServer) -> None:
    """So that the tests below show that we do not send one, rather than that it is refused."""
    import ldap3  # type: ignore[import-untyped]

    bare = ldap3.Connection(ldap3.Server("127.0.0.1", slapd.port), auto_bind=ldap3.AUTO_BIND_NONE)
    bare.open()
    bare.strategy.send("bindRequest", _nameless(person_dn("alice")))
    responses = bare.strategy.receiving()
    assert bytes((0x0A, 1, 0)) in responses[0]


def _nameless(dn: str) -> object:
    from ldap3.operation.bind import AuthenticationChoice, BindRequest, Simple, Version  # type: ignore[import-untyped]

    request = BindRequest()
    request["version"], request["name"] = Version(3), dn
    request["authentication"] = AuthenticationChoice().setComponentByName("simple", Simple(b""))
    return request


@pytest.mark.parametrize("password", ["", "\0", "\u00ad", "\u2060\ufe0f", "\0x"])
def test_an_empty_password_is_nobody_though_the_server_would_take_it(slapd: SlapdServer, password: str) -> None:
    before = len(slapd.log())
    assert Ldap3Directory(slapd.connection()).sign_in("alice", password) is None
    assert "ACCEPT" not in slapd.log()[before:]


def test_a_service_account_without_a_password_is_refused_before_it_is_nobody(slapd: SlapdServer) -> None:
    before = len(slapd.log())
    with pytest.raises(Permanent, match="service account"):
        Ldap3Directory(slapd.connection(bind_password="")).sign_in("alice", "alice-pass")
    assert " BIND " not in slapd.log()[before:]


def test_a_wrong_password_and_an_unknown_login_cost_the_same_operations(slapd: SlapdServer) -> None:
    directory = Ldap3Directory(slapd.connection())
    asked = []
    for login in ("alice", "nobody", "*)(uid=*"):
        before = len(slapd.log())
        assert directory.sign_in(login, "wrong") is None
        asked.append(operations(slapd, before))
    assert asked[0] == ["STARTTLS", "BIND", "SRCH", "STARTTLS", "BIND"]
    assert asked[0] == asked[1] == asked[2]
    assert directory.refusals == {Refusal.PASSWORD: 1, Refusal.UNKNOWN: 2}


def test_a_wrong_service_account_is_the_administrators_matter(slapd: SlapdServer) -> None:
    with pytest.raises(Permanent, match="service account"):
        Ldap3Directory(slapd.connection(bind_password="wrong")).sign_in("alice", "alice-pass")


def test_full_width_letters_are_the_same_person(slapd: SlapdServer) -> None:
    """The directory takes them for the same; hence limits and locks count by `canonical_login`, and identities by the id."""
    directory = Ldap3Directory(slapd.connection())
    plain, wide = directory.sign_in("alice", "alice-pass"), directory.sign_in("ａｌｉｃｅ", "alice-pass")
    assert plain is not None
    assert wide == plain


# Groups


def test_somebody_outside_the_required_group_is_refused(slapd: SlapdServer) -> None:
    for way in (Membership.MEMBER, Membership.MEMBER_OF):
        directory = Ldap3Directory(slapd.connection(required_groups=(group_dn("staff"),), membership=way))
        assert directory.sign_in("alice", "alice-pass") is not None
        assert directory.sign_in("bob", "bob-pass") is None
        assert directory.refusals == {Refusal.GROUP: 1}


def test_whoever_is_taken_out_of_a_group_is_out_at_the_next_sign_in() -> None:
    with running(SEED) as server:
        directory = Ldap3Directory(server.connection(required_groups=(group_dn("guests"),)))
        assert directory.sign_in("bob", "bob-pass") is not None
        dn = group_dn("guests")
        server.change(f"dn: {dn}\nchangetype: modify\nreplace: member\nmember: {person_dn('alice')}\n")
        assert directory.sign_in("bob", "bob-pass") is None


def test_a_group_outside_the_base_gives_nothing(slapd: SlapdServer) -> None:
    for way in (Membership.MEMBER, Membership.MEMBER_OF):
        person = Ldap3Directory(slapd.connection(groups=f"ou=none,{GROUPS}", membership=way))
        if way is Membership.MEMBER:
            with pytest.raises(Permanent, match="has no"):
                person.sign_in("alice", "alice-pass")
        else:
            found = person.sign_in("alice", "alice-pass")
            assert found is not None
            assert found.groups == ()


def test_more_groups_than_allowed_are_an_error_and_no_shorter_answer(slapd: SlapdServer) -> None:
    with pytest.raises(Permanent, match="more than 1 groups"):
        Ldap3Directory(slapd.connection(max_groups=1)).sign_in("alice", "alice-pass")


MANY = [group_dn(f"g{number:04}") for number in range(1203)]


def test_many_groups_are_read_page_by_page() -> None:
    seed = Seed(SEED.people, {name: [person_dn("alice")] for name in MANY})
    with running(seed, more="sizelimit size.soft=500 size.hard=unlimited size.prtotal=unlimited\n") as server:
        found = Ldap3Directory(server.connection()).sign_in("alice", "alice-pass")
        assert found is not None
        assert found.groups == tuple(MANY)
        with pytest.raises(Permanent, match="more than 1202 groups"):
            Ldap3Directory(server.connection(max_groups=1202)).sign_in("alice", "alice-pass")


def test_a_server_that_does_not_list_all_groups_is_an_error() -> None:
    """OpenLDAP lists 500 as it comes."""
    seed = Seed(SEED.people, {name: [person_dn("alice")] for name in MANY[:600]})
    with running(seed) as server, pytest.raises(Permanent, match="does not list them all"):
        Ldap3Directory(server.connection()).sign_in("alice", "alice-pass")


def test_groups_become_roles_however_their_names_are_written(slapd: SlapdServer) -> None:
    body = DirectoryBody(
        id="corp",
        name="Corp",
        servers=(Server(host="localhost", port=slapd.tls_port),),
        bind_dn=SERVICE,
        bind_password=SERVICE_PASSWORD,
        people=PEOPLE,
        groups=GROUPS,
        ca_pem=slapd.authority.pem,
        admission=Admission(
            required_groups=(f"CN=Staff, OU=Groups, {BASE}",),
            roles=(RoleRule(group=f"CN=STAFF,ou=groups,{BASE}", role=GivenRole.AUDITOR),),
            default_role=None,
        ),
    )
    made = changed(None, body)
    directory = Ldap3Directories().for_(connection(made))
    person = directory.sign_in("alice", "alice-pass")
    assert person is not None
    who = as_external(made.configuration, person)
    assert role_for(who.groups, made.configuration.admission) is GivenRole.AUDITOR
    assert (who.issuer, who.subject, who.email_verified) == ("ldap:corp", person.id, False)
    assert directory.sign_in("bob", "bob-pass") is None


# Entries


def test_a_new_person_with_an_old_name_is_somebody_else() -> None:
    with running(SEED) as server:
        directory = Ldap3Directory(server.connection())
        before = directory.sign_in("bob", "bob-pass")
        server.change(f"dn: {person_dn('bob')}\nchangetype: delete\n")
        server.add(Seed([Member("bob", "bob-pass")]).ldif())
        after = directory.sign_in("bob", "bob-pass")
        assert before
        assert after
        assert (before.dn, before.login) == (after.dn, after.login)
        assert before.id != after.id


def test_an_account_that_is_disabled_meanwhile_is_nobody() -> None:
    with running(SEED) as server:
        directory = Ldap3Directory(server.connection())
        assert directory.sign_in("bob", "bob-pass") is not None
        server.change(
            f"dn: {person_dn('bob')}\nchangetype: modify\nadd: objectClass\nobjectClass: testAccount\n-\n"
            "add: userAccountControl\nuserAccountControl: 66050\n"
        )
        assert directory.sign_in("bob", "bob-pass") is None
        assert directory.sign_in("bob", "wrong") is None
        assert directory.refusals == {Refusal.DISABLED: 1, Refusal.PASSWORD: 1}


def test_a_binary_id_of_active_directory_is_its_uuid() -> None:
    with running(SEED) as server:
        server.change(
            f"dn: {person_dn('alice')}\nchangetype: modify\nadd: objectClass\nobjectClass: testAccount\n-\n"
            "add: objectGUID\nobjectGUID:: AAECAwQFBgcICQoLDA0ODw==\n"
        )
        found = Ldap3Directory(server.connection(id_attribute="objectGUID")).sign_in("alice", "alice-pass")
        assert found is not None
        assert found.id == "03020100-0504-0706-0809-0a0b0c0d0e0f"
        with pytest.raises(Permanent, match="stable id"):
            Ldap3Directory(server.connection(id_attribute="objectGUID")).sign_in("bob", "bob-pass")


def test_references_to_other_servers_are_not_followed() -> None:
    with running(SEED) as server, socket.create_server(("127.0.0.1", 0)) as elsewhere:
        asked = threading.Event()
        threading.Thread(target=lambda: (elsewhere.accept(), asked.set()), daemon=True).start()
        away = f"ldap://127.0.0.1:{elsewhere.getsockname()[1]}/{PEOPLE}??sub"
        for dn in (f"ou=far,{PEOPLE}", f"ou=far,{GROUPS}"):
            server.add(f"dn: {dn}\nobjectClass: referral\nobjectClass: extensibleObject\nou: far\nref: {away}\n")
        directory = Ldap3Directory(server.connection())
        assert directory.sign_in("alice", "alice-pass") is not None
        assert directory.sign_in("mallory", "alice-pass") is None
        with pytest.raises(Permanent, match="another server"):
            Ldap3Directory(server.connection(people=f"ou=far,{PEOPLE}")).sign_in("alice", "alice-pass")
        assert not asked.wait(0.2)


def test_an_alias_brings_nobody_in_from_elsewhere() -> None:
    with running(SEED) as server:
        server.add(f"dn: ou=outside,{BASE}\nobjectClass: organizationalUnit\nou: outside\n")
        server.add(Seed([Member("mallory", "mallory-pass", dn=f"uid=mallory,ou=outside,{BASE}")]).ldif())
        server.add(
            f"dn: uid=door,{PEOPLE}\nobjectClass: alias\nobjectClass: extensibleObject\nuid: door\n"
            f"aliasedObjectName: uid=mallory,ou=outside,{BASE}\n"
        )
        directory = Ldap3Directory(server.connection())
        assert [directory.sign_in(login, "mallory-pass") for login in ("mallory", "door")] == [None, None]
        elsewhere = Ldap3Directory(server.connection(people=f"ou=outside,{BASE}"))
        assert elsewhere.sign_in("mallory", "mallory-pass") is not None


# Coming and going


def test_a_restart_between_two_sign_ins_is_not_noticed() -> None:
    with running(SEED) as server:
        directory = Ldap3Directory(server.connection())
        assert directory.sign_in("alice", "alice-pass") is not None
        server.stop()
        with pytest.raises(Retryable, match="cannot be reached"):
            directory.sign_in("alice", "alice-pass")
        server.start()
        assert directory.sign_in("alice", "alice-pass") is not None


def test_a_connection_that_ends_in_the_middle_is_made_once_more(slapd: SlapdServer) -> None:
    relay = Relay(lambda: socket.create_connection(("127.0.0.1", slapd.tls_port)))
    try:
        address = ServerAddress(host="localhost", port=relay.port, encryption=Encryption.LDAPS)
        directory = Ldap3Directory(slapd.connection(servers=(address,)))
        original, breaks = directory._find, [True]

        def breaking(line: object, login: str) -> object:
            if breaks:
                breaks.pop()
                relay.cut()
                relay.mend()
            return original(line, login)  # type: ignore[arg-type]

        directory._find = breaking  # type: ignore[assignment, method-assign]
        assert directory.sign_in("alice", "alice-pass") is not None
        assert breaks == []
    finally:
        relay.cut()


def test_another_server_is_asked_when_the_first_is_away_or_not_to_be_trusted(slapd: SlapdServer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = ServerAddress(host="localhost", port=unused.getsockname()[1], encryption=Encryption.LDAPS)
        plain = ServerAddress(host="localhost", port=slapd.port, encryption=Encryption.LDAPS)
        directory = Ldap3Directory(slapd.connection(servers=(gone, plain, slapd.address())))
        assert directory.sign_in("alice", "alice-pass") is not None
        assert directory.sign_in("alice", "wrong") is None


def test_a_wrong_password_is_not_tried_at_the_next_server(slapd: SlapdServer) -> None:
    before = len(slapd.log())
    directory = Ldap3Directory(slapd.connection(servers=(slapd.address(), slapd.address(Encryption.LDAPS))))
    assert directory.sign_in("alice", "wrong") is None
    assert operations(slapd, before).count("BIND") == 2  # the service account, and alice once


def test_what_is_wrong_is_said_to_the_administrator(slapd: SlapdServer) -> None:
    def failed(**other: object) -> list[Check]:
        return [found.check for found in Ldap3Directory(slapd.connection(**other)).test_connection() if not found.passed]

    assert failed() == []
    assert failed(bind_password="wrong") == [Check.SERVICE_ACCOUNT]
    assert failed(people=f"ou=nobody,{BASE}") == [Check.PEOPLE, Check.STABLE_ID]
    assert failed(id_attribute="employeeNumber") == [Check.STABLE_ID]
    assert failed(required_groups=(group_dn("nothing"),)) == [Check.REQUIRED_GROUP]
    assert failed(required_groups=(person_dn("alice"),)) == [Check.REQUIRED_GROUP]
    assert failed(person_filter="(objectClass=person") == [Check.PEOPLE, Check.STABLE_ID]


def test_nothing_that_is_logged_or_said_holds_a_password(slapd: SlapdServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    directory = Ldap3Directory(slapd.connection())
    directory.sign_in("alice", "alice-pass")
    directory.sign_in("alice", "wrong-pass")
    said = caplog.text + "".join(finding.detail for finding in directory.test_connection()) + repr(directory.__dict__)
    assert not any(secret in said for secret in ("alice-pass", "wrong-pass", SERVICE_PASSWORD, "alice@"))
