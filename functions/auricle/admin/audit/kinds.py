"""The words of the audit trail. They only grow: a word that was ever written is never taken out or given another meaning."""

# ruff: noqa: S105 - words about passwords and tokens, none of them
from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    """What happened (NIST AU-2). `<area>.<thing>.<act>`; how it went is the outcome, never a part of the kind."""

    # Signing in and out
    LOGIN = "auth.login"
    LOGOUT = "auth.logout"
    LOGOUT_ALL = "auth.logout.all"
    BACK_CHANNEL_LOGOUT = "auth.logout.back_channel"
    STEP_UP = "auth.step_up"
    BANNER_ACKNOWLEDGED = "auth.banner.acknowledged"
    # Accounts
    ACCOUNT_REGISTERED = "auth.account.registered"
    ACCOUNT_APPROVED = "auth.account.approved"
    ACCOUNT_LOCKED = "auth.account.lockout"
    ACCOUNT_UNLOCKED = "auth.account.unlock"
    ACCOUNT_DISABLED = "auth.account.disabled"
    ACCOUNT_ENABLED = "auth.account.enabled"
    ACCOUNT_EXPIRED = "auth.account.expired"
    ACCOUNT_LINKED = "auth.account.linked"
    ACCOUNT_UNLINKED = "auth.account.unlinked"
    EMAIL_CHANGE_REQUESTED = "auth.email.change_request"
    EMAIL_CHANGED = "auth.email.changed"
    # Passwords
    PASSWORD_CHANGED = "auth.password.change"
    PASSWORD_RESET_REQUESTED = "auth.password.reset_request"
    PASSWORD_RESET = "auth.password.reset_complete"
    PASSWORD_EXPIRED = "auth.password.expired"
    # Factors
    MFA_SETUP = "auth.mfa.setup"
    MFA_VERIFIED = "auth.mfa.verify"
    MFA_DISABLED = "auth.mfa.disable"
    MFA_RESET = "auth.mfa.reset"
    BACKUP_CODE_USED = "auth.mfa.backup_used"
    BACKUP_CODES_RENEWED = "auth.mfa.backup_renewed"
    PASSKEY_ADDED = "auth.mfa.passkey_added"
    PASSKEY_REMOVED = "auth.mfa.passkey_removed"
    # Tokens and sessions
    TOKEN_REFRESHED = "auth.token.refresh"
    TOKEN_REUSED = "auth.token.reuse"
    TOKEN_REVOKED = "auth.token.revoke"
    TOKEN_VERIFIED = "auth.token.verify"
    API_TOKEN_CREATED = "auth.api_token.create"
    API_TOKEN_REVOKED = "auth.api_token.revoke"
    SESSION_CREATED = "auth.session.created"
    SESSION_EXPIRED = "auth.session.expired"
    SESSION_TERMINATED = "auth.session.terminated"
    SESSION_LIMIT_EXCEEDED = "auth.session.limit_exceeded"
    SESSION_NEW_DEVICE = "auth.session.new_device"
    # What was refused
    ACCESS_DENIED = "access.denied"
    RATE_LIMITED = "access.rate_limited"
    ORIGIN_REFUSED = "access.origin_refused"
    CLIENT_CLAIM_REFUSED = "access.client_claim_refused"
    QUOTA_EXCEEDED = "access.quota_exceeded"
    REQUEST_FAILED = "access.request_failed"
    # Who may do what
    GRANT_GIVEN = "access.grant.give"
    GRANT_CHANGED = "access.grant.change"
    GRANT_REVOKED = "access.grant.revoke"
    OWNER_CHANGED = "access.owner.change"
    CONTENT_READ_BY_ADMIN = "access.content.admin_read"
    # What happened to content (never what it says)
    FILE_UPLOADED = "content.file.upload"
    FILE_READ = "content.file.read"
    FILE_EXPORTED = "content.file.export"
    FILE_CHANGED = "content.file.change"
    FILE_TRASHED = "content.file.trash"
    FILE_RESTORED = "content.file.restore"
    FILE_PURGED = "content.file.purge"
    # Administration
    SETUP_COMPLETED = "admin.setup.complete"
    USER_CREATED = "admin.user.create"
    USER_UPDATED = "admin.user.update"
    USER_DELETED = "admin.user.delete"
    ROLE_CHANGED = "admin.role.change"
    GROUP_CREATED = "admin.group.create"
    GROUP_UPDATED = "admin.group.update"
    GROUP_DELETED = "admin.group.delete"
    GROUP_MEMBER_ADDED = "admin.group.member_added"
    GROUP_MEMBER_REMOVED = "admin.group.member_removed"
    INVITATION_CREATED = "admin.invitation.create"
    INVITATION_ACCEPTED = "admin.invitation.accept"
    INVITATION_REVOKED = "admin.invitation.revoke"
    SERVICE_ACCOUNT_CREATED = "admin.service_account.create"
    SERVICE_ACCOUNT_DELETED = "admin.service_account.delete"
    SETTINGS_CHANGED = "admin.settings.change"
    SECRET_CHANGED = "admin.settings.secret_change"
    CONNECTION_TESTED = "admin.settings.connection_test"
    SIGNING_KEY_ROTATED = "admin.signing_key.rotate"
    EVENT_REPLAYED = "admin.event.replay"
    # The trail itself
    AUDIT_READ = "audit.read"
    AUDIT_EXPORTED = "audit.export"
    AUDIT_PUBLISHED = "audit.publish"
    AUDIT_VERIFIED = "audit.verify"
    AUDIT_BROKEN = "audit.broken"
    AUDIT_PRUNED = "audit.prune"


