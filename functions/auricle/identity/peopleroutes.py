"""People, invitations and groups, for those who administer them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from auricle.access.groups import actions as grouping
from auricle.access.groups.model import Group, Member
from auricle.access.groups.store import GroupStore
from auricle.access.model import Principal, PrincipalId
from auricle.access.permissions import Role
from auricle.access.sessions import Limits, SessionId
from auricle.access.sharing.model import GroupId
from auricle.admin.audit.trail import Trail
from auricle.contract.choices import Guarded, Permission
from auricle.contract.cursors import uuid_cursor
from auricle.contract.function import route
from auricle.contract.http import Body, Page, PageQuery, Reply
from auricle.identity.accounts import joining
from auricle.identity.accounts.model import Invitation, InvitationId, RegistrationPolicy
from auricle.identity.accounts.store import InvitationStore, LinkStore
from auricle.identity.model import AccountState
from auricle.identity.passwords import Passwords, Profile
from auricle.identity.people import actions
from auricle.identity.people.actions import Change, Desk
from auricle.identity.people.model import User, UserQuery
from auricle.identity.people.store import PeopleStore
from auricle.identity.store import IdentityStore
from auricle.ports.bus import Bus
from auricle.ports.hashing import PasswordHasher

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339 with a time zone: `2025-01-31T00:00:00Z`."""
USERS: dict[str, Any] = {"permission": Permission.USERS, "function": "users"}


class NewUser(Body, frozen=True, kw_only=True):
    """An account to make. `letter`: its owner gets one to set a password by; without it a password is in the answer, once."""

    email: str
    display_name: str
    role: Role = Role.MEMBER
    expires_at: Instant | None = None
    letter: bool = True


class UserChange(Body, frozen=True, kw_only=True):
    """What to change of somebody; what is not said stays. `state`: `active` or `disabled`."""

    display_name: str | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    state: AccountState | msgspec.UnsetType = msgspec.UNSET
    expires_at: Instant | msgspec.UnsetType | None = msgspec.UNSET
    must_change_password: bool | msgspec.UnsetType = msgspec.UNSET


class Reset(Body, frozen=True, kw_only=True):
    """How somebody gets another password: by a `letter`, or by one in the answer, which ends their sessions at once."""

    letter: bool = True


class NewInvitation(Body, frozen=True, kw_only=True):
    """Somebody to invite, and as what."""

    email: str
    role: Role = Role.MEMBER


class NewGroup(Body, frozen=True, kw_only=True):
    """What a group is called."""

    name: str


class MadeUser(msgspec.Struct, frozen=True):
    """A new account. `password`: to tell its owner, who must choose another one; it is in this answer and nowhere else."""

    user: User
    password: str | None = None


class OneTimePassword(msgspec.Struct, frozen=True):
    """What to tell somebody, who must choose another one. None: they get a letter."""

    password: str | None


class UserSession(msgspec.Struct, frozen=True, kw_only=True):
    """One of somebody's sign-ins: with which `device` (its own word) and from which `place` (address)."""

    id: SessionId
    device: str
    place: str
    began_at: datetime
    seen_at: datetime
    ends_at: datetime


# People


@route("GET /api/users", **USERS)
def list_users(query: UserQuery, people: PeopleStore) -> Page[User]:
    """Who has an account, newest first; deleted ones are listed when they are asked for."""
    return uuid_cursor(query, lambda limit, before: people.page(query, limit, before))


@route("POST /api/users", guarded=Guarded.INVITE, status=201, **USERS)
def create_user(new: NewUser, desk: Desk, hasher: PasswordHasher, profile: Profile, passwords: Passwords) -> Reply[MadeUser]:
    """Make an account for somebody. Nobody gives a role that is above what they may give."""
    user, password = actions.create(
        desk,
        hasher,
        profile,
        passwords,
        email=new.email,
        display_name=new.display_name,
        role=new.role,
        expires_at=new.expires_at,
        letter=new.letter,
    )
    return Reply(MadeUser(user, password), status=201, location=f"/api/users/{user.id}", secret=password is not None)


@route("GET /api/users/{user_id}", **USERS)
def get_user(user_id: PrincipalId, desk: Desk) -> User:
    """Somebody's account."""
    return desk.user(user_id)


@route("PATCH /api/users/{user_id}", **USERS)
def change_user(user_id: PrincipalId, change: UserChange, desk: Desk) -> User:
    """Change somebody's name, role, state or expiry; approve who waits for it. New authority ends their sessions."""
    asked = Change(
        display_name=change.display_name,
        role=change.role,
        state=change.state,
        expires_at=change.expires_at,
        must_change_password=change.must_change_password,
    )
    return actions.change(desk, user_id, asked)


@route("DELETE /api/users/{user_id}", **USERS)
def delete_user(user_id: PrincipalId, desk: Desk) -> None:
    """Close an account for good: its password, factors, tokens, name and address go; what it owns stays."""
    actions.remove(desk, user_id)


