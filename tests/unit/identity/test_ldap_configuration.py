"""A directory as an administrator sets it up: what is acceptable, what is kept secret, and who its people are here."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import Denied, Invalid
from auricle.identity.ldap import (
    ConfiguredDirectory,
    DirectoryBody,
    Server,
    active_directory,
    as_external,
    canonical_login,
    changed,
    connection,
    view,
)
from auricle.identity.oidc.admission import Admission, Create, Enter, GivenRole, Person, RoleRule, enter
from auricle.ports.directory import DirectoryPerson, Encryption, Membership, canonical_dn

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BASE = {
    "id": "corp",
    "name": "Corp",
    "servers": (Server(host="ldap.corp.test"),),
    "bind_dn": "cn=auricle,dc=corp,dc=test",
    "bind_password": "service-secret",
    "people": "ou=people,dc=corp,dc=test",
    "groups": "ou=groups,dc=corp,dc=test",
}
STAFF = "cn=staff,ou=groups,dc=corp,dc=test"


def body(**other: object) -> DirectoryBody:
    return DirectoryBody(**{**BASE, **other})  # type: ignore[arg-type]


def stored(**other: object) -> ConfiguredDirectory:
    return changed(None, body(**other))


# Names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cn=Staff,dc=corp", "CN = staff , DC=Corp"),
        ("cn=a\\,b,dc=x", "cn=a\\2Cb,dc=x"),
        ('cn="a,b",dc=x', "cn=a\\,b,dc=x"),
        ("cn=a+uid=b,dc=x", "uid=b+cn=a,dc=x"),
        ("cn=a  b,dc=x", "cn=a b,dc=x"),
        ("2.5.4.3=a,dc=x", "cn=a,dc=x"),
        ("cn=z\\C3\\BCrich", "cn=ZÜRICH"),
        ("cn=a;dc=x", "cn=a,dc=x"),
    ],
)
def test_two_spellings_of_a_name_are_one(one: str, other: str) -> None:
    assert canonical_dn(one) == canonical_dn(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cn=a,cn=b", "cn=a\\,cn=b"),
        ("cn=a+cn=b", "cn=a\\+cn=b"),
        ("cn=staff,dc=x", "cn=staff,ou=y,dc=x"),
        ("cn=a,dc=x", "cn=a\\,dc\\=x"),
        ("cn=a\\ b", "cn=ab"),
        ("cn=a", "ou=a"),
    ],
)
def test_two_names_stay_two(one: str, other: str) -> None:
    assert canonical_dn(one) != canonical_dn(other)


@given(st.lists(st.tuples(st.sampled_from(["cn", "ou", "dc"]), st.text(min_size=1, max_size=12)), min_size=1, max_size=4))
def test_any_value_survives_being_canonical(parts: list[tuple[str, str]]) -> None:
    escaped = ",".join(f"{kind}=" + "".join(f"\\{byte:02x}" for byte in value.encode()) for kind, value in parts)
    once = canonical_dn(escaped)
    assert canonical_dn(once) == once
    assert once.count(",") - once.count("\\,") == len(parts) - 1


@pytest.mark.parametrize("dn", ["staff", "=x", "cn", "cn=a,", "cn=a,,dc=x", 'cn="a', "cn=a\\", "c n=a", "cn=\\ff"])
def test_what_is_no_name_is_refused(dn: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_dn(dn)


def test_logins_that_a_directory_takes_for_one_count_as_one() -> None:
    assert len({canonical_login(login) for login in ("Ada", " ada ", "ＡＤＡ", "ada\u00a0")}) == 1
    assert canonical_login("ada") != canonical_login("eda")


# Settings


def test_nothing_is_said_in_clear_however_it_is_asked_for() -> None:
    assert set(Encryption) == {Encryption.LDAPS, Encryption.STARTTLS}
    raw = msgspec.json.encode({**BASE, "servers": [{"host": "ldap.corp.test", "port": 389, "encryption": "none"}]})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw, type=DirectoryBody)


def test_the_password_goes_in_and_never_comes_out() -> None:
    made = stored()
    shown = msgspec.json.encode(view(made)).decode()
    assert "service-secret" not in shown
    assert "service-secret" not in repr(made)
    assert "service-secret" not in repr(connection(made))
    assert '"has_password":true' in shown
    assert connection(made).bind_password == "service-secret"


def test_without_a_password_the_stored_one_stays_and_null_forgets_it() -> None:
    made = stored()
    kept = changed(made, body(bind_password=msgspec.UNSET, name="Another name"))
    assert (kept.password, kept.configuration.name) == ("service-secret", "Another name")
    gone = changed(made, body(bind_password=None))
    assert gone.password is None
    with pytest.raises(Invalid):
        connection(gone)


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"servers": (Server(host="ldap.eve.test"),)},
        {"servers": (Server(host="ldap.corp.test"), Server(host="ldap.eve.test"))},
        {"servers": (Server(host="ldap.corp.test", port=1636),)},
        {"ca_pem": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"},
        {"bind_dn": "cn=other,dc=corp,dc=test"},
    ],
)
def test_a_stored_password_is_not_sent_to_other_servers(elsewhere: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="again") as caught:
        changed(stored(), body(bind_password=msgspec.UNSET, **elsewhere))
    assert caught.value.extra["field"] == "bind_password"
    assert changed(stored(), body(bind_password="known", **elsewhere)).password == "known"


@pytest.mark.parametrize("mask", ["*", "********", "••••", "", " ", "a\nb", "x" * 2000])
def test_a_mask_is_no_password(mask: str) -> None:
    with pytest.raises(Invalid):
        changed(stored(), body(bind_password=mask))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "Corp"),
        ("id", "a/b"),
        ("name", " "),
        ("servers", ()),
        ("servers", (Server(host="ldap.corp.test"),) * 2),
        ("servers", (Server(host="ldaps://ldap.corp.test"),)),
        ("servers", (Server(host="ldap.corp.test/x"),)),
        ("servers", (Server(host="ldap.corp.test", port=0),)),
        ("bind_dn", ""),
        ("people", "people"),
        ("groups", "ou=groups,"),
        ("person_filter", "objectClass=person"),
        ("person_filter", "(a=b)(c=d)"),
        ("person_filter", "(a=b))(|(c=d)"),
        ("person_filter", ""),
        ("group_filter", "((a=b)"),
        ("login_attributes", ()),
        ("login_attributes", ("uid)(x",)),
        ("id_attribute", "entryUUID "),
        ("member_attributes", ("member:1.2.3:",)),
        ("max_depth", 0),
        ("max_depth", 1000),
        ("max_groups", 0),
        ("seconds", 0),
        ("seconds", 600),
        ("ca_pem", "/etc/passwd"),
        ("admission", Admission(required_groups=("staff",))),
        ("admission", Admission(required_groups=("",))),
        ("admission", Admission(domains=("Corp.test",))),
        (
            "admission",
            Admission(
                roles=(
                    RoleRule(group=STAFF, role=GivenRole.ADMIN),
                    RoleRule(group=STAFF.upper(), role=GivenRole.GUEST),
                )
            ),
        ),
    ],
)
def test_what_is_not_acceptable_is_said_with_its_field(field: str, value: object) -> None:
    with pytest.raises(Invalid) as caught:
        changed(None, body(**{field: value}))
    assert caught.value.extra["field"] == field
    assert str(caught.value).endswith(".")


def test_an_id_never_changes() -> None:
    with pytest.raises(Invalid):
        changed(stored(), body(id="other"))


def test_active_directory_is_acceptable_as_it_is_proposed() -> None:
    made = active_directory("ad", "AD", (Server(host="dc1.corp.test"),), "auricle@corp.test", "DC=corp,DC=test")
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    known = connection(changed(None, DirectoryBody(**fields, bind_password="p")))
    assert (known.membership, known.id_attribute) == (Membership.IN_CHAIN, "objectGUID")


def test_required_groups_reach_the_directory_in_one_spelling() -> None:
    made = stored(admission=Admission(required_groups=("CN=Staff, OU=Groups,DC=Corp,DC=Test",)))
    assert connection(made).required_groups == (STAFF,)


# People

PERSON = DirectoryPerson(
    id="6f9619ff-8b86-d011-b42d-00c04fc964ff",
    dn="uid=ada,ou=people,dc=corp,dc=test",
    login="ada",
    email="ada@corp.test",
    name="Ada",
    groups=("CN=Staff,OU=Groups,DC=corp,DC=test",),
)


def admitted(rules: Admission, *, email_taken: bool = False, known: Person | None = None, verified: bool = False) -> object:
    who = as_external(stored(admission=rules, mail_is_verified=verified).configuration, PERSON)
    canonical = stored(admission=rules).configuration.admission
    return enter(who, canonical, known=known, invitation=None, email_taken=email_taken, now=NOW)


def test_a_group_lets_in_and_gives_its_role_in_any_spelling() -> None:
    rules = Admission(groups=(STAFF.upper(),), roles=(RoleRule(group=STAFF.title(), role=GivenRole.AUDITOR),))
    assert admitted(rules) == Create(role=GivenRole.AUDITOR, email=None, name="Ada", invitation=False)


def test_an_address_in_the_directory_takes_over_nobodys_account() -> None:
    for verified in (False, True):
        with pytest.raises(Denied):
            admitted(Admission(domains=("corp.test",), groups=(STAFF,)), email_taken=True, verified=verified)


def test_an_address_opens_the_door_only_where_the_directory_vouches_for_it() -> None:
    rules = Admission(domains=("corp.test",))
    with pytest.raises(Denied):
        admitted(rules)
    assert isinstance(admitted(rules, verified=True), Create)


def test_whoever_is_out_of_the_required_group_is_out_though_known() -> None:
    rules = Admission(required_groups=("cn=other,ou=groups,dc=corp,dc=test",))
    with pytest.raises(Denied):
        admitted(rules, known=Person(id=uuid4()))
    assert isinstance(admitted(Admission(required_groups=(STAFF,)), known=Person(id=uuid4())), Enter)


def test_people_of_two_directories_are_two_though_all_else_is_equal() -> None:
    one, other = (as_external(stored(id=name).configuration, PERSON) for name in ("corp", "labs"))
    assert (one.issuer, one.subject) != (other.issuer, other.subject)
    assert one.issuer == "ldap:corp"
