"""What a tenant's database must be, as pure decisions: what was seen → the statements that are missing.

Walls between tenants on one server: nobody but a tenant's own roles may connect to its database; these are members of no role
of anybody else; and the database belongs to the server's superuser, so that an owner of tables can neither let others in nor
drop it. Statements come in an order in which nobody enters a database that is not finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from pg8000.native import identifier, literal

from auricle_operator.adapters.postgres.names import POOLER, Names

PLAIN = "nosuperuser nocreatedb nocreaterole noreplication nobypassrls"
FUNCTIONS = (
    "search_path=public",
    "statement_timeout=5min",  # longer than any request may take
    "idle_in_transaction_session_timeout=15s",
    "temp_file_limit=2GB",  # of one session: the disk is everybody's
)
"""Of the logins of functions. Owners build indexes, which takes what it takes."""
MEASURING = ("search_path=pg_catalog", "statement_timeout=10s", "temp_file_limit=2GB", "default_transaction_read_only=on")
POOLING = ("search_path=pg_catalog", "statement_timeout=5s")

_WHO = "coalesce(pg_get_userbyid(nullif(a.grantee, 0)), '')"
SEE_SERVER = f"""
select
  coalesce((select json_agg(json_build_object(
    'name', r.rolname,
    'plain', not (r.rolsuper or r.rolcreatedb or r.rolcreaterole or r.rolreplication or r.rolbypassrls),
    'settings', coalesce((select to_json(s.setconfig) from pg_db_role_setting s
                          where s.setrole = r.oid and s.setdatabase = 0), '[]'),
    'groups', coalesce((select json_agg(g.rolname) from pg_auth_members m join pg_roles g on g.oid = m.roleid
                        where m.member = r.oid), '[]')))
    from pg_roles r where r.rolname = any(:roles)), '[]')::text,
  coalesce((select json_build_object(
    'open', d.datallowconn,
    'limit', d.datconnlimit,
    'settings', coalesce((select to_json(s.setconfig) from pg_db_role_setting s
                          where s.setdatabase = d.oid and s.setrole = 0), '[]'),
    'grants', (select coalesce(json_agg(json_build_array({_WHO}, a.privilege_type)), '[]')
               from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where a.grantee <> d.datdba))
    from pg_database d where d.datname = :database), 'null')::text,
  (select coalesce(json_agg(d.datname), '[]') from pg_database d where d.datname in ('postgres', 'template1')
     and exists (select from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where a.grantee = 0))::text
"""  # noqa: S608
SEE_DATABASE = f"""
select json_build_object(
  'vector', exists (select from pg_extension where extname = 'vector'),
  'public', (select coalesce(json_agg(json_build_array({_WHO}, a.privilege_type, a.is_grantable)), '[]')
             from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = 'public'),
  'pooler', (select coalesce(json_agg(json_build_array({_WHO}, a.privilege_type)), '[]')
             from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = 'pooler' and a.grantee <> n.nspowner),
  'lookup', (select json_build_object('text', p.prosrc, 'definer', p.prosecdef and r.rolsuper,
               'callers', (select coalesce(json_agg({_WHO}), '[]')
                           from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee <> p.proowner))
             from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_authid r on r.oid = p.proowner
             where n.nspname = 'pooler' and p.proname = 'login'))::text
"""  # noqa: S608
"""One row of JSON each. An empty name is PUBLIC."""


class SeenRole(msgspec.Struct, frozen=True):
    """A role, as the server has it; `plain`: without any right over the server."""

    name: str
    plain: bool
    settings: frozenset[str]
    groups: frozenset[str]


class SeenDatabase(msgspec.Struct, frozen=True):
    """A database from outside; `grants`: (role, privilege)."""

    open: bool
    limit: int
    settings: frozenset[str]
    grants: frozenset[tuple[str, str]]


class SeenLookup(msgspec.Struct, frozen=True):
    """The function by which the pooler asks."""

    text: str
    definer: bool
    callers: frozenset[str]


class SeenInside(msgspec.Struct, frozen=True):
    """A database from inside; `public` and `pooler` are grants on these schemas."""

    vector: bool
    public: frozenset[tuple[str, str, bool]]
    pooler: frozenset[tuple[str, str]]
    lookup: SeenLookup | None


class Wished(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation wants of each tenant's database."""

    connections: int
    """At most, of all the tenant's pods and the pooler's."""
    pooled: bool
    """Whether there is a pooler that asks who logs in."""


def roles(seen: Sequence[SeenRole], names: Names) -> Iterator[str]:
    """Every role, plain, with its settings, in the one group it belongs to and in no other."""
    known = {role.name: role for role in seen}
    for name, settings, groups in _wished_roles(names):
        there = known.get(name)
        if there is None:
            yield f"create role {identifier(name)} nologin {PLAIN} connection limit {4 if name == names.meter else -1}"
            there = SeenRole(name, True, frozenset(), frozenset())
        yield from role_as(there, settings, groups)


