"""The table of permissions, read by hand: who may do what, and what is said to who may not."""

from __future__ import annotations

from enum import StrEnum

import pytest

from auricle.access.permissions import (
    ANY_SCOPE,
    RULES,
    Decision,
    Grant,
    Reason,
    Role,
    assignable,
    changed_roles,
    decide,
    possible_scopes,
    written_table,
)
from auricle.contract.choices import SCOPES, Permission
from auricle.errors import Conflict, Denied, NotFound, Unauthenticated

CONTENT = [name for name, rule in RULES.items() if rule.grant is not None]


def asked(
    name: str,
    *roles: Role,
    grant: Grant | None = None,
    scopes: set[str] | None = None,
    mfa_pending: bool = False,
    fresh_factor: bool = True,
) -> Reason:
    return decide(
        Permission[name], roles=roles, grant=grant, scopes=scopes, mfa_pending=mfa_pending, fresh_factor=fresh_factor
    ).reason


def test_the_contract_and_the_table_name_the_same_permissions_and_scopes() -> None:
    assert [permission.name for permission in Permission] == list(RULES)
    for permission in Permission:
        scope = RULES[permission.name].scope
        assert (permission.value in SCOPES) is (scope not in (None, ANY_SCOPE))
        assert scope in (None, ANY_SCOPE, permission.value)
    assert len(set(SCOPES)) == len(SCOPES)


def test_a_permission_without_a_row_is_allowed_to_nobody() -> None:
    new = StrEnum("new", {"NEW": "new"})
    decision = decide(new.NEW, roles=list(Role), grant=Grant.OWNER, scopes=None, mfa_pending=False, fresh_factor=True)
    assert not decision.allowed


@pytest.mark.parametrize("name", RULES)
def test_nothing_that_needs_a_fresh_factor_has_a_scope(name: str) -> None:
    """A token cannot show a factor: such a scope would be a promise that is never kept."""
    assert not (RULES[name].fresh and RULES[name].scope)


# Roles where no thing is concerned: the table once more, by hand

HOUSE = {
    "PUBLIC": "owner admin auditor member guest",
    "SIGNED_IN": "owner admin auditor member guest",
    "DOCS": "owner admin auditor member guest",
    "MFA": "owner admin auditor member guest",
    "ACCOUNT": "owner admin auditor member guest",
    "ACCOUNT_SECURITY": "owner admin auditor member guest",
    "READ": "owner admin auditor member guest",
    "COMMENT": "owner admin auditor member guest",
    "EDIT": "owner admin member",
    "RUN": "owner admin member",
    "WRITE": "owner admin member",
    "SHARE": "owner admin member",
    "PURGE": "",
    "TOKENS": "owner admin auditor member guest",
    "MAKE_TOKENS": "owner admin auditor member",
    "USERS": "owner admin",
    "SETTINGS": "owner admin",
    "OPERATE": "owner admin",
    "AUDIT": "owner auditor",
    "HOUSE": "owner",
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", RULES)
def test_what_each_role_may_do_in_the_house(name: str, role: Role) -> None:
    expected = Reason.ALLOWED if role in HOUSE[name].split() else Reason.ROLE
    assert asked(name, role) is expected


# Grants

THINGS = {
    "READ": Grant.VIEWER,
    "COMMENT": Grant.COMMENTER,
    "EDIT": Grant.EDITOR,
    "RUN": Grant.EDITOR,
    "WRITE": Grant.MANAGER,
    "SHARE": Grant.MANAGER,
    "PURGE": Grant.OWNER,
}


def test_the_permissions_on_things_are_these() -> None:
    assert sorted(CONTENT) == sorted(THINGS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("grant", Grant)
@pytest.mark.parametrize("name", THINGS)
def test_on_a_thing_the_grant_decides_whatever_the_role(name: str, grant: Grant, role: Role) -> None:
    expected = Reason.ALLOWED if grant >= THINGS[name] else Reason.HIDDEN if grant is Grant.NOTHING else Reason.GRANT
    assert asked(name, role, grant=grant) is expected


@pytest.mark.parametrize("name", CONTENT)
def test_an_administrator_and_even_all_roles_open_nobodys_files(name: str) -> None:
    assert asked(name, *Role, grant=Grant.NOTHING) is Reason.HIDDEN


def test_what_is_not_shared_is_not_found_rather_than_forbidden() -> None:
    with pytest.raises(NotFound):
        decide(
            Permission.READ, roles=(Role.ADMIN,), grant=Grant.NOTHING, scopes=None, mfa_pending=False, fresh_factor=True
        ).enforce()


# Tokens


def test_token_scope_escalation_a_scope_is_no_right() -> None:
    every = {rule.scope for rule in RULES.values() if rule.scope}
    assert asked("OPERATE", Role.MEMBER, scopes=every) is Reason.ROLE
    assert asked("AUDIT", Role.ADMIN, scopes=every) is Reason.ROLE
    assert asked("WRITE", Role.GUEST, scopes=every) is Reason.ROLE
    assert asked("READ", Role.OWNER, scopes=every, grant=Grant.NOTHING) is Reason.HIDDEN


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.scope is None])
def test_token_scope_escalation_a_token_never_does_what_only_a_person_may(name: str) -> None:
    for scopes in ({ANY_SCOPE}, {"*"}, {name}, {name.lower()}, {""}, set(SCOPES)):
        assert asked(name, *Role, grant=Grant.OWNER, scopes=scopes) is Reason.NO_TOKENS


