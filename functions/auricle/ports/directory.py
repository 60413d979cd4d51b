"""People in an LDAP directory or Active Directory: what Auricle asks of one, and the values that cross.

There is no way to say "without TLS" here: a password, ours or a person's, goes over LDAPS or after StartTLS, or not at all.
Sources: RFC 4511 (LDAP), RFC 4513 (authentication, StartTLS; §5.1.2 unauthenticated binds), RFC 4514 and 4515 (names and
filters as text), RFC 4530 (entryUUID); Microsoft [MS-ADTS] (objectGUID, LDAP_MATCHING_RULE_IN_CHAIN).
NIST SP 800-53: IA-2 (users prove who they are), IA-5 (1) (passwords protected on the way), SC-8, SC-23.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import msgspec

LONGEST_LOGIN = 256
"""Characters. An e-mail address has at most 254."""
LONGEST_PASSWORD = 1024
"""Bytes in UTF-8. Active Directory takes 256 characters."""


class Encryption(StrEnum):
    """How a connection to a directory is encrypted; both verify the server's certificate and name."""

    LDAPS = "ldaps"  # TLS from the first byte
    STARTTLS = "starttls"  # TLS before anything is said; a server that refuses is refused


class Membership(StrEnum):
    """How the groups of a person are found, nested ones included."""

    IN_CHAIN = "in-chain"  # Active Directory walks the nesting itself, with its primary group beside it
    MEMBER = "member"  # groups are asked whom they list, then which groups list those
    MEMBER_OF = "member-of"  # the person's entry says its groups, then theirs


class Refusal(StrEnum):
    """Why somebody was not let in: for counts and the log, never for whoever asked."""

    INPUT = "input"  # nothing that could be a login and a password
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"  # more than one person answers to this login
    PASSWORD = "password"  # noqa: S105 - the name of a reason
    DISABLED = "disabled"
    GROUP = "group"


@dataclass(frozen=True, kw_only=True)
class ServerAddress:
    """One server: its name as in its certificate (or IP address), and its port."""

    host: str
    port: int
    encryption: Encryption


@dataclass(frozen=True, kw_only=True)
class DirectoryConnection:
    """How to reach one directory, as whom, and where what stands in it.

    `servers` hold the same people, and are asked in this order. `bind_dn`: the service account (for Active Directory also
    `name@domain`). `ca_pem`: the only authorities trusted for it (none: the system's). `people` and `groups`: the base DNs.
    `login_attributes`: a login is one of these, and must be one person's. `id_attribute`: holds what never changes and is
    never given to somebody else. `required_groups` (DNs): whoever is in none of them is refused (empty: no such rule).
    `max_depth`: how deep groups in groups are followed. `max_groups`: more than these are an error, not a shorter answer.
    `seconds`: for a connection, and for each answer.
    """

    servers: tuple[ServerAddress, ...]
    bind_dn: str
    bind_password: str = field(repr=False)
    people: str
    groups: str
    ca_pem: str | None = None
    person_filter: str = "(objectClass=person)"
    login_attributes: tuple[str, ...] = ("uid",)
    id_attribute: str = "entryUUID"
    email_attribute: str = "mail"
    name_attribute: str = "displayName"
    group_filter: str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))"
    member_attributes: tuple[str, ...] = ("member", "uniqueMember")
    membership: Membership = Membership.MEMBER
    required_groups: tuple[str, ...] = ()
    max_depth: int = 8
    max_groups: int = 2000
    seconds: int = 5


@dataclass(frozen=True, kw_only=True)
class DirectoryPerson:
    """A person who gave their password. Only `id` names them: names, logins and addresses are given to others in time.

    `id`: a UUID as text where the directory has one. `login`: the first login attribute's value. `groups`: every DN they are a
    member of, through other groups too, as `canonical_dn` writes it.
    """

    id: str
    dn: str
    login: str
    email: str | None = None
    name: str | None = None
    groups: tuple[str, ...] = ()


class Check(StrEnum):
    """What is tried when a connection is tested, in this order."""

    CONNECTION = "connection"
    SERVICE_ACCOUNT = "service-account"
    PEOPLE = "people"
    STABLE_ID = "stable-id"
    GROUPS = "groups"
    REQUIRED_GROUP = "required-group"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check saw on one server (`host:port`), in a sentence for an administrator. It never holds a password."""

    check: Check
    server: str
    passed: bool
    detail: str


class Directory(Protocol):
    """One directory. Safe for threads. `Retryable`: no server answers; `Permanent`: an administrator must act first."""

    def sign_in(self, login: str, password: str) -> DirectoryPerson | None:
        """Who this is, when the password is right, the account usable and a required group theirs; else None, whyever.

        An unknown login costs the directory the same operations as a wrong password.
        """
        ...

    def test_connection(self) -> tuple[Finding, ...]:
        """Try every server, with nobody's password but the service account's. Raises nothing of what it finds."""
        ...


class Directories(Protocol):
    """Every configured directory."""

    def for_(self, connection: DirectoryConnection) -> Directory:
        """The directory behind `connection`."""
        ...


_TYPE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)")
_SAME = {"commonname": "cn", "2.5.4.3": "cn", "2.5.4.11": "ou", "0.9.2342.19200300.100.1.25": "dc", "2.5.4.10": "o"}
_HEX = re.compile(rb"[0-9a-fA-F]{2}")


def canonical_dn(dn: str) -> str:
    """A DN such that two spellings of one name are equal; ValueError when it is none (RFC 4514; "" is the root).

    Names compare without regard to case and to how many blanks (caseIgnoreMatch), as naming attributes do.
    """
    return ",".join("+".join(sorted(_part(part) for part in _split(rdn, "+"))) for rdn in _split(dn, ",;") if dn.strip())


def _part(part: str) -> str:
    kind, equals, value = part.partition("=")
    kind = kind.strip().lower().removeprefix("oid.")
    if not equals or not _TYPE.fullmatch(kind):
        raise ValueError(f"not a part of a DN: {part!r}")
    text = " ".join(_unescaped(value).casefold().split(" "))
    shown = "".join(f"\\{sign}" if sign in '\\,+"<>;=#' else sign for sign in " ".join(text.split()))
    return f"{_SAME.get(kind, kind)}={shown}"


def _split(text: str, signs: str) -> Iterator[str]:
    """`text` at each of `signs` that is neither escaped nor quoted."""
    start, escaped, quoted = 0, False, False
    for place, sign in enumerate(text):
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign == '"':
            quoted = not quoted
        elif sign in signs and not quoted:
            yield text[start:place]
            start = place + 1
    if escaped or quoted:
        raise ValueError("a DN that ends within an escape or a quotation")
    yield text[start:]


def _unescaped(value: str) -> str:
    """What a value says: `\\2C` and `\\,` are a comma; blanks around it that are not escaped are none of it."""
    value = value.strip(" ")
    if value.startswith('"') and value.endswith('"') and len(value) > 1:
        value = value[1:-1]
    data, found, place = value.encode(), bytearray(), 0
    while place < len(data):
        if data[place : place + 1] != b"\\":
            found += data[place : place + 1]
            place += 1
        elif _HEX.fullmatch(pair := data[place + 1 : place + 3]):
            found += bytes.fromhex(pair.decode())
            place += 3
        else:
            found += data[place + 1 : place + 2]
            place += 2
    return found.decode()
