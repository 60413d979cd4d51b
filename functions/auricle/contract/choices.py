"""The few words that declarations choose from. What each costs is a number in the overlay, never here."""

from __future__ import annotations

from enum import StrEnum


class Image(StrEnum):
    """Which container image a function runs in, by what it has to import."""

    API = "api"  # database and HTTP; no numpy
    IDENTITY = "identity"  # as api, and what proves who somebody is: password hashing, signing, directories
    MEDIA = "media"  # PyAV and voice activity detection
    SPEECH = "speech"  # models; no database driver is ever imported


class Scale(StrEnum):
    """How a function grows and shrinks."""

    INTERACTIVE = "interactive"  # a person waits
    STREAM = "stream"  # held-open answers (SSE)
    BURST = "burst"  # many small events
    BATCH = "batch"  # minutes of CPU per event
    GPU = "gpu"  # one event per device at a time, from zero
    TIMER = "timer"  # wakes on a schedule


class Guarded(StrEnum):
    """The limit that a route is counted by (`identity.ratelimits.POLICIES`). Those that name none are counted by `DEFAULT`, or
    not at all where nobody signs in: health, documents, the bucket."""

    LOGIN = "login"  # password, directory or certificate
    REGISTER = "register"
    SETUP = "setup"  # the first user's code
    RESET_ASK = "reset-ask"
    RESET_USE = "reset-use"
    FACTOR = "factor"  # a TOTP or backup code, at sign-in or for a step-up
    FACTOR_ENROL = "factor-enrol"
    REFRESH = "refresh"
    PASSKEY_BEGIN = "passkey-begin"
    PASSKEY_FINISH = "passkey-finish"
    OIDC_BEGIN = "oidc-begin"
    OIDC_CALLBACK = "oidc-callback"
    OIDC_BACKCHANNEL = "oidc-backchannel"
    INVITATION = "invitation"  # looking at one or accepting it
    INVITE = "invite"  # sending one
    SHARE = "share"  # with an address: who guesses many learns who is here
    PASSWORD_CHANGE = "password-change"  # noqa: S105
    EMAIL_CHANGE = "email-change"
    EMAIL_CONFIRM = "email-confirm"
    TOKEN_CREATE = "token-create"  # noqa: S105
    TEST_CONNECTION = "test-connection"  # an administrator lets us call a host that they name
    LOGOUT = "logout"
    REFUSED = "refused"  # credentials that were none, on whatever route
    PUBLIC = "public"
    DEFAULT = "default"


class Permission(StrEnum):
    """What a route asks of the principal (`access.permissions.RULES`). The values are scopes of personal tokens, or none."""

    PUBLIC = "public"  # anybody, said aloud
    SIGNED_IN = "signed-in"  # any valid credential, whatever its scopes
    DOCS = "docs"  # the interface's description: as SIGNED_IN, or as PUBLIC where the deployment says so
    MFA = "mfa"  # also who still owes the second factor
    ACCOUNT = "account"  # one's own profile and sessions: never with a token
    ACCOUNT_SECURITY = "account-security"  # one's own password, address and factors
    READ = "files:read"
    COMMENT = "comments:write"
    EDIT = "transcripts:write"
    RUN = "runs:write"  # start, cancel, retry
    WRITE = "files:write"  # upload, rename, trash, restore
    SHARE = "shares:write"
    PURGE = "purge"  # delete for good, give away
    TOKENS = "tokens:write"  # list and end one's own
    MAKE_TOKENS = "make-tokens"
    USERS = "users"
    SETTINGS = "settings"
    OPERATE = "operate"  # dead letters and the host itself
    AUDIT = "audit:read"
    HOUSE = "house"  # who owns, administers and audits


_NO_SCOPES = {
    *(Permission.PUBLIC, Permission.SIGNED_IN, Permission.DOCS, Permission.MFA),
    *(Permission.ACCOUNT, Permission.ACCOUNT_SECURITY),
    *(Permission.PURGE, Permission.MAKE_TOKENS, Permission.USERS, Permission.SETTINGS, Permission.HOUSE),
}
SCOPES: tuple[str, ...] = tuple(p.value for p in Permission if p not in _NO_SCOPES)
"""What personal tokens can be given; a test holds it together with the written table."""