@route("POST /api/users/{user_id}/unlock", **USERS)
def unlock_user(user_id: PrincipalId, desk: Desk) -> None:
    """Let somebody sign in again who was locked out for guessing."""
    actions.unlock(desk, user_id)


@route("POST /api/users/{user_id}/password-reset", guarded=Guarded.INVITE, **USERS)
def reset_user_password(
    user_id: PrincipalId, reset: Reset, desk: Desk, hasher: PasswordHasher, profile: Profile, passwords: Passwords
) -> Reply[OneTimePassword]:
    """Give somebody a way to another password."""
    password = actions.reset_password(desk, hasher, profile, passwords, user_id, reset.letter)
    return Reply(OneTimePassword(password), secret=password is not None)


@route("DELETE /api/users/{user_id}/mfa", **USERS)
def reset_user_factors(user_id: PrincipalId, desk: Desk) -> None:
    """Take the second factors of somebody who has lost them."""
    actions.reset_factors(desk, user_id)


@route("GET /api/users/{user_id}/sessions", **USERS)
def list_user_sessions(user_id: PrincipalId, query: PageQuery, desk: Desk, limits: Limits) -> Page[UserSession]:
    """Where somebody is signed in, newest first."""
    living = [
        UserSession(
            id=session.id,
            device=session.client.device,
            place=session.client.place,
            began_at=session.began,
            seen_at=session.seen,
            ends_at=session.ends,
        )
        for session in actions.sessions(desk, limits, user_id)
    ]
    return uuid_cursor(query, lambda limit, before: [s for s in living if before is None or s.id < before][:limit])


@route("DELETE /api/users/{user_id}/sessions", **USERS)
def end_user_sessions(user_id: PrincipalId, desk: Desk) -> None:
    """Sign somebody out everywhere, at once."""
    actions.sign_out(desk, user_id)


# Invitations


@route("GET /api/invitations", **USERS)
def list_invitations(query: PageQuery, invitations: InvitationStore) -> Page[Invitation]:
    """Who was invited, newest first, and what became of it."""
    return uuid_cursor(query, lambda limit, before: invitations.invited(limit, InvitationId(before) if before else None))


@route("POST /api/invitations", guarded=Guarded.INVITE, status=201, **USERS)
def invite(
    new: NewInvitation,
    who: Principal,
    store: IdentityStore,
    invitations: InvitationStore,
    policy: RegistrationPolicy,
    trail: Trail,
    bus: Bus,
) -> Reply[Invitation]:
    """Invite somebody by a letter, whose link is good once and for a week."""
    made = joining.invite(store, invitations, policy, trail, bus, who, new.email, new.role)
    return Reply(made, status=201)


@route("DELETE /api/invitations/{invitation_id}", **USERS)
def revoke_invitation(invitation_id: InvitationId, invitations: InvitationStore, links: LinkStore, trail: Trail) -> None:
    """Take an invitation back."""
    joining.revoke(invitations, links, trail, invitation_id)


# Groups


@route("GET /api/groups", **USERS)
def list_groups(query: PageQuery, groups: GroupStore) -> Page[Group]:
    """All groups, newest first."""
    return uuid_cursor(query, groups.page)


@route("POST /api/groups", status=201, **USERS)
def create_group(new: NewGroup, groups: GroupStore, trail: Trail) -> Reply[Group]:
    """Make a group."""
    made = grouping.create(groups, trail, new.name)
    return Reply(made, status=201, location=f"/api/groups/{made.id}")


@route("PATCH /api/groups/{group_id}", **USERS)
def rename_group(group_id: GroupId, new: NewGroup, groups: GroupStore, trail: Trail) -> Group:
    """Call a group otherwise."""
    return grouping.rename(groups, trail, group_id, new.name)


@route("DELETE /api/groups/{group_id}", **USERS)
def end_group(group_id: GroupId, groups: GroupStore, trail: Trail) -> None:
    """End a group, and what was granted to it."""
    grouping.end(groups, trail, group_id)


@route("GET /api/groups/{group_id}/members", **USERS)
def list_members(group_id: GroupId, query: PageQuery, groups: GroupStore) -> Page[Member]:
    """Who is in a group."""
    grouping.found(groups, group_id)
    return uuid_cursor(query, lambda limit, before: groups.members(group_id, limit, before))


@route("PUT /api/groups/{group_id}/members/{user_id}", **USERS)
def put_member(group_id: GroupId, user_id: PrincipalId, who: Principal, groups: GroupStore, desk: Desk) -> None:
    """Put somebody into a group."""
    grouping.put_member(groups, desk.trail, who, group_id, desk.user(user_id).id)


@route("DELETE /api/groups/{group_id}/members/{user_id}", **USERS)
def drop_member(group_id: GroupId, user_id: PrincipalId, groups: GroupStore, trail: Trail) -> None:
    """Take somebody out of a group."""
    grouping.drop_member(groups, trail, group_id, user_id)
