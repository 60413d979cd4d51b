"""A directory as an administrator sets it up, and what its people become here. Its password goes in and never comes out.

Who enters, as whom and in which role is decided by the same rules as for other houses (`identity.oidc.admission`): a person in
the directory becomes an `ExternalIdentity` that only its stable id names. Group names are DNs, and equal in any spelling.
NIST SP 800-53 AC-2 (accounts by rule), AC-6 (roles by group), IA-5 (7) (no secret comes out again).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from auricle.contract.http import Body
from auricle.errors import Invalid
from auricle.identity.oidc.admission import Admission, RoleRule, domain_of, role_rules_are_clear
from auricle.ports.directory import (
    DirectoryConnection,
    DirectoryPerson,
    Encryption,
    Membership,
    ServerAddress,
    canonical_dn,
)
from auricle.ports.oidc import ExternalIdentity

MAX_SERVERS = 8
MAX_SECONDS = 30
MAX_DEPTH = 32
MAX_GROUPS = 10_000
MASKS = ("*", "•", "●", "·")
ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server, by the name that stands in its certificate. Clear text cannot be chosen."""

    host: str
    port: int = 636
    encryption: Encryption = Encryption.LDAPS


class DirectoryConfiguration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One directory without its password: what is stored in clear, and what administrators see.

    `id` is part of everybody's identity from there and never changes; `name` stands on the page. Fields are explained at
    `ports.directory.DirectoryConnection`; `seconds` is for a connection and for each answer. `mail_is_verified`: only where
    nobody can write an address of their choice into their own entry; then `admission.domains` and invitations count.
    """

    id: str
    name: str
    servers: tuple[Server, ...]
    bind_dn: str
    people: str
    groups: str
    enabled: bool = True
    ca_pem: str | None = None
    person_filter: str = "(objectClass=inetOrgPerson)"
    login_attributes: tuple[str, ...] = ("uid",)
    id_attribute: str = "entryUUID"
    email_attribute: str = "mail"
    name_attribute: str = "displayName"
    group_filter: str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))"
    member_attributes: tuple[str, ...] = ("member", "uniqueMember")
    membership: Membership = Membership.MEMBER
    max_depth: int = 8
    max_groups: int = 2000
    seconds: int = 5
    mail_is_verified: bool = False
    admission: Admission = Admission()


class DirectoryBody(DirectoryConfiguration, Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator sends. Without `bind_password` the stored one stays; null forgets it."""

    bind_password: str | UnsetType | None = UNSET


class DirectoryView(DirectoryConfiguration, frozen=True, kw_only=True):
    """What an administrator is shown: whether there is a password, never which, nor a mask that could be sent back."""

    has_password: bool


@dataclass(frozen=True, kw_only=True)
class ConfiguredDirectory:
    """A directory with its password, as it is used. The password is stored apart, encrypted."""

    configuration: DirectoryConfiguration
    password: str | None = field(default=None, repr=False)


def active_directory(id: str, name: str, servers: tuple[Server, ...], bind_dn: str, base: str) -> DirectoryConfiguration:
    """What usually holds for Active Directory, to begin with: people sign in as `ada` or `ada@corp.example`."""
    return DirectoryConfiguration(
        id=id,
        name=name,
        servers=servers,
        bind_dn=bind_dn,
        people=base,
        groups=base,
        person_filter="(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))",
        login_attributes=("sAMAccountName", "userPrincipalName"),
        id_attribute="objectGUID",
        group_filter="(objectClass=group)",
        member_attributes=("member",),
        membership=Membership.IN_CHAIN,
    )


def issuer(directory: str) -> str:
    """What stands for a directory where a provider's issuer stands. No provider's can be equal: those are http addresses."""
    return f"ldap:{directory}"


def canonical_login(login: str) -> str:
    """One spelling of a login for limits and locks: directories take `ADA`, `ada` and full-width letters for one person."""
    return " ".join(unicodedata.normalize("NFKC", login).casefold().split())


