"""People and groups for tests of directories, and a directory in memory that behaves as `ports.directory` says."""

from __future__ import annotations

import uuid
from base64 import b64encode
from dataclasses import dataclass, field

from auricle.ports.directory import (
    LONGEST_LOGIN,
    Check,
    DirectoryConnection,
    DirectoryPerson,
    Finding,
    canonical_dn,
)

BASE = "dc=example,dc=test"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"


def person_dn(uid: str) -> str:
    """The DN of a person whose login needs no escape."""
    return f"uid={uid},{PEOPLE}"


def group_dn(name: str) -> str:
    """The DN of a group whose name needs no escape."""
    return f"cn={name},{GROUPS}"


@dataclass(frozen=True)
class Member:
    """Somebody in a directory."""

    uid: str
    password: str
    mail: str | None = None
    shown: str | None = None
    disabled: bool = False
    dn: str = ""

    @property
    def name(self) -> str:
        """Their DN."""
        return self.dn or person_dn(self.uid)


@dataclass
class Seed:
    """Who is there, and who is in which group: group DN -> DNs of people and groups."""

    people: list[Member] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def ldif(self) -> str:
        """The same for a real server."""
        return "".join([_person(member) for member in self.people] + [_group(dn, of) for dn, of in self.groups.items()])


def _line(name: str, value: str) -> str:
    return f"{name}:: {b64encode(value.encode()).decode()}\n"


def _person(member: Member) -> str:
    rows = [
        _line("dn", member.name),
        "objectClass: inetOrgPerson\n",
        _line("uid", member.uid),
        _line("cn", member.uid),
        "sn: S\n",
    ]
    rows.append(_line("userPassword", member.password))
    if member.mail:
        rows.append(_line("mail", member.mail))
    if member.shown:
        rows.append(_line("displayName", member.shown))
    if member.disabled:  # as Active Directory says it
        rows += ["objectClass: testAccount\n", "userAccountControl: 514\n"]
    return "".join(rows) + "\n"


def _group(dn: str, members: list[str]) -> str:
    return _line("dn", dn) + "objectClass: groupOfNames\n" + "".join(_line("member", dn) for dn in members) + "\n"


class MemoryDirectory:
    """A `Directory` over a seed, for tests of what uses one. Passes the contract suite."""

    def __init__(self, seed: Seed, settings: DirectoryConnection) -> None:
        self._seed = seed
        self._settings = settings
        self.asked: list[str] = []

    def sign_in(self, login: str, password: str) -> DirectoryPerson | None:
        """See `ports.directory.Directory`."""
        self.asked.append(login)
        wanted = login.strip().casefold()
        if not password.strip("\u00ad\u200b\0") or "\0" in password or not wanted or len(login) > LONGEST_LOGIN:
            return None
        found = [member for member in self._seed.people if wanted in (member.uid.casefold(), (member.mail or "").casefold())]
        if len(found) != 1 or found[0].password != password or found[0].disabled:
            return None
        groups = self._groups(found[0].name)
        required = {canonical_dn(dn) for dn in self._settings.required_groups}
        if required and required.isdisjoint(groups):
            return None
        return DirectoryPerson(
            id=str(uuid.uuid5(uuid.NAMESPACE_X500, found[0].name)),
            dn=found[0].name,
            login=found[0].uid,
            email=found[0].mail,
            name=found[0].shown or found[0].uid,
            groups=tuple(sorted(groups)),
        )

    def test_connection(self) -> tuple[Finding, ...]:
        """See `ports.directory.Directory`."""
        groups = {canonical_dn(dn) for dn in self._seed.groups}
        there = all(canonical_dn(dn) in groups for dn in self._settings.required_groups)
        failed = {Check.REQUIRED_GROUP: not there, Check.PEOPLE: not self._seed.people, Check.GROUPS: not groups}
        return tuple(
            Finding(check=check, server="memory:0", passed=not failed.get(check, False), detail=f"{check.value}: looked.")
            for check in Check
        )

    def _groups(self, dn: str) -> set[str]:
        seen: set[str] = set()
        level = {canonical_dn(dn)}
        for _ in range(self._settings.max_depth):
            level = {
                canonical_dn(group)
                for group, members in self._seed.groups.items()
                if not level.isdisjoint(map(canonical_dn, members))
            } - seen
            seen |= level
        return seen
