"""The directories under contract; OpenLDAP only in the services lane, once for each way to find groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from auricle.adapters.directory.ldap3 import Ldap3Directory
from auricle.ports.directory import Directory, DirectoryConnection, Encryption, Membership, ServerAddress
from builders.directory import BASE, GROUPS, PEOPLE, Member, MemoryDirectory, Seed, group_dn, person_dn
from builders.slapd_server import running

Make = Callable[..., Directory]
LONELY = "cn=Smith\\, Jane (HR) *,ou=people," + BASE
ODD_GROUP = "cn=R\\26D\\, \\2A (all),ou=groups," + BASE
SEED = Seed(
    people=[
        Member("alice", "alice-pass", mail="alice@example.test", shown="Alice Example"),
        Member("bob", "bob-pass"),
        Member("carol", "carol-pass", disabled=True),
        Member("twin", "one-pass", mail="shared@example.test"),
        Member("twin2", "two-pass", mail="shared@example.test"),
        Member("jane (hr) *", "jane-pass", dn=LONELY),
        Member("zoë", "pässwörd-ß"),
    ],
    groups={
        group_dn("backend"): [person_dn("alice")],
        group_dn("engineers"): [group_dn("backend")],
        group_dn("staff"): [group_dn("engineers"), person_dn("zoë")],
        group_dn("circle-1"): [group_dn("circle-2"), person_dn("bob")],
        group_dn("circle-2"): [group_dn("circle-1")],
        ODD_GROUP: [LONELY],
    },
)


@pytest.fixture(
    scope="module",
    params=["memory", *(pytest.param(way, marks=pytest.mark.services) for way in (Membership.MEMBER, Membership.MEMBER_OF))],
)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a directory of SEED, with settings other than usual."""
    if request.param == "memory":
        usual = DirectoryConnection(
            servers=(ServerAddress(host="localhost", port=636, encryption=Encryption.LDAPS),),
            bind_dn="cn=auricle",
            bind_password="unused",
            people=PEOPLE,
            groups=GROUPS,
        )
        yield lambda **other: MemoryDirectory(SEED, replaced(usual, other))
        return
    with running(SEED) as server:
        yield lambda **other: Ldap3Directory(replaced(server.connection(membership=request.param), other))


def replaced(settings: DirectoryConnection, other: dict[str, object]) -> DirectoryConnection:
    """`settings` with some others."""
    return DirectoryConnection(**{**vars(settings), **other})