def as_external(configuration: DirectoryConfiguration, person: DirectoryPerson) -> ExternalIdentity:
    """The person as admission's rules see them: named by the stable id alone, groups as canonical DNs."""
    verified = configuration.mail_is_verified and person.email is not None and domain_of(person.email) is not None
    return ExternalIdentity(
        issuer=issuer(configuration.id),
        subject=person.id,
        email=person.email,
        email_verified=verified,
        name=person.name,
        groups=tuple(sorted({canonical_dn(group) for group in person.groups})),
    )


def connection(directory: ConfiguredDirectory) -> DirectoryConnection:
    """How to reach it. `Invalid` without a password: then an administrator has to give one first."""
    has = directory.configuration
    if not directory.password:
        _invalid("bind_password", f"The directory {has.name} has no service account's password. Give one in its settings.")
    return DirectoryConnection(
        servers=tuple(ServerAddress(host=s.host, port=s.port, encryption=s.encryption) for s in has.servers),
        bind_dn=has.bind_dn,
        bind_password=directory.password,
        people=has.people,
        groups=has.groups,
        ca_pem=has.ca_pem,
        person_filter=has.person_filter,
        login_attributes=has.login_attributes,
        id_attribute=has.id_attribute,
        email_attribute=has.email_attribute,
        name_attribute=has.name_attribute,
        group_filter=has.group_filter,
        member_attributes=has.member_attributes,
        membership=has.membership,
        required_groups=has.admission.required_groups,
        max_depth=has.max_depth,
        max_groups=has.max_groups,
        seconds=has.seconds,
    )


def view(directory: ConfiguredDirectory) -> DirectoryView:
    """`directory` as administrators see it."""
    has = {name: getattr(directory.configuration, name) for name in DirectoryConfiguration.__struct_fields__}
    return DirectoryView(**has, has_password=directory.password is not None)


def changed(before: ConfiguredDirectory | None, body: DirectoryBody) -> ConfiguredDirectory:
    """`before` (None: a new one) as `body` wants it; `Invalid` with the field that is not acceptable."""
    wanted = DirectoryConfiguration(**{name: getattr(body, name) for name in DirectoryConfiguration.__struct_fields__})
    _check(wanted)
    if before is not None and before.configuration.id != wanted.id:
        _invalid("id", "A directory's id stays as it is: it is part of its people's identities. Make a new directory.")
    wanted = msgspec.structs.replace(wanted, admission=_canonical(wanted.admission))
    return ConfiguredDirectory(configuration=wanted, password=_password(before, wanted, body.bind_password))


def _password(before: ConfiguredDirectory | None, wanted: DirectoryConfiguration, given: str | UnsetType | None) -> str | None:
    """From now on. Whoever points a directory elsewhere must know it: else it would be sent to a stranger's server."""
    if given is None:
        return None
    if given is not UNSET:
        if not given.strip() or len(given) > 1024 or not given.isprintable():
            _invalid("bind_password", "The password is 1 to 1024 printable characters. Leave it out to keep the stored one.")
        if len(set(given)) == 1 and given[0] in MASKS:
            _invalid("bind_password", "That is a mask, not a password. Leave bind_password out to keep the stored one.")
        return given
    if before is None or before.password is None:
        return None
    was = before.configuration
    if was.ca_pem != wanted.ca_pem or was.bind_dn != wanted.bind_dn or not set(wanted.servers) <= set(was.servers):
        _invalid(
            "bind_password",
            "Give the service account's password again: it is not sent to servers other than those it was given for.",
        )
    return before.password


def _canonical(admission: Admission) -> Admission:
    """Every group as one spelling of its DN, so that names are compared to the letter."""
    return msgspec.structs.replace(
        admission,
        groups=tuple(map(canonical_dn, admission.groups)),
        required_groups=tuple(map(canonical_dn, admission.required_groups)),
        roles=tuple(RoleRule(group=canonical_dn(rule.group), role=rule.role) for rule in admission.roles),
    )


