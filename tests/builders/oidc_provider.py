"""A small OpenID Connect provider on loopback: real HTTP, real keys, real checks of PKCE and client; and bad manners on demand.

It signs in whomever the test names, without a form. `manners` says what is wrong with it, one thing at a time.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import urllib3
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from auricle.ports.oidc import Connection

CLIENT, SECRET = "auricle", "a secret+with/odd:signs%25"
REDIRECT, SIGNED_OUT = "http://127.0.0.1:8000/api/sign-in/small/callback", "http://127.0.0.1:8000/signed-out"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class _Removed:
    """Its name is the same in every process, for tests are named after it."""

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED = _Removed()
"""In place of a claim's value: the claim is left out."""
Pairs = list[tuple[str, str]]
RSA_KEY, STRANGER = (RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS256", "use": "sig"}) for _ in range(2))
"""Made once: one takes a tenth of a second, or longer."""


class Signing(Enum):
    """How a token is signed."""

    HONESTLY = "with the published key"
    NOT_AT_ALL = "alg none"
    STRIPPED = "the signature is cut off"
    PUBLIC_KEY_AS_SECRET = "HS256 with the public key as the secret"
    BY_A_STRANGER = "a stranger's key under our kid"
    KEY_IN_HEADER = "a stranger's key, brought along in the header"


@dataclass(frozen=True)
class Instead:
    """What a path does instead of answering. `drip`: a byte now and then, for ever."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None
    drip: bool = False


@dataclass
class Manners:
    """What is wrong with the provider; as it stands, nothing. Keys of `instead` are paths."""

    signing: Signing = Signing.HONESTLY
    header: dict[str, object] = field(default_factory=dict)
    claims: dict[str, object] = field(default_factory=dict)
    response: dict[str, object] = field(default_factory=dict)
    tokens: dict[str, object] = field(default_factory=dict)
    discovery: dict[str, object] = field(default_factory=dict)
    userinfo: dict[str, object] = field(default_factory=dict)
    keys: list[object] | None = None
    instead: dict[str, Instead] = field(default_factory=dict)


def people() -> dict[str, dict[str, object]]:
    """Who can sign in, as claims."""
    alice = {"sub": "a-1", "email": "alice@example.test", "email_verified": True, "name": "Alice A", "groups": ["staff"]}
    bob = {"sub": "b-2", "email": "bob@example.test", "email_verified": True, "name": "Bob B", "groups": []}
    return {"alice": alice, "bob": bob}


@dataclass
class Grant:
    """A code or a refresh token, and what it stands for."""

    person: str
    nonce: str | None
    sid: str
    challenge: str = ""
    redirect_uri: str = ""
    auth_time: int = 0


@dataclass
class SmallProvider:
    """A running provider. `requests` are the paths that were asked for; `back_channel` is told of logouts.

    `redirect_uri` and `signed_out`: what is registered of its one client.
    """

    url: str = ""
    redirect_uri: str = REDIRECT
    signed_out: str = SIGNED_OUT
    manners: Manners = field(default_factory=Manners)
    people: dict[str, dict[str, object]] = field(default_factory=people)
    key: RSAKey | ECKey = field(default_factory=lambda: RSA_KEY)
    requests: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    authentication: list[str] = field(default_factory=list)
    back_channel: str = ""
    person: str = "alice"
    codes: dict[str, Grant] = field(default_factory=dict)
    refresh_tokens: dict[str, Grant] = field(default_factory=dict)
    access_tokens: dict[str, Grant] = field(default_factory=dict)
    sessions: dict[str, Grant] = field(default_factory=dict)

    def connection(self, **more: object) -> Connection:
        """How to reach it."""
        known: dict[str, object] = {
            "issuer": self.url,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "redirect_uris": (REDIRECT,),
            "post_logout_redirect_uris": (SIGNED_OUT,),
        }
        return Connection(**{**known, **more})  # type: ignore[arg-type]

    def sign_in(self, url: str, person: str = "alice") -> Pairs:
        """Be the browser: follow `url`, and say what it is sent back with."""
        self.person = person
        answer = urllib3.request("GET", url, redirect=False, retries=False)
        assert answer.status == 302, answer.data
        return parse_qsl(urlsplit(answer.headers["Location"]).query, keep_blank_values=True)

    def sign_out(self, url: str) -> str:
        """Be the browser: follow `url`, and say where it is sent."""
        answer = urllib3.request("GET", url, redirect=False, retries=False)
        assert answer.status == 302, answer.data
        return answer.headers["Location"]

    def use_elliptic(self) -> None:
        """Sign with ES256 from now on."""
        self.key = ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "alg": "ES256", "use": "sig"})

    def logout_token(self, **claims: object) -> str:
        """One for alice's session; `claims` replace its own."""
        now = int(time.time())
        told = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": secrets.token_hex(8), "sub": "a-1"}
        return self.signed({**told, "sid": "s-1", "events": {LOGOUT_EVENT: {}}, **claims}, {"typ": "logout+jwt"})

    def signed(self, claims: Mapping[str, object], header: Mapping[str, object] | None = None) -> str:
        """A token in the way that `manners` say."""
        told = kept({**claims, **self.manners.claims})
        head = kept({"alg": self.key.alg, "kid": self.key.kid, "typ": "JWT", **(header or {}), **self.manners.header})
        match self.manners.signing:
            case Signing.NOT_AT_ALL:
                return unsigned({**head, "alg": "none"}, told)
            case Signing.STRIPPED:
                return unsigned(head, told)
            case Signing.PUBLIC_KEY_AS_SECRET:
                return by_public_key({**head, "alg": "HS256"}, told, self.key)
            case Signing.BY_A_STRANGER:
                return encoded(head, told, ECKey.generate_key("P-256") if self.key.key_type == "EC" else STRANGER)
            case Signing.KEY_IN_HEADER:
                stranger = ECKey.generate_key("P-256", {"kid": "mine"})
                return encoded({"alg": "ES256", "kid": "mine", "jwk": stranger.as_dict(private=False)}, told, stranger)
        return encoded(head, told, self.key)

    def metadata(self) -> dict[str, object]:
        """The discovery document."""
        told: dict[str, object] = {
            "issuer": self.url,
            **{f"{name}_endpoint": f"{self.url}/{name}" for name in ("authorization", "token", "userinfo", "end_session")},
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "scopes_supported": ["openid", "profile", "email"],
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            **self.manners.discovery,
        }
        return kept(told)

    def authorize(self, asked: Mapping[str, str]) -> str | None:
        """Where to send the browser; None when the client or its address is not the registered one."""
        if asked.get("client_id") != CLIENT or asked.get("redirect_uri") != self.redirect_uri:
            return None
        answer: dict[str, object] = {"state": asked.get("state", ""), "iss": self.url}
        if asked.get("code_challenge_method") != "S256" or len(asked.get("code_challenge", "")) != 43:
            answer["error"] = "invalid_request"
        else:
            answer["code"] = code = secrets.token_urlsafe(16)
            grant = Grant(
                self.person, asked.get("nonce"), "s-" + secrets.token_hex(4), asked["code_challenge"], self.redirect_uri
            )
            self.codes[code] = self.sessions[grant.sid] = grant
            grant.auth_time = int(time.time())
        answer.update(self.manners.response)
        return f"{self.redirect_uri}?{urlencode(kept(answer))}"

    def token(self, form: Mapping[str, str], basic: str | None) -> tuple[int, dict[str, object]]:
        """What the token endpoint says."""
        if not self._is_client(form, basic):
            return 401, {"error": "invalid_client"}
        if form.get("grant_type") == "refresh_token":
            grant = self.refresh_tokens.pop(form.get("refresh_token", ""), None)
            return (
                self._issue(grant, refreshing=True)
                if grant and grant.sid in self.sessions
                else (400, {"error": "invalid_grant"})
            )
        grant = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if grant is None or padless(digest) != grant.challenge or form.get("redirect_uri") != grant.redirect_uri:
            return 400, {"error": "invalid_grant", "error_description": "<script>the code is not good</script>"}
        return self._issue(grant, refreshing=False)

    def told_of(self, authorization: str) -> dict[str, object] | None:
        """What userinfo says behind an access token."""
        grant = self.access_tokens.get(authorization.removeprefix("Bearer "))
        return {**self.people[grant.person], **self.manners.userinfo} if grant else None

    def end_session(self, asked: Mapping[str, str]) -> str | None:
        """Sign out whom the hint names; tell the back channel; say where to go."""
        hint = json.loads(base64.urlsafe_b64decode(asked["id_token_hint"].split(".")[1] + "=="))
        if asked.get("post_logout_redirect_uri") != self.signed_out:
            return None
        self.sessions.pop(hint["sid"], None)
        if self.back_channel:
            token = self.logout_token(sub=hint["sub"], sid=hint["sid"])
            urllib3.request("POST", self.back_channel, body=urlencode({"logout_token": token}))
        return f"{self.signed_out}?{urlencode({'state': asked.get('state', '')})}"

    def _is_client(self, form: Mapping[str, str], basic: str | None) -> bool:
        self.authentication.append("basic" if basic else "post" if "client_secret" in form else "none")
        if basic:
            name, _, secret = base64.b64decode(basic.removeprefix("Basic ")).decode().partition(":")
            return (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)
        return form.get("client_id") == CLIENT and form.get("client_secret", SECRET) == SECRET

    def _issue(self, grant: Grant, *, refreshing: bool) -> tuple[int, dict[str, object]]:
        now = int(time.time())
        access, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.access_tokens[access] = self.refresh_tokens[refresh] = grant
        claims: dict[str, object] = {
            **self.people[grant.person],
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "sid": grant.sid,
            "auth_time": grant.auth_time,
            "acr": "1",
            "amr": ["pwd", "otp"],
            "at_hash": padless(hashlib.sha256(access.encode()).digest()[:16]),
        }
        if grant.nonce and not refreshing:
            claims["nonce"] = grant.nonce
        answer: dict[str, object] = {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": 300,
        }
        answer = {**answer, "id_token": self.signed(claims), **self.manners.tokens}
        return 200, kept(answer)


def kept(values: Mapping[str, object]) -> dict[str, object]:
    """Without what is removed."""
    return {name: value for name, value in values.items() if value is not REMOVED}


def encoded(header: Mapping[str, object], claims: Mapping[str, object], key: RSAKey | ECKey) -> str:
    """A signed token, with whatever stands in it: no library would make some of these."""
    said = unsigned(header, claims).rstrip(".")
    return f"{said}.{padless(JWSRegistry.algorithms[str(header['alg'])].sign(said.encode(), key))}"


def unsigned(header: Mapping[str, object], claims: Mapping[str, object]) -> str:
    """A token without a signature."""
    return ".".join((padless(json.dumps(header).encode()), padless(json.dumps(claims).encode()), ""))


def by_public_key(header: Mapping[str, object], claims: Mapping[str, object], key: RSAKey | ECKey) -> str:
    """A token that is authentic to whoever takes the published key for a shared secret (CVE-2015-9235 and many after it)."""
    signed = unsigned(header, claims).rstrip(".")
    return f"{signed}.{padless(hmac.new(key.as_pem(private=False), signed.encode(), 'sha256').digest())}"


def padless(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Door(BaseHTTPRequestHandler):
    """A server's side that says nothing on the console."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def small_provider(tls: ssl.SSLContext | None = None) -> Iterator[SmallProvider]:
    """A provider that runs for as long as the block; with `tls`, over HTTPS."""
    provider = SmallProvider()

    class Front(Door):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
            provider.requests.append(path)
            if path in provider.manners.instead:
                self._misbehave(provider.manners.instead[path])
            elif path == "/.well-known/openid-configuration":
                self._say(200, provider.metadata())
            elif path == "/jwks":
                keys = provider.manners.keys
                self._say(200, {"keys": [provider.key.as_dict(private=False)] if keys is None else keys})
            elif path == "/authorization":
                self._send(provider.authorize(query))
            elif path == "/end_session":
                self._send(provider.end_session(query))
            elif path == "/userinfo":
                told = provider.told_of(self.headers.get("Authorization", ""))
                self._say(200 if told else 401, told or {"error": "invalid_token"})
            else:
                self._say(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            path = urlsplit(self.path).path
            provider.requests.append(path)
            if path in provider.manners.instead:
                self._misbehave(provider.manners.instead[path])
            else:
                self._say(*provider.token(dict(parse_qsl(body)), self.headers.get("Authorization")))

        def _say(self, status: int, document: object) -> None:
            self._write(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

        def _send(self, location: str | None) -> None:
            self._write(302 if location else 400, b"", {"Location": location} if location else {})

        def _misbehave(self, instead: Instead) -> None:
            if instead.wait:
                instead.wait.wait(30)
            if not instead.drip:
                self._write(instead.status, instead.body, instead.headers)
                return
            self.close_connection = True
            self._write(200, b"", {"Content-Length": "100000"})
            with contextlib.suppress(OSError):  # whoever asked has heard enough
                for _ in range(200):
                    self.wfile.write(b" ")
                    time.sleep(0.05)

        def _write(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    with serving(Front, tls=tls) as url:
        provider.url = url
        yield provider


@contextlib.contextmanager
def serving(door: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """An HTTP server behind `door`; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), door)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a caller that hangs up is what some tests are about
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextlib.contextmanager
def back_channel() -> Iterator[tuple[str, list[str]]]:
    """Where logouts are told, as our own route would be: its address, and the logout tokens that came."""
    heard: list[str] = []

    class Ear(Door):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            heard.append(dict(parse_qsl(body))["logout_token"])
            self.send_response_only(204)
            self.end_headers()

    with serving(Ear) as url:
        yield url, heard