def role_as(there: SeenRole, settings: Sequence[str], groups: frozenset[str] = frozenset()) -> Iterator[str]:
    """One role that is there."""
    role = identifier(there.name)
    if not there.plain:
        yield f"alter role {role} {PLAIN}"
    yield from (f"alter role {role} {change}" for change in _changes(there.settings, settings))
    yield from (f"revoke {identifier(group)} from {role}" for group in sorted(there.groups - groups))
    yield from (f"grant {identifier(group)} to {role}" for group in sorted(groups - there.groups))


def _wished_roles(names: Names) -> Iterator[tuple[str, tuple[str, ...], frozenset[str]]]:
    member = frozenset({names.group})
    yield names.group, (), frozenset()
    yield names.owner, ("search_path=public",), frozenset()
    for login in names.pooled:
        yield login, FUNCTIONS, member
    yield names.meter, MEASURING, member


def database(seen: SeenDatabase | None, names: Names, wished: Wished) -> Iterator[str]:
    """It is there, and closed to everybody who is not named; whoever is named is let in by `admission`, later."""
    name = identifier(names.database)
    if seen is None:
        yield f"create database {name} template template0 allow_connections false connection limit {wished.connections}"
        seen = SeenDatabase(False, wished.connections, frozenset(), frozenset({("", "CONNECT"), ("", "TEMPORARY")}))
    for role in sorted({role for role, _ in seen.grants - _admitted(names, wished)}):
        yield f"revoke all on database {name} from {identifier(role) if role else 'public'}"
    yield from (f"alter database {name} {change}" for change in _changes(seen.settings, [f"auricle.functions={names.group}"]))
    if seen.limit != wished.connections:
        yield f"alter database {name} connection limit {wished.connections}"
    if not seen.open:
        yield f"alter database {name} allow_connections true"


def admission(seen: SeenDatabase | None, names: Names, wished: Wished) -> Iterator[str]:
    """Those who may connect may; a role of whom something was revoked just now, too."""
    wanted, there = _admitted(names, wished), seen.grants if seen else frozenset()
    revoked = {role for role, _ in there - wanted}
    for role, _ in sorted(wanted):
        if (role, "CONNECT") not in there or role in revoked:
            yield f"grant connect on database {identifier(names.database)} to {identifier(role)}"


def _admitted(names: Names, wished: Wished) -> frozenset[tuple[str, str]]:
    roles = {names.owner, *names.pooled, names.meter, *({POOLER} if wished.pooled else ())}
    return frozenset((role, "CONNECT") for role in roles)


def inside(seen: SeenInside, names: Names, wished: Wished) -> Iterator[str]:
    """The extension, an owner who may make and grant tables, and the pooler's question. Nobody else makes anything."""
    if not seen.vector:
        yield "create extension vector schema public"  # no trusted extension
    if any(role == "" and privilege == "CREATE" for role, privilege, _ in seen.public):
        yield "revoke create on schema public from public"
    if not {(names.owner, "CREATE", True), (names.owner, "USAGE", True)} <= seen.public:
        yield f"grant create, usage on schema public to {identifier(names.owner)} with grant option"
    if wished.pooled and not _asks_rightly(seen, names):
        yield _at_once(lookup(names))


def _asks_rightly(seen: SeenInside, names: Names) -> bool:
    wanted = SeenLookup(_lookup_text(names), True, frozenset({POOLER}))
    return seen.lookup == wanted and seen.pooler == {(POOLER, "USAGE")}


def lookup(names: Names) -> Iterator[str]:
    """How the pooler learns the verifiers of this tenant's functions, and of nobody else: not of owners, nor of other tenants.

    pgbouncer 1.18 asks in the database that the client wants, newer ones do unless told otherwise (`auth_dbname`).
    """
    yield "create schema if not exists pooler"
    yield "revoke all on schema pooler from public"
    yield f"grant usage on schema pooler to {identifier(POOLER)}"
    yield (
        "create or replace function pooler.login(asked text, out name text, out verifier text) returns setof record "
        "language sql stable security definer set search_path = pg_catalog, pg_temp "
        f"as {literal(_lookup_text(names))}"
    )
    yield "revoke all on function pooler.login(text) from public"
    yield f"grant execute on function pooler.login(text) to {identifier(POOLER)}"


def _at_once(statements: Iterator[str]) -> str:
    """All of them or none."""
    block = "; ".join(f"execute {literal(statement)}" for statement in statements)
    return f"do {literal(f'begin {block}; end')}"


def _lookup_text(names: Names) -> str:
    logins = ", ".join(literal(login) for login in names.pooled)
    return (
        "select rolname::text, rolpassword from pg_catalog.pg_authid "  # noqa: S608
        f"where rolname = asked and rolname in ({logins}) and rolcanlogin"
    )


def _changes(there: frozenset[str], wanted: Sequence[str]) -> Iterator[str]:
    """Settings of a role or a database."""
    for setting in sorted(there - frozenset(wanted)):
        yield f"reset {_variable(setting)}"
    for setting in sorted(frozenset(wanted) - there):
        value = setting.partition("=")[2]
        # A search path is a list of names, which a literal would make one name of.
        yield f"set {_variable(setting)} = {value if setting.startswith('search_path=') else literal(value)}"


def _variable(setting: str) -> str:
    return ".".join(map(identifier, setting.partition("=")[0].split(".")))
