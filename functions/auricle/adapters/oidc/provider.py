"""One OpenID Connect provider, spoken to by Authlib."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus, urlsplit

from authlib.common.urls import add_params_to_uri  # type: ignore[import-untyped]
from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.base import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.client import OAuth2Client  # type: ignore[import-untyped]

from auricle.adapters.oidc import claims, tokens
from auricle.adapters.oidc.answers import callback_refused, came_from, exchange_refused
from auricle.adapters.oidc.http import Limits, Web
from auricle.adapters.oidc.keys import Keys
from auricle.adapters.oidc.metadata import Discovery
from auricle.errors import Invalid, Permanent, Unauthenticated
from auricle.ports.oidc import (
    Authorization,
    Callback,
    ClientAuthentication,
    Connection,
    CredentialAnswer,
    Expected,
    ExternalIdentity,
    LoggedOut,
    ProviderFacts,
    Refusal,
    SignIn,
)

MAX_CODE = 8192
REFUSES_CLIENT = ("invalid_client", "unauthorized_client")


class OpenIdProvider:
    """`ports.oidc.OidcProvider` over HTTP. `now` gives seconds since 1970, `monotonic` ages the caches."""

    def __init__(
        self,
        connection: Connection,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        limits: Limits | None = None,
    ) -> None:
        self._connection = connection
        self._now = now
        self._web = Web(connection.ca_pem, limits)
        self._discovery = Discovery(self._web, connection.issuer, monotonic)
        self._keys = Keys(self._web, lambda: self._discovery.get().jwks_uri, monotonic)

    def begin(self, redirect_uri: str, *, max_age: int | None = None) -> Authorization:
        """See `OidcProvider.begin`."""
        self._registered(redirect_uri)
        state, nonce, verifier = (secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))
        more = {} if max_age is None else {"max_age": str(max_age)}
        url, _ = self._client(redirect_uri).create_authorization_url(
            self._discovery.get().authorization_endpoint, state=state, nonce=nonce, code_verifier=verifier, **more
        )
        return Authorization(url=url, state=state, nonce=nonce, code_verifier=verifier)

    def finish(self, callback: Callback, expected: Expected) -> SignIn:
        """See `OidcProvider.finish`."""
        if not tokens.same(callback.state, expected.state):
            raise Unauthenticated(
                "This sign-in was not begun in this browser, or it is over already. Begin again.", reason=Refusal.STATE.value
            )
        self._registered(expected.redirect_uri)
        metadata = self._discovery.get()
        came_from(callback, metadata)
        if callback.error is not None:
            callback_refused(callback.error, self._host)
        if not callback.code or len(callback.code) > MAX_CODE:
            tokens.refuse(Refusal.MALFORMED, "answer")
        answer = self._exchange(
            lambda client: client.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=callback.code,
                redirect_uri=expected.redirect_uri,
                code_verifier=expected.code_verifier,
            ),
            expected.redirect_uri,
        )
        raw, access = answer.get("id_token"), _text(answer, "access_token")
        if not isinstance(raw, str):
            raise Unauthenticated(
                f"{self._host} gave no ID token: its client needs the scope openid. Tell your administrator.",
                reason=Refusal.NO_ID_TOKEN.value,
            )
        wanted = tokens.Wanted(now=self._seconds(), nonce=expected.nonce, max_age=expected.max_age, access_token=access)
        told = tokens.id_token(raw, self._keys, self._connection, wanted)
        userinfo = None if claims.tells_all(self._connection, told) else self._userinfo(answer, told["sub"])
        who = claims.identity(self._connection, told, userinfo, raw)
        return SignIn(identity=who, refresh_token=_text(answer, "refresh_token"))

    def refresh(self, refresh_token: str, identity: ExternalIdentity) -> SignIn:
        """See `OidcProvider.refresh`."""
        endpoint = self._discovery.get().token_endpoint
        answer = self._exchange(lambda client: client.refresh_token(endpoint, refresh_token=refresh_token, scope=None))
        raw, told = answer.get("id_token"), None
        if isinstance(raw, str):
            wanted = tokens.Wanted(now=self._seconds(), access_token=_text(answer, "access_token"))
            told = tokens.id_token(raw, self._keys, self._connection, wanted)
            if told["sub"] != identity.subject:
                tokens.refuse(Refusal.SUBJECT)
        complete = told is not None and claims.tells_all(self._connection, told)
        userinfo = None if complete else self._userinfo(answer, identity.subject)
        who = claims.renewed(identity, self._connection, told, userinfo, raw if told else None)
        return SignIn(identity=who, refresh_token=_text(answer, "refresh_token") or refresh_token)

    def logout_url(self, id_token_hint: str | None, post_logout_redirect_uri: str, state: str) -> str | None:
        """See `OidcProvider.logout_url`."""
        if post_logout_redirect_uri not in self._connection.post_logout_redirect_uris:
            raise Invalid("That is not an address to which this provider may send people after they signed out.")
        endpoint = self._discovery.get().end_session_endpoint
        if endpoint is None:
            return None
        params = {
            "client_id": self._connection.client_id,
            "post_logout_redirect_uri": post_logout_redirect_uri,
            "state": state,
            **({"id_token_hint": id_token_hint} if id_token_hint else {}),
        }
        return str(add_params_to_uri(endpoint, list(params.items())))

    def back_channel(self, logout_token: str) -> LoggedOut:
        """See `OidcProvider.back_channel`."""
        return tokens.logout_token(logout_token, self._keys, self._connection, self._seconds())

    def probe(self) -> ProviderFacts:
        """See `OidcProvider.probe`."""
        metadata = self._discovery.read()
        return ProviderFacts(
            issuer=metadata.issuer,
            signs_with=metadata.id_token_signing_alg_values_supported,
            pkce_methods=metadata.code_challenge_methods_supported,
            authentication_methods=metadata.token_endpoint_auth_methods_supported,
            scopes=metadata.scopes_supported,
            usable_keys=len(Keys(self._web, lambda: metadata.jwks_uri, time.monotonic).read()),
            names_itself=metadata.authorization_response_iss_parameter_supported,
            userinfo=metadata.userinfo_endpoint is not None,
            logout=metadata.end_session_endpoint is not None,
            back_channel_logout=metadata.backchannel_logout_supported,
            credentials=self._try_credentials(metadata.token_endpoint),
        )

    def _try_credentials(self, token_endpoint: str) -> CredentialAnswer:
        """Exchange a made-up code: a provider looks at the client first, and then at the code."""
        redirect_uri = next(iter(self._connection.redirect_uris), None)
        try:
            self._client(redirect_uri).fetch_token(
                token_endpoint,
                grant_type="authorization_code",
                code=secrets.token_urlsafe(16),
                code_verifier=secrets.token_urlsafe(48),
            )
        except OAuth2Error as error:
            answers = {"invalid_grant": CredentialAnswer.ACCEPTED, **dict.fromkeys(REFUSES_CLIENT, CredentialAnswer.REFUSED)}
            return answers.get(str(error.error), CredentialAnswer.UNCLEAR)
        except (Permanent, ValueError):
            pass
        return CredentialAnswer.UNCLEAR

    @property
    def _host(self) -> str:
        return urlsplit(self._connection.issuer).netloc

    def _seconds(self) -> int:
        return int(self._now())

    def _registered(self, redirect_uri: str) -> None:
        if redirect_uri not in self._connection.redirect_uris:
            raise Invalid("That is not an address to which this provider may send people back.")

    def _client(self, redirect_uri: str | None = None) -> Any:
        """Authlib's client: one per exchange, as it keeps the tokens of the last one."""
        connection = self._connection
        client = OAuth2Client(
            self._web,
            client_id=connection.client_id,
            client_secret=connection.client_secret,
            token_endpoint_auth_method=connection.authentication.value,
            scope=" ".join(connection.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        if connection.authentication is ClientAuthentication.BASIC:
            client.client_auth = lambda method: ClientAuth(
                quote_plus(connection.client_id), quote_plus(connection.client_secret or ""), method
            )  # form-encoded first (RFC 6749 §2.3.1), which Authlib leaves to its caller
        return client

    def _exchange(self, ask: Callable[[Any], Any], redirect_uri: str | None = None) -> dict[str, Any]:
        try:
            return dict(ask(self._client(redirect_uri)))
        except OAuth2Error as error:
            exchange_refused(str(error.error), self._host, refreshing=redirect_uri is None, cause=error)
        except ValueError as error:
            raise Permanent(f"The token endpoint of {self._host} did not answer with JSON. Tell your administrator.") from error

    def _userinfo(self, answer: dict[str, Any], subject: str) -> dict[str, Any] | None:
        """The claims behind the access token, if they are to be asked for and are about `subject` (Core §5.3.2)."""
        endpoint, access = self._discovery.get().userinfo_endpoint, _text(answer, "access_token")
        bearer = str(answer.get("token_type", "")).lower() == "bearer"
        if not (self._connection.ask_userinfo and endpoint and access and bearer):
            return None
        told = self._web.get(endpoint, {"Authorization": f"Bearer {access}"}).document()
        if told.get("sub") != subject:
            tokens.refuse(Refusal.SUBJECT, "userinfo")
        return told


def _text(answer: dict[str, Any], name: str) -> str | None:
    """A token of an answer that can stand in a header or a form: printable ASCII."""
    value = answer.get(name)
    return value if isinstance(value, str) and value and value.isascii() and value.isprintable() else None
