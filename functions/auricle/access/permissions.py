"""Who may do what: one written table and one pure decision over it, made by the door from a route's `permission=`.

Four things speak, and each can only narrow what the ones before it allow: roles or grants allow, scopes narrow a token, a
pending second factor narrows to the routes that end it, and dangerous permissions ask for a fresh factor. Nobody's role opens
somebody else's files: an administrator needs a grant like everyone, and gets one in the sight of the audit trail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import IntEnum, StrEnum

import msgspec

from auricle.errors import Conflict, Denied, NotFound, Rejected, Unauthenticated


class Role(StrEnum):
    """What a person is in the house."""

    OWNER = "owner"
    ADMIN = "admin"
    AUDITOR = "auditor"
    MEMBER = "member"
    GUEST = "guest"  # sees what was shared with them, brings nothing in


class Grant(IntEnum):
    """What a person was given on a file or a collection; a higher one holds all lower ones.

    `NOTHING`: there is a thing, and nothing of it was given. `OWNER` is the one whose thing it is: never granted, only moved.
    """

    NOTHING = 0
    VIEWER = 1
    COMMENTER = 2
    EDITOR = 3
    MANAGER = 4
    OWNER = 5


class Reason(StrEnum):
    """Why a decision is as it is: for the audit trail, and for the sentence that the caller reads."""

    ALLOWED = "allowed"
    NO_CREDENTIAL = "no-credential"
    MFA_PENDING = "mfa-pending"
    ROLE = "role"
    GRANT = "grant"  # sees the thing, may not do this to it
    HIDDEN = "hidden"  # does not even see it
    NO_TOKENS = "no-tokens"  # nothing that a personal token can ever do
    SCOPE = "scope"
    FACTOR = "factor"  # needs a factor within the last minutes


class Decision(msgspec.Struct, frozen=True):
    """The answer. `needs` names what is missing, in a word: a scope, a grant."""

    reason: Reason
    needs: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""
        return self.reason is Reason.ALLOWED

    @property
    def sentence(self) -> str:
        """What the caller reads."""
        return _SENTENCES[self.reason].format(needs=self.needs)

    def enforce(self) -> None:
        """Nothing when allowed; the error to answer with otherwise. What is hidden is not found: 403 would tell of it."""
        if not self.allowed:
            error = _ERRORS[self.reason](self.sentence)
            error.why = self.reason
            raise error


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A permission's row. `roles`: who may where no thing is concerned. `grant`: the least on the thing, where one is.

    `grant` None: it never concerns a thing, roles alone decide. `scope`: what a token needs; None: no token may, ever.
    `fresh`: needs a factor within ten minutes. `pending`: open to who still owes the second factor.
    """

    about: str
    roles: frozenset[Role]
    grant: Grant | None = None
    scope: str | None = None
    fresh: bool = False
    pending: bool = False
    anybody: bool = False


EVERYONE = frozenset(Role)
WORKERS = frozenset({Role.OWNER, Role.ADMIN, Role.MEMBER})
ADMINS = frozenset({Role.OWNER, Role.ADMIN})
ANY_SCOPE = "*"
"""Any token will do, whatever its scopes."""