class Outcome(StrEnum):
    """How it went (NIST AU-3)."""

    SUCCESS = "success"
    FAILURE = "failure"


class ActorKind(StrEnum):
    """What sort of somebody did it."""

    PERSON = "person"
    SERVICE = "service"  # a service account
    SYSTEM = "system"  # Auricle itself: timers, sweeps
    ANONYMOUS = "anonymous"  # nobody we know (yet)


class Credential(StrEnum):
    """What the actor showed."""

    SESSION = "session"
    API_TOKEN = "api-token"
    SETUP_CODE = "setup-code"
    MAIL_LINK = "mail-link"
    COMMAND_LINE = "command-line"


class SubjectKind(StrEnum):
    """What it was done to."""

    USER = "user"
    SESSION = "session"
    TOKEN = "token"
    FACTOR = "factor"
    GROUP = "group"
    INVITATION = "invitation"
    SETTING = "setting"
    PROVIDER = "provider"
    FILE = "file"
    COLLECTION = "collection"
    TRANSCRIPT = "transcript"
    GRANT = "grant"
    RUN = "run"
    EVENT = "event"
    KEY = "key"
    ROUTE = "route"
    AUDIT = "audit"


class Method(StrEnum):
    """How somebody proved who they are."""

    PASSWORD = "password"
    PASSKEY = "passkey"
    OIDC = "oidc"
    LDAP = "ldap"
    CERTIFICATE = "certificate"
    PROXY_HEADER = "proxy-header"
    SETUP_CODE = "setup-code"


class Factor(StrEnum):
    """The second proof."""

    TOTP = "totp"
    PASSKEY = "passkey"
    BACKUP_CODE = "backup-code"


class Reason(StrEnum):
    """Why it failed, for the auditor's eyes: callers are told less."""

    UNKNOWN_ACCOUNT = "unknown-account"
    WRONG_PASSWORD = "wrong-password"
    WRONG_FACTOR = "wrong-factor"
    REPLAYED = "replayed"
    LOCKED = "locked"
    DISABLED = "disabled"
    INACTIVE = "inactive"
    EXPIRED = "expired"
    REVOKED = "revoked"
    NOT_APPROVED = "not-approved"
    NOT_INVITED = "not-invited"
    NOT_IN_GROUP = "not-in-group"
    REGISTRATION_CLOSED = "registration-closed"
    MUST_CHANGE_PASSWORD = "must-change-password"
    FACTOR_REQUIRED = "factor-required"
    STEP_UP_REQUIRED = "step-up-required"
    BANNER_REQUIRED = "banner-required"
    POLICY = "policy"
    BREACHED = "breached"
    NO_CREDENTIAL = "no-credential"
    MALFORMED = "malformed"
    WRONG_KIND = "wrong-kind"
    WRONG_SIGNATURE = "wrong-signature"
    WRONG_AUDIENCE = "wrong-audience"
    WRONG_FINGERPRINT = "wrong-fingerprint"
    WRONG_STATE = "wrong-state"
    UNTRUSTED_ISSUER = "untrusted-issuer"
    UNTRUSTED_PROXY = "untrusted-proxy"
    MISSING_SCOPE = "missing-scope"
    MISSING_ROLE = "missing-role"
    MISSING_GRANT = "missing-grant"
    CROSS_SITE = "cross-site"
    TOO_MANY = "too-many"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    UPSTREAM_AWAY = "upstream-away"
    INTERNAL = "internal"


_GRAVE = frozenset({EventKind.AUDIT_BROKEN, EventKind.TOKEN_REUSED, EventKind.CLIENT_CLAIM_REFUSED})
_WATCHED = frozenset(
    {
        EventKind.ACCOUNT_LOCKED,
        EventKind.MFA_DISABLED,
        EventKind.MFA_RESET,
        EventKind.ROLE_CHANGED,
        EventKind.SETTINGS_CHANGED,
        EventKind.SECRET_CHANGED,
        EventKind.SIGNING_KEY_ROTATED,
        EventKind.CONTENT_READ_BY_ADMIN,
        EventKind.AUDIT_PRUNED,
        EventKind.ORIGIN_REFUSED,
    }
)


def severity(kind: str, outcome: str) -> int:
    """0 … 10 as CEF counts it (0–3 low, 4–6 medium, 7–8 high, 9–10 very high); kinds of newer releases count as plain ones."""
    if kind in _GRAVE:
        return 9
    if kind in _WATCHED:
        return 7
    return 5 if outcome == Outcome.FAILURE else 3
