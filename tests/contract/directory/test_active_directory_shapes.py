"""What Active Directory does in its own way: nested groups by a rule of the server, the primary group by its SID, binary ids.

OpenLDAP cannot evaluate that rule, so a line that answers as [MS-ADTS] says stands in for the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from ldap3.utils.conv import escape_filter_chars  # type: ignore[import-untyped]

from auricle.adapters.directory.entries import is_disabled, primary_group_sid, sid_text, stable_id
from auricle.adapters.directory.line import Entry, Found
from auricle.adapters.directory.membership import groups_of
from auricle.errors import Permanent
from auricle.identity.ldap import ConfiguredDirectory, Server, active_directory, connection

BASE = "DC=corp,DC=test"
SETTINGS = connection(
    ConfiguredDirectory(
        configuration=active_directory("ad", "AD", (Server(host="dc1.corp.test"),), "svc@corp.test", BASE), password="p"
    )
)
ADA = f"CN=Ada \\(Sales\\)\\, Ms,OU=People,{BASE}"
DOMAIN_SID = bytes.fromhex("0105000000000005150000001c00000002000000030000004d040000")
"""S-1-5-21-28-2-3-1101."""


@dataclass
class Chain:
    """A server that walks: a filter's text -> the groups for which it holds."""

    answers: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)

    def search(self, base: str, condition: str, attributes: Iterable[str], limit: int) -> Found:
        """The groups for the filter."""
        assert base == BASE
        self.asked.append(condition)
        return Found(tuple(Entry(dn, {}) for dn in self.answers.get(condition, ())), complete=True)


def person(**values: bytes) -> Entry:
    """Ada's entry."""
    return Entry(ADA, {name.lower(): (value,) for name, value in values.items()})


def rule(*names: str) -> str:
    rows = "".join(f"(member:1.2.840.113556.1.4.1941:={escape_filter_chars(name)})" for name in names)
    return f"(&(objectClass=group)(|{rows}))"


def test_the_server_walks_through_groups_in_groups() -> None:
    chain = Chain({rule(ADA): [f"CN=Sales,OU=Groups,{BASE}", f"CN=Staff,OU=Groups,{BASE}"]})
    found = groups_of(chain, person(), SETTINGS)  # type: ignore[arg-type]
    assert found == ("cn=sales,ou=groups,dc=corp,dc=test", "cn=staff,ou=groups,dc=corp,dc=test")
    assert len(chain.asked) == 1
    assert "\\5c\\28Sales\\5c\\29" in chain.asked[0]


def test_the_primary_group_counts_and_is_walked_from_too() -> None:
    users = f"CN=Domain Users,CN=Users,{BASE}"
    chain = Chain(
        {
            "(&(objectClass=group)(objectSid=S-1-5-21-28-2-3-513))": [users],
            rule(ADA, users): [f"CN=Users,CN=Builtin,{BASE}"],
        }
    )
    ada = person(objectSid=DOMAIN_SID, primaryGroupID=b"513")
    assert groups_of(chain, ada, SETTINGS) == (  # type: ignore[arg-type]
        "cn=domain users,cn=users,dc=corp,dc=test",
        "cn=users,cn=builtin,dc=corp,dc=test",
    )


def test_a_sid_is_read_as_it_is_written() -> None:
    assert sid_text(DOMAIN_SID) == "S-1-5-21-28-2-3-1101"
    assert [sid_text(wrong) for wrong in (b"", DOMAIN_SID[:-1], DOMAIN_SID + b"\0", b"\x02" + DOMAIN_SID[1:])] == [None] * 4
    assert primary_group_sid(person(objectSid=DOMAIN_SID)) is None
    assert primary_group_sid(person(objectSid=DOMAIN_SID, primaryGroupID=b"513)(x")) is None


@pytest.mark.parametrize(
    ("values", "disabled"),
    [
        ({}, False),
        ({"userAccountControl": b"512"}, False),
        ({"userAccountControl": b"514"}, True),
        ({"userAccountControl": b"66050"}, True),
        ({"userAccountControl": b"-2147483646"}, True),
        ({"userAccountControl": b"what"}, True),
        ({"nsAccountLock": b"TRUE"}, True),
        ({"nsAccountLock": b"true"}, True),
        ({"nsAccountLock": b"FALSE"}, False),
        ({"loginDisabled": b"TRUE"}, True),
        ({"pwdAccountLockedTime": b"000001010000Z"}, True),
        ({"pwdAccountLockedTime": b"20260101000000Z"}, False),  # for a while: the server refuses the bind
    ],
)
def test_an_entry_says_whether_it_is_disabled(values: dict[str, bytes], disabled: bool) -> None:
    assert is_disabled(person(**values)) == disabled


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("objectGUID", bytes(range(16)), "03020100-0504-0706-0809-0a0b0c0d0e0f"),
        ("GUID", bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("entryUUID", b"BC77952A-79F1-1041-9CFE-DF821666A36C", "bc77952a-79f1-1041-9cfe-df821666a36c"),
        ("nsUniqueId", b"66446001-1dd211b2-66225011-2ee211db", "66446001-1dd2-11b2-6622-50112ee211db"),
        ("odd", b"\xff\x00", "ff00"),
    ],
)
def test_a_stable_id_has_one_spelling(attribute: str, value: bytes, expected: str) -> None:
    assert stable_id(person(**{attribute: value}), attribute) == expected


@pytest.mark.parametrize("values", [(), (b"a", b"b")])
def test_without_one_stable_id_nobody_is_anybody(values: tuple[bytes, ...]) -> None:
    with pytest.raises(Permanent, match="stable id"):
        stable_id(Entry(ADA, {"entryuuid": values} if values else {}), "entryUUID")