RULES: dict[str, Rule] = {
    "PUBLIC": Rule(about="what anybody may see", roles=EVERYONE, scope=ANY_SCOPE, pending=True, anybody=True),
    "SIGNED_IN": Rule(about="what needs any valid credential", roles=EVERYONE, scope=ANY_SCOPE),
    "DOCS": Rule(about="what the interface is; public where `API_DOCS` says so", roles=EVERYONE, scope=ANY_SCOPE),
    "MFA": Rule(about="show a second factor, enrol the first one", roles=EVERYONE, pending=True),
    "ACCOUNT": Rule(about="one's own profile and sessions", roles=EVERYONE),
    "ACCOUNT_SECURITY": Rule(about="one's own password, address and factors", roles=EVERYONE, fresh=True),
    "READ": Rule(about="see and search", roles=EVERYONE, grant=Grant.VIEWER, scope="files:read"),
    "COMMENT": Rule(about="comment", roles=EVERYONE, grant=Grant.COMMENTER, scope="comments:write"),
    "EDIT": Rule(
        about="edit transcripts, speakers, titles, tags", roles=WORKERS, grant=Grant.EDITOR, scope="transcripts:write"
    ),
    "RUN": Rule(about="start, cancel, retry", roles=WORKERS, grant=Grant.EDITOR, scope="runs:write"),
    "WRITE": Rule(about="upload; rename, trash, restore", roles=WORKERS, grant=Grant.MANAGER, scope="files:write"),
    "SHARE": Rule(about="give and take grants", roles=WORKERS, grant=Grant.MANAGER, scope="shares:write"),
    "PURGE": Rule(about="delete for good, give away", roles=frozenset(), grant=Grant.OWNER, fresh=True),
    "TOKENS": Rule(about="list and end one's own tokens", roles=EVERYONE, scope="tokens:write"),
    "MAKE_TOKENS": Rule(about="make a token", roles=WORKERS | {Role.AUDITOR}, fresh=True),
    "USERS": Rule(about="people, groups, invitations, others' sessions", roles=ADMINS, fresh=True),
    "SETTINGS": Rule(about="how people sign in, limits, banner", roles=ADMINS, fresh=True),
    "OPERATE": Rule(about="dead letters and the host itself", roles=ADMINS, scope="operate"),
    "AUDIT": Rule(about="read and export the audit trail", roles=frozenset({Role.OWNER, Role.AUDITOR}), scope="audit:read"),
    "HOUSE": Rule(about="who owns, administers and audits", roles=frozenset({Role.OWNER}), fresh=True),
}
"""Every permission by its name in `contract.choices.Permission`; a member without a row is never allowed.

Administrators have no AUDIT: who changes things does not also judge the record of it (AC-5, AU-9(4)); an owner may be both.
"""


def decide(
    permission: StrEnum,
    *,
    roles: Collection[Role],
    grant: Grant | None,
    scopes: Collection[str] | None,
    mfa_pending: bool,
    fresh_factor: bool,
) -> Decision:
    """Whether a principal may do what `permission` names, and if not, why.

    `roles`: theirs now, from the database; none means nobody (no credential, a disabled account). `grant`: on the thing that
    the route names, None only where the route names none. `scopes`: a personal token's; None for a session. `fresh_factor`:
    `sessions.fresh_factor`; a token has no session, so never. The order of the checks never tells a stranger what exists.
    """
    rule = RULES.get(permission.name)
    if rule is None:
        return Decision(Reason.ROLE)
    if rule.anybody:
        return Decision(Reason.ALLOWED)
    if not roles:
        return Decision(Reason.NO_CREDENTIAL)
    checks = (_pending(rule, mfa_pending), _scope(rule, scopes), _authority(rule, roles, grant), _fresh(rule, fresh_factor))
    return next((refused for refused in checks if refused is not None), Decision(Reason.ALLOWED))


def changed_roles(
    actor: Collection[Role], own: bool, before: Collection[Role], asked: Collection[Role], owners: int
) -> frozenset[Role]:
    """The roles that somebody has after `actor` asked for `asked`; `Denied` or `Conflict` when they may not.

    Owners give and take all roles, administrators only member and guest, and only of people who are no more than that; nobody
    their own (`own`), so that no right is ever given to oneself. The last of the `owners` stays (AC-5, AC-6).
    """
    now, then = frozenset(before), frozenset(asked)
    if now == then:
        return now
    if own:
        raise Denied("Nobody changes their own roles. Ask another owner.")
    if not (now | then) <= assignable(actor):
        raise Denied("Only an owner gives or takes the roles owner, admin and auditor, and changes people who have them.")
    if Role.OWNER in now - then and owners <= 1:
        raise Conflict("This is the last owner. Make somebody else an owner first.")
    if not then:
        raise Conflict("Everybody has at least one role. Disable the account instead.")
    return then


