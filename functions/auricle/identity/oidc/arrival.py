"""From leaving for a provider to coming back: what is kept meanwhile, what may come back, and where it may lead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import unquote
from uuid import UUID

from auricle.errors import Denied, Unauthenticated
from auricle.ports.oidc import Authorization, Callback, Expected, Refusal

HOME = "/"
MAX_RETURN = 2048
"""Characters: as long as an address may be everywhere."""
PENDING_LIFE = timedelta(minutes=10)
"""Long enough for a second factor there, short enough that a forgotten sign-in is worth nothing."""
KNOWN = ("state", "code", "iss", "error")
MAX_DECODINGS = 3
"""Nobody encodes an address of ours more than once; whoever does means to hide something."""
NEVER_FIRST = ("api",)
"""Answers of the API are no pages: signing in must not end in a call."""


@dataclass(frozen=True, kw_only=True)
class PendingSignIn:
    """A sign-in on its way, found again by the browser's own cookie and used once.

    `linking`: the signed-in person who asked to link this provider, in `session`; None for a sign-in. `invitation`: the secret
    of one that they brought along.
    """

    provider: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    redirect_uri: str
    begun_at: datetime
    return_to: str = HOME
    linking: UUID | None = None
    session: UUID | None = None
    invitation: str | None = field(default=None, repr=False)
    max_age: int | None = None


def pending(
    provider: str,
    sent: Authorization,
    redirect_uri: str,
    now: datetime,
    *,
    return_to: str | None = None,
    linking: UUID | None = None,
    session: UUID | None = None,
    invitation: str | None = None,
    max_age: int | None = None,
) -> PendingSignIn:
    """What to keep of a sign-in that has just been begun; `return_to` is as the browser asked, and made safe."""
    return PendingSignIn(
        provider=provider,
        state=sent.state,
        nonce=sent.nonce,
        code_verifier=sent.code_verifier,
        redirect_uri=redirect_uri,
        begun_at=now,
        return_to=same_site(return_to),
        linking=linking,
        session=session,
        invitation=invitation,
        max_age=max_age,
    )


def expected(kept: PendingSignIn | None, provider: str, now: datetime, signed_in: UUID | None) -> Expected:
    """What to hold the answer of `provider` against.

    `kept` None: the browser has no such cookie, or it was used. `signed_in`: who the browser's session belongs to now; a link
    is finished only by the person who began it.
    """
    if kept is None or kept.provider != provider or not timedelta() <= now - kept.begun_at <= PENDING_LIFE:
        raise Unauthenticated(
            "This sign-in was not begun in this browser, or it is over already. Begin again.", reason=Refusal.STATE.value
        )
    if kept.linking is not None and kept.linking != signed_in:
        raise Denied("Only the person who began to link an account can finish it. Sign in as that person and begin again.")
    return Expected(
        state=kept.state,
        nonce=kept.nonce,
        code_verifier=kept.code_verifier,
        redirect_uri=kept.redirect_uri,
        max_age=kept.max_age,
    )


def callback(query: Iterable[tuple[str, str]]) -> Callback:
    """The authorization response in a query; a parameter that stands there twice is refused (RFC 6749 §3.1)."""
    found: dict[str, str] = {}
    for name, value in query:
        if name not in KNOWN:
            continue
        if name in found:
            raise Unauthenticated(
                "The identity provider's answer holds one thing twice. Begin again.", reason=Refusal.REPEATED.value
            )
        found[name] = value
    return Callback(**found)


def same_site(wanted: str | None) -> str:
    """`wanted`, if it is the path of a page of ours (with query and fragment, perhaps); else the first page.

    Whatever a browser, a proxy or the web client could take for another host, for a step out of the path or for a call of the
    API is not followed: a sign-in must never end on somebody else's page (CWE-601).
    """
    return wanted if wanted is not None and _is_page(wanted) else HOME


def _is_page(wanted: str) -> bool:
    if not 0 < len(wanted) <= MAX_RETURN or not _plain(wanted) or not wanted.startswith("/"):
        return False
    path = wanted.partition("#")[0].partition("?")[0]
    for _ in range(MAX_DECODINGS):
        if not _is_path(path):
            return False
        path, before = unquote(path), path
        if path == before:
            return True
    return False


def _is_path(path: str) -> bool:
    """Whether `path`, decoded so far, stays what it seems: no empty, hidden or upward step, no host."""
    steps = path.split("/")[1:]
    hidden = any(step in (".", "..") or (step == "" and place < len(steps) - 1) for place, step in enumerate(steps))
    return (
        path.isprintable() and not hidden and not any(sign in path for sign in "\\@;") and steps[0].lower() not in NEVER_FIRST
    )


def _plain(text: str) -> bool:
    """Printable ASCII without blanks and backslashes: all that a well-formed address holds."""
    return text.isascii() and text.isprintable() and not any(sign in text for sign in ' \\"<>')
