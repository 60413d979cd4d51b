"""Errors as RFC 9457 problem documents: a stable `type`, and a sentence that a person can act on."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from auricle.errors import AuricleError, Permanent, Rejected, Retryable, Suspended, TooMany

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:auricle:problem:"
UNEXPECTED = "Something went wrong on our side. It is logged with the request id; try again, and report it if it stays."


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller is told. `type` is stable; `extra` members stand beside the others.

    `headers` are what the answer says besides (a cookie that is to be cleared).
    """

    type: str
    title: str
    status: int
    detail: str
    retry_after: int | None = None
    extra: dict[str, object] = {}
    headers: Mapping[str, str] = {}

    def encoded(self, **more: object) -> bytes:
        """The JSON document; `more` are further members (trace id)."""
        known = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        return msgspec.json.encode({**known, **self.extra, **{k: v for k, v in more.items() if v is not None}}, enc_hook=str)


def problem_of(error: BaseException) -> Problem:
    """The problem that `error` is to the caller of a route. What is unexpected tells nothing of itself."""
    if isinstance(error, Rejected):
        kind = type(error)
        wait = error.extra.get("retry_after") if isinstance(error, TooMany) else None
        return Problem(
            type=_urn(kind.__name__),
            title=kind.title,
            status=kind.status,
            detail=str(error),
            retry_after=wait if isinstance(wait, int) else None,
            extra=error.extra,
            headers=getattr(error, "headers", {}),
        )
    if isinstance(error, Retryable):
        wait = max(1, round(error.delay))
        return Problem(type=_urn("unavailable"), title="Not now", status=503, detail=str(error), retry_after=wait)
    if isinstance(error, Suspended):  # without Retry-After: nobody knows, and programs would only hang
        return Problem(type=_urn("suspended"), title="Suspended", status=503, detail=str(error))
    if isinstance(error, Permanent):
        return Problem(type=_urn("unusable"), title="Cannot be used", status=422, detail=str(error))
    if isinstance(error, AuricleError):
        return Problem(type=_urn("failed"), title="Failed", status=500, detail=str(error))
    return Problem(type=_urn("unexpected"), title="Unexpected error", status=500, detail=UNEXPECTED)


def _urn(name: str) -> str:
    """`NotFound` → `urn:auricle:problem:not-found`."""
    return TYPE_PREFIX + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