def assignable(actor: Collection[Role]) -> frozenset[Role]:
    """The roles that somebody with these may give and take."""
    if Role.OWNER in actor:
        return frozenset(Role)
    return frozenset({Role.MEMBER, Role.GUEST}) if Role.ADMIN in actor else frozenset()


def possible_scopes(roles: Collection[Role]) -> frozenset[str]:
    """The scopes that a token of somebody with these roles can be of any use with; others are refused when it is made."""
    held = frozenset(roles)
    useful = (rule for rule in RULES.values() if held and (rule.roles & held or rule.grant is not None))
    return frozenset(rule.scope for rule in useful if rule.scope not in (None, ANY_SCOPE))


def written_table() -> str:
    """The table as Markdown, for the README that is generated."""
    head = ("Permission", "for", *(role.value for role in Role), "on a thing, from", "token scope", "more")
    lines = [_line(head), _line("---" for _ in head)]
    return "\n".join([*lines, *(_line(_cells(name, rule)) for name, rule in RULES.items())]) + "\n"


def _pending(rule: Rule, mfa_pending: bool) -> Decision | None:
    return Decision(Reason.MFA_PENDING) if mfa_pending and not rule.pending else None


def _scope(rule: Rule, scopes: Collection[str] | None) -> Decision | None:
    if scopes is None or rule.scope == ANY_SCOPE:
        return None
    if rule.scope is None:
        return Decision(Reason.NO_TOKENS)
    return None if rule.scope in scopes else Decision(Reason.SCOPE, rule.scope)


def _authority(rule: Rule, roles: Collection[Role], grant: Grant | None) -> Decision | None:
    """On a thing the grant decides, and no role stands in for it; where there is none, the role."""
    if rule.grant is None or grant is None:
        return None if rule.roles & frozenset(roles) else Decision(Reason.ROLE)
    if grant >= rule.grant:
        return None
    return Decision(Reason.HIDDEN) if grant is Grant.NOTHING else Decision(Reason.GRANT, rule.grant.name.lower())


def _fresh(rule: Rule, fresh_factor: bool) -> Decision | None:
    return Decision(Reason.FACTOR) if rule.fresh and not fresh_factor else None


def _cells(name: str, rule: Rule) -> Iterable[str]:
    more = [
        word
        for word, holds in (("fresh factor", rule.fresh), ("MFA pending", rule.pending), ("anybody", rule.anybody))
        if holds
    ]
    least = "" if rule.grant is None else rule.grant.name.lower()
    scope = {None: "never", ANY_SCOPE: "any"}.get(rule.scope, f"`{rule.scope}`")
    return (name, rule.about, *("yes" if role in rule.roles else "" for role in Role), least, scope, ", ".join(more))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


_ERRORS: dict[Reason, type[Rejected]] = {
    Reason.NO_CREDENTIAL: Unauthenticated,
    Reason.MFA_PENDING: Denied,
    Reason.ROLE: Denied,
    Reason.GRANT: Denied,
    Reason.HIDDEN: NotFound,
    Reason.NO_TOKENS: Denied,
    Reason.SCOPE: Denied,
    Reason.FACTOR: Denied,
}
_SENTENCES = {
    Reason.NO_CREDENTIAL: "Sign in first.",
    Reason.MFA_PENDING: "Show your second factor first: until then nothing else answers.",
    Reason.ROLE: "Your role does not allow this. Ask an administrator of this house.",
    Reason.GRANT: "You need to be {needs} here for that. Ask whoever shared it with you.",
    Reason.HIDDEN: "There is no such thing, or it is not shared with you.",
    Reason.NO_TOKENS: "This is only done by a person who is signed in, never with a token.",
    Reason.SCOPE: "This token lacks the scope {needs}. Make one that has it.",
    Reason.FACTOR: "Confirm with your second factor first: this needs one shown within the last ten minutes.",
}