def _check(wanted: DirectoryConfiguration) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", wanted.id):
        _invalid("id", "The id is 1 to 32 characters: a letter, then letters, digits and hyphens, all lower case.")
    if not 0 < len(wanted.name.strip()) <= 60 or not wanted.name.isprintable():
        _invalid("name", "Give the directory a name of 1 to 60 characters: people see it.")
    _check_servers(wanted)
    if not wanted.bind_dn.strip() or len(wanted.bind_dn) > 1024 or not wanted.bind_dn.isprintable():
        _invalid("bind_dn", "Name the service account that may look people up, such as cn=auricle,dc=example,dc=org.")
    for name in ("people", "groups"):
        _check_dn(name, getattr(wanted, name))
    for name in ("person_filter", "group_filter"):
        _check_filter(name, getattr(wanted, name))
    _check_attributes("login_attributes", wanted.login_attributes)
    _check_attributes("member_attributes", wanted.member_attributes)
    for name in ("id_attribute", "email_attribute", "name_attribute"):
        _check_attributes(name, (getattr(wanted, name),))
    for name, highest in (("max_depth", MAX_DEPTH), ("max_groups", MAX_GROUPS), ("seconds", MAX_SECONDS)):
        if not 1 <= getattr(wanted, name) <= highest:
            _invalid(name, f"{name} is 1 to {highest}.")
    if wanted.ca_pem is not None and "-----BEGIN CERTIFICATE-----" not in wanted.ca_pem:
        _invalid("ca_pem", "Give the CA certificates in PEM: they begin with -----BEGIN CERTIFICATE-----.")
    _check_admission(wanted.admission)


def _check_servers(wanted: DirectoryConfiguration) -> None:
    if not 1 <= len(wanted.servers) <= MAX_SERVERS or len(set(wanted.servers)) != len(wanted.servers):
        _invalid("servers", f"Name 1 to {MAX_SERVERS} servers, each once: they are asked in this order.")
    for server in wanted.servers:
        if not HOST.fullmatch(server.host) or not 1 <= server.port <= 65535:
            _invalid("servers", "A server is a host name or IP address, without ldap:// before it, and a port.")


def _check_dn(name: str, dn: str) -> None:
    try:
        canonical_dn(dn)
    except ValueError:
        _invalid(name, f"{dn!r} is not a distinguished name such as ou=people,dc=example,dc=org.")


def _check_filter(name: str, condition: str) -> None:
    """Balanced, so that what we put beside it stays beside it; the directory says the rest when the connection is tested."""
    depth = 0
    for place, sign in enumerate(condition):
        depth += (sign == "(") - (sign == ")")
        if depth < 0 or (depth == 0 and place < len(condition) - 1) or "\0" in condition:
            break
    else:
        if condition.startswith("(") and condition.endswith(")") and depth == 0 and len(condition) <= 2048:
            return
    _invalid(name, "A filter is one expression in parentheses, such as (objectClass=person) or (&(…)(…)).")


def _check_attributes(name: str, attributes: Iterable[str]) -> None:
    listed = tuple(attributes)
    if not 1 <= len(listed) <= 8 or not all(ATTRIBUTE.fullmatch(attribute) for attribute in listed):
        _invalid(name, "An attribute's name is letters, digits and hyphens, such as uid or userPrincipalName.")


def _check_admission(admission: Admission) -> None:
    for domain in admission.domains:
        if domain_of(f"somebody@{domain}") != domain:
            _invalid("admission", f"{domain!r} is not a domain. Write it in lower case, such as example.org, one by one.")
    for group in (*admission.groups, *admission.required_groups, *(rule.group for rule in admission.roles)):
        if not group.strip():
            _invalid("admission", "A group is its distinguished name, such as cn=staff,ou=groups,dc=example,dc=org.")
        _check_dn("admission", group)
    if not role_rules_are_clear(_canonical(admission).roles):
        _invalid("admission", "One group can have one role only. Remove the rules that repeat a group.")


def _invalid(name: str, sentence: str) -> NoReturn:
    raise Invalid(sentence, field=name)