def test_token_scope_escalation_a_token_makes_no_other_token() -> None:
    assert asked("MAKE_TOKENS", Role.OWNER, scopes={"tokens:write"}) is Reason.NO_TOKENS
    assert asked("TOKENS", Role.OWNER, scopes={"tokens:write"}) is Reason.ALLOWED


def test_token_scope_escalation_by_a_scope_that_looks_like_more() -> None:
    for scope in ("*", "files:*", "files", "files:write ", "FILES:WRITE", "files:writer", "owner", ""):
        assert asked("WRITE", Role.OWNER, scopes={scope}) is Reason.SCOPE


def test_a_token_without_scopes_knows_who_it_is_and_nothing_else() -> None:
    allowed = [name for name in RULES if asked(name, *Role, grant=Grant.OWNER, scopes=set()) is Reason.ALLOWED]
    assert allowed == ["PUBLIC", "SIGNED_IN", "DOCS"]


def test_scopes_that_are_of_no_use_to_a_role_are_not_offered() -> None:
    assert "operate" not in possible_scopes({Role.MEMBER})
    assert "audit:read" not in possible_scopes({Role.ADMIN})
    assert "files:write" in possible_scopes({Role.GUEST})  # somebody may make them manager of a collection
    assert possible_scopes(set()) == frozenset()
    assert set(SCOPES) <= possible_scopes({Role.OWNER})
    assert ANY_SCOPE not in possible_scopes(set(Role))


# Second factors


@pytest.mark.parametrize("name", RULES)
def test_with_the_second_factor_pending_nothing_answers_but_what_ends_that(name: str) -> None:
    reason = asked(name, *Role, grant=Grant.OWNER, mfa_pending=True)
    assert reason is (Reason.ALLOWED if name in ("PUBLIC", "MFA") else Reason.MFA_PENDING)


@pytest.mark.parametrize("name", RULES)
def test_dangerous_permissions_need_a_fresh_factor(name: str) -> None:
    dangerous = name in ("ACCOUNT_SECURITY", "PURGE", "MAKE_TOKENS", "USERS", "SETTINGS", "HOUSE")
    grant = Grant.OWNER if name in CONTENT else None
    assert asked(name, Role.OWNER, grant=grant, fresh_factor=False) is (Reason.FACTOR if dangerous else Reason.ALLOWED)


# Nobody


@pytest.mark.parametrize("name", RULES)
def test_nobody_and_a_disabled_account_may_do_what_anybody_may(name: str) -> None:
    for grant in (None, Grant.NOTHING, Grant.OWNER):
        assert asked(name, grant=grant) is (Reason.ALLOWED if name == "PUBLIC" else Reason.NO_CREDENTIAL)


