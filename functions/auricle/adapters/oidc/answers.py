"""What a provider's refusals mean to a person, and that an answer came from the provider that was asked."""

from __future__ import annotations

import re
from typing import NoReturn

from auricle.adapters.oidc.metadata import Metadata
from auricle.errors import Permanent, Retryable, Unauthenticated
from auricle.ports.oidc import Callback, Refusal

OURS = ("invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "request_not_supported")
"""Errors that only an administrator can mend."""
THEIRS = ("server_error", "temporarily_unavailable")
AGAIN = ("login_required", "interaction_required", "account_selection_required", "consent_required")


def came_from(callback: Callback, metadata: Metadata) -> None:
    """Refuse an answer of another provider than the one that was asked (mix-up, RFC 9207 §2.4): errors too."""
    if callback.iss is None and not metadata.authorization_response_iss_parameter_supported:
        return
    if callback.iss != metadata.issuer:
        raise Unauthenticated(
            "This answer is not from the identity provider that was asked. Begin again, and tell your administrator.",
            reason=Refusal.ISSUER.value,
        )


def callback_refused(error: str, host: str) -> NoReturn:
    """What the `error` of an authorization response means. Its description is not repeated: anybody can write one."""
    if error in THEIRS:
        raise Retryable(f"{host} cannot sign anybody in now. Try again in a minute.", delay=60)
    if error in OURS:
        raise Permanent(
            f"{host} does not accept how this client is set up ({error}). An administrator must correct its settings."
        )
    sentences = {"access_denied": f"You did not sign in at {host}, or it does not let you in here."}
    again = f"{host} wants you to sign in there first. Begin again."
    raise Unauthenticated(
        again if error in AGAIN else sentences.get(error, f"{host} refused this sign-in. Begin again."),
        reason=Refusal.PROVIDER_REFUSED.value,
        provider_error=named(error),
    )


def exchange_refused(error: str, host: str, *, refreshing: bool, cause: BaseException) -> NoReturn:
    """What the `error` of a token answer means (RFC 6749 §5.2)."""
    if error in THEIRS:
        raise Retryable(f"{host} cannot sign anybody in now. Try again in a minute.", delay=60) from cause
    if error == "invalid_grant" and refreshing:
        raise Unauthenticated(f"You are no longer signed in at {host}. Sign in again.", reason=Refusal.ENDED.value) from cause
    if error == "invalid_grant":
        raise Unauthenticated(
            f"{host} did not accept this sign-in: it took too long, or was finished before. Begin again.",
            reason=Refusal.CODE.value,
        ) from cause
    raise Permanent(
        f"{host} does not accept this client's credentials or request ({named(error)}). An administrator must correct them."
    ) from cause


def named(error: str) -> str:
    """An error code as it may be shown and logged: the characters such codes are made of, and not many."""
    return error if re.fullmatch(r"[a-zA-Z0-9_.\-]{1,64}", error) else "unknown"
