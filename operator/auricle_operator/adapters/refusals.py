"""What the API server's answers mean to whoever asked: try again, the namespace is ending, or a person has to act.

Sentences are the server's own (webhooks, CEL rules, quotas), with the object before them. Of a Secret no answer is repeated
that could quote what it holds: decoders do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec
from lightkube.core.exceptions import ApiError, ConfigError

from auricle.errors import Permanent, Retryable
from auricle_operator.cluster import NAMESPACE, SECRET, Gone, Kind

CONFLICT_DELAY = 1.0
"""Seconds: somebody else wrote at the same moment."""
BUSY = (408, 410, 425, 429)
"""Statuses that pass: timeouts, a list whose pages expired, too many requests."""
MISTYPED = "failed to create typed patch object"
"""How the server answers 500 to an apply whose fields have other types than its schema says: no trying again mends that."""
LONGEST = 2000
"""Characters of a sentence that reach a condition: a webhook may answer with a whole schema."""


class Absent(Exception):
    """There is no such object."""


class AlreadyThere(Exception):
    """An object of that name is there."""


@contextmanager
def translated(kind: Kind, name: str, namespace: str | None) -> Iterator[None]:
    """Raises `Retryable`, `Permanent`, `Gone`, `Absent` or `AlreadyThere` for what the client raises inside."""
    about = described(kind, name, namespace)
    try:
        yield
    except httpx2.HTTPStatusError as error:
        raised = _raised(error, kind, about)
        # The cause of a Secret's would be printed with its traceback.
        raise raised from (None if kind == SECRET else error)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise Retryable(f"The API server does not answer ({type(error).__name__}): {about} waits.") from error
    except (msgspec.DecodeError, KeyError) as error:  # cut off, or not JSON and without saying what it is instead
        raise Retryable(f"The API server's answer about {about} cannot be read.") from error
    except ConfigError as error:  # the file with the token is being exchanged
        raise Retryable(f"The operator has no token for the API server at the moment: {error}.") from error


def described(kind: Kind, name: str, namespace: str | None) -> str:
    """`ConfigMap auricle-acme/settings`, as sentences name an object."""
    place = f"{namespace}/" if namespace else ""
    return f"{kind.name} {place}{name}".rstrip("/")


def _raised(error: httpx2.HTTPStatusError, kind: Kind, about: str) -> Exception:
    code = error.response.status_code
    said = _said(error, kind)
    match code:
        case 404:
            return _missing(error, kind, about)
        case 403 if "NamespaceTerminating" in _causes(error):
            return Gone(f"{about}: its namespace is ending.")
        case 409 if _reason(error) == "AlreadyExists":
            return AlreadyThere(about)
        case 409:
            return Retryable(f"{about} is being changed by somebody else: {said}", delay=CONFLICT_DELAY)
        case 401:
            return Retryable("The API server does not accept the operator's token. Look at its ServiceAccount if this stays.")
        case _ if (code >= 500 or code in BUSY) and MISTYPED not in str(error):
            return Retryable(f"The API server cannot take {about} now ({code}): {said}", delay=_delay(error))
        case _:
            return Permanent(f"{about} is refused: {said}")


def _missing(error: httpx2.HTTPStatusError, kind: Kind, about: str) -> Exception:
    details = _details(error)
    if details.get("kind") == NAMESPACE.plural and kind != NAMESPACE:
        return Gone(f"{about}: the namespace {details.get('name', '')} is not there.")
    if details.get("name"):
        return Absent(about)
    # The whole kind is missing, which a reconcile must not take for "no such object".
    return Permanent(
        f"The cluster does not know {kind.plural} of {kind.api_version}. Install what brings them, then try again."
    )


def _said(error: httpx2.HTTPStatusError, kind: Kind) -> str:
    if kind == SECRET:
        fields = ", ".join(field for field in _fields(error) if field)
        return (_reason(error) or f"status {error.response.status_code}") + (f" ({fields})" if fields else "")
    sentence = error.status.message if isinstance(error, ApiError) else error.response.text
    return " ".join((sentence or f"status {error.response.status_code}").split())[:LONGEST]


def _reason(error: httpx2.HTTPStatusError) -> str:
    return (error.status.reason or "") if isinstance(error, ApiError) else ""


def _details(error: httpx2.HTTPStatusError) -> dict[str, Any]:
    found = error.response.json().get("details") if isinstance(error, ApiError) else None
    return dict(found or {})


def _causes(error: httpx2.HTTPStatusError) -> set[str]:
    return {cause.get("reason", "") for cause in _details(error).get("causes") or ()}


def _fields(error: httpx2.HTTPStatusError) -> list[str]:
    return [cause.get("field", "") for cause in _details(error).get("causes") or ()]


def _delay(error: httpx2.HTTPStatusError) -> float:
    """Seconds that the server asks for; 5 where it asks for none, or for a date."""
    asked = error.response.headers.get("Retry-After") or _details(error).get("retryAfterSeconds")
    try:
        return min(max(float(asked or ""), 0.5), 300.0)
    except ValueError:
        return 5.0