def test_every_refusal_is_an_error_with_a_sentence() -> None:
    for reason in set(Reason) - {Reason.ALLOWED}:
        with pytest.raises((Denied, NotFound, Unauthenticated)) as caught:
            Decision(reason, "editor").enforce()
        assert str(caught.value).endswith(".")
        assert "{" not in str(caught.value)
    Decision(Reason.ALLOWED).enforce()
    with pytest.raises(Unauthenticated):
        Decision(Reason.NO_CREDENTIAL).enforce()


def test_a_refusal_names_what_is_missing() -> None:
    with pytest.raises(Denied, match="runs:write"):
        decide(
            Permission.RUN, roles=(Role.OWNER,), grant=None, scopes={"files:read"}, mfa_pending=False, fresh_factor=False
        ).enforce()
    with pytest.raises(Denied, match="editor"):
        decide(
            Permission.RUN, roles=(Role.OWNER,), grant=Grant.VIEWER, scopes=None, mfa_pending=False, fresh_factor=False
        ).enforce()


# Giving roles


def test_mass_assignment_of_roles_to_oneself() -> None:
    for actor in Role:
        for asked_for in Role:
            if asked_for is actor:
                continue
            with pytest.raises(Denied):
                changed_roles({actor}, True, {actor}, {actor, asked_for}, 2)


@pytest.mark.parametrize("actor", [Role.AUDITOR, Role.MEMBER, Role.GUEST])
def test_mass_assignment_of_roles_by_who_gives_none(actor: Role) -> None:
    for role in Role:
        with pytest.raises(Denied):
            changed_roles({actor}, False, set(), {role}, 2)


@pytest.mark.parametrize("high", [Role.OWNER, Role.ADMIN, Role.AUDITOR])
def test_mass_assignment_of_roles_by_an_administrator(high: Role) -> None:
    """Neither given, nor taken, nor carried along while something harmless is changed."""
    for before, after in (
        ({Role.MEMBER}, {high}),
        ({Role.MEMBER}, {Role.MEMBER, high}),
        ({high}, {Role.GUEST}),
        ({high}, {high, Role.MEMBER}),
    ):
        with pytest.raises(Denied):
            changed_roles({Role.ADMIN, Role.MEMBER}, False, before, after, 2)
    assert changed_roles({Role.ADMIN}, False, {Role.GUEST}, {Role.MEMBER}, 1) == {Role.MEMBER}


def test_an_owner_gives_and_takes_every_role() -> None:
    for role in Role:
        assert changed_roles({Role.OWNER}, False, {Role.GUEST}, {role}, 1) == {role}
        assert changed_roles({Role.OWNER}, False, {role}, {Role.GUEST}, 2) == {Role.GUEST}


def test_the_last_owner_stays_and_nobody_is_left_with_nothing() -> None:
    with pytest.raises(Conflict, match="last owner"):
        changed_roles({Role.OWNER}, False, {Role.OWNER}, {Role.MEMBER}, 1)
    with pytest.raises(Conflict):
        changed_roles({Role.OWNER}, False, {Role.MEMBER}, set(), 1)


def test_asking_for_what_is_there_changes_nothing_and_is_nobodys_crime() -> None:
    assert changed_roles({Role.MEMBER}, True, {Role.MEMBER}, {Role.MEMBER}, 1) == {Role.MEMBER}


def test_who_may_give_which_roles() -> None:
    assert assignable({Role.OWNER}) == set(Role)
    assert assignable({Role.ADMIN, Role.AUDITOR}) == {Role.MEMBER, Role.GUEST}
    assert assignable({Role.AUDITOR, Role.MEMBER, Role.GUEST}) == set()


# The written table


def test_the_written_table_has_a_line_for_every_permission() -> None:
    lines = written_table().splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(RULES)
    assert len({line.count("|") for line in lines}) == 1
    assert "| AUDIT | read and export the audit trail | yes |  | yes |  |  |  | `audit:read` |  |" in lines
