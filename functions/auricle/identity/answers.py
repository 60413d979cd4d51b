"""What those who sign in are answered: a session, or which second factor they owe."""

from __future__ import annotations

import msgspec

from auricle.access.sessions import SessionId
from auricle.admin.audit.kinds import Factor
from auricle.contract.http import Reply
from auricle.identity.entering import Issued, Pending


class SignedIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="session"):
    """A sign-in. `access_token` goes into `Authorization: Bearer` for `expires_in` seconds; the cookie renews it.

    `must_change_password`: until another one is chosen, nothing else is answered.
    """

    access_token: str
    expires_in: int
    session_id: SessionId
    must_change_password: bool
    token_type: str = "Bearer"  # noqa: S105 - RFC 6750's word


class FactorOwed(msgspec.Struct, frozen=True, kw_only=True, tag_field="answer", tag="pending"):
    """No session yet. `pending` goes into `Authorization: Bearer` for `expires_in` seconds, and opens `/api/mfa` alone.

    `factors`: what can be shown there; `enrol`: there is none yet, and one must be enrolled first.
    """

    pending: str
    expires_in: int
    factors: tuple[Factor, ...]
    enrol: bool


def told(outcome: Issued | Pending, status: int = 201) -> Reply[SignedIn | FactorOwed]:
    """The answer: `status` with a session and its cookies, or 200 with what is owed."""
    if isinstance(outcome, Issued):
        return Reply(session_of(outcome), status=status, cookies=outcome.cookies)
    owed = FactorOwed(pending=outcome.token, expires_in=outcome.seconds, factors=outcome.factors, enrol=outcome.enrol)
    return Reply(owed, secret=True)


def renewed(issued: Issued) -> Reply[SignedIn]:
    """A session that goes on under new tokens."""
    return Reply(session_of(issued), cookies=issued.cookies)


def session_of(issued: Issued) -> SignedIn:
    """A session as its client is told of it."""
    return SignedIn(
        access_token=issued.access_token,
        expires_in=issued.seconds,
        session_id=issued.session.id,
        must_change_password=issued.account.must_change,
    )
