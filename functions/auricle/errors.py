"""The one error tree. What an exception *is* decides what its caller is told and whether work is tried again.

Rooms and adapters raise these; the doors (`runtime.http`, `runtime.events`) translate them. Adapters turn library errors
into one of these at their edge and chain the cause.
"""

from __future__ import annotations


class AuricleError(Exception):
    """Any failure Auricle understands. `str(error)` is a sentence that a person can act on."""


class Rejected(AuricleError):
    """The caller's fault: the request is refused and will be refused again unless it changes."""

    status = 400
    title = "Bad request"

    def __init__(self, detail: str, /, **extra: object) -> None:
        """`detail` says what is wrong and what to do; `extra` members are added to the problem document."""
        super().__init__(detail)
        self.extra = extra
        self.why: str | None = None
        """In a word, for the audit trail alone."""


class Unauthenticated(Rejected):
    """No credential, or one that is not valid (any more)."""

    status = 401
    title = "Sign in first"


class Denied(Rejected):
    """The credential is good and does not allow this."""

    status = 403
    title = "Not allowed"


class NotFound(Rejected):
    """There is no such thing, or it is not the caller's to see."""

    status = 404
    title = "Not found"


class Conflict(Rejected):
    """The thing is in a state in which this cannot be done."""

    status = 409
    title = "Conflict"


class Outdated(Rejected):
    """The caller changes a thing that is not as they have seen it any more (RFC 9110, 13.1.1)."""

    status = 412
    title = "Changed meanwhile"


class Missing(Rejected):
    """The caller must say which state of the thing they change (RFC 6585, 3)."""

    status = 428
    title = "Say what you change"


class TooLarge(Rejected):
    """More bytes than are allowed."""

    status = 413
    title = "Too large"


class Invalid(Rejected):
    """The request is understood and its content is not acceptable."""

    status = 422
    title = "Invalid"


class TooMany(Rejected):
    """A rate or count limit is reached."""

    status = 429
    title = "Too many requests"


class Retryable(AuricleError):
    """Not now: something upstream is away or busy. The same request may succeed in `delay` seconds."""

    def __init__(self, detail: str, /, *, delay: float = 5.0) -> None:
        super().__init__(detail)
        self.delay = delay


class Suspended(AuricleError):
    """This deployment answers nobody until its administrator lets it. Nothing is lost, and nothing is worth trying before."""

    def __init__(self) -> None:
        super().__init__(
            "This vault is suspended. Its administrator can say why, and for how long; nothing that is in it is lost."
        )


class Permanent(AuricleError):
    """This input can never work (no audio track, an encrypted container). Trying again is pointless."""
