"""What holds for every permission, whoever asks and however: more never allows less, and narrower never allows more."""

from __future__ import annotations

from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from auricle.access.permissions import RULES, Decision, Grant, Role, assignable, changed_roles, decide
from auricle.contract.choices import Permission
from auricle.errors import Conflict, Denied

NAMES = st.sampled_from(sorted(RULES))
ROLES = st.frozensets(st.sampled_from(list(Role)))
GRANTS = st.sampled_from(list(Grant))
SCOPES = st.frozensets(st.sampled_from([*sorted({rule.scope for rule in RULES.values() if rule.scope}), "files:*", ""]))
EVERY_ROLES = [frozenset(chosen) for chosen in chain.from_iterable(combinations(Role, n) for n in range(len(Role) + 1))]


def decided(
    name: str,
    roles: frozenset[Role],
    grant: Grant | None,
    scopes: frozenset[str] | None,
    mfa_pending: bool,
    fresh_factor: bool,
) -> Decision:
    return decide(Permission[name], roles=roles, grant=grant, scopes=scopes, mfa_pending=mfa_pending, fresh_factor=fresh_factor)


@given(NAMES, ROLES, ROLES, st.none() | GRANTS, st.none() | SCOPES, st.booleans(), st.booleans())
def test_another_role_never_takes_a_permission_away(
    name: str,
    roles: frozenset[Role],
    more: frozenset[Role],
    grant: Grant | None,
    scopes: frozenset[str] | None,
    pending: bool,
    fresh: bool,
) -> None:
    if decided(name, roles, grant, scopes, pending, fresh).allowed:
        assert decided(name, roles | more, grant, scopes, pending, fresh).allowed


@given(NAMES, ROLES, GRANTS, GRANTS, st.none() | SCOPES, st.booleans(), st.booleans())
def test_a_higher_grant_never_takes_a_permission_away(
    name: str, roles: frozenset[Role], one: Grant, other: Grant, scopes: frozenset[str] | None, pending: bool, fresh: bool
) -> None:
    if decided(name, roles, min(one, other), scopes, pending, fresh).allowed:
        assert decided(name, roles, max(one, other), scopes, pending, fresh).allowed


@given(NAMES, ROLES, st.none() | GRANTS, SCOPES, st.booleans(), st.booleans())
def test_a_token_never_allows_what_its_owners_session_does_not(
    name: str, roles: frozenset[Role], grant: Grant | None, scopes: frozenset[str], pending: bool, fresh: bool
) -> None:
    if decided(name, roles, grant, scopes, pending, fresh).allowed:
        assert decided(name, roles, grant, None, pending, fresh).allowed


@given(NAMES, ROLES, st.none() | GRANTS, SCOPES, SCOPES, st.booleans(), st.booleans())
def test_fewer_scopes_never_allow_more(
    name: str,
    roles: frozenset[Role],
    grant: Grant | None,
    scopes: frozenset[str],
    fewer: frozenset[str],
    pending: bool,
    fresh: bool,
) -> None:
    if decided(name, roles, grant, scopes & fewer, pending, fresh).allowed:
        assert decided(name, roles, grant, scopes, pending, fresh).allowed


@given(NAMES, ROLES, st.none() | GRANTS, st.none() | SCOPES, st.booleans())
def test_mfa_pending_allows_only_the_routes_that_end_it(
    name: str, roles: frozenset[Role], grant: Grant | None, scopes: frozenset[str] | None, fresh: bool
) -> None:
    if decided(name, roles, grant, scopes, True, fresh).allowed:
        assert name in ("MFA", "PUBLIC")
        assert decided(name, roles, grant, scopes, False, fresh).allowed


@given(NAMES, ROLES, st.none() | GRANTS, st.none() | SCOPES, st.booleans())
def test_a_stale_factor_never_allows_more(
    name: str, roles: frozenset[Role], grant: Grant | None, scopes: frozenset[str] | None, pending: bool
) -> None:
    if decided(name, roles, grant, scopes, pending, False).allowed:
        assert decided(name, roles, grant, scopes, pending, True).allowed


@given(NAMES, ROLES, st.none() | SCOPES, st.booleans(), st.booleans())
def test_no_combination_of_roles_sees_what_was_not_granted(
    name: str, roles: frozenset[Role], scopes: frozenset[str] | None, pending: bool, fresh: bool
) -> None:
    if RULES[name].grant is not None:
        assert not decided(name, roles, Grant.NOTHING, scopes, pending, fresh).allowed


@given(st.sampled_from(EVERY_ROLES), st.booleans(), ROLES, ROLES, st.integers(1, 3))
def test_nobody_gives_what_they_could_not_have_given_step_by_step(
    actor: frozenset[Role], own: bool, before: frozenset[Role], asked: frozenset[Role], owners: int
) -> None:
    try:
        after = changed_roles(actor, own, before, asked, owners)
    except (Denied, Conflict):
        return
    assert after == asked
    if after != before:
        assert not own
        assert after ^ before <= assignable(actor)
        assert after
        assert Role.OWNER in after or Role.OWNER not in before or owners > 1
