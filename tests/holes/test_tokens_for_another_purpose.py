"""Holes of tokens: one kind taken for another, headers and keys of an attacker's choice, tokens out of their time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auricle.ports.signing import KeySet, TokenKind, TokenSigner
from builders.house import House
from builders.members import by_password, held, member, with_app
from builders.newcomers import OTHER, from_somewhere, newcomer, sign_in, token
from builders.oidc_provider import Door, serving
from builders.signing import forged, somebody_elses, word
from builders.visitor import PAGE

PROBES = (
    *(("GET", "/api/me"), ("GET", "/api/files"), ("GET", "/api/events"), ("GET", "/api/sessions"), ("GET", "/api/tokens")),
    *(
        ("POST", "/api/tokens"),
        ("GET", "/api/users"),
        ("GET", "/api/settings"),
        ("PUT", "/api/me/password"),
        ("DELETE", "/api/session"),
    ),
)
"""A route of each sort, the live line among them."""


def answers(home: House, credential: str) -> set[int]:
    """What each probe says to a credential in `Authorization`."""
    found = set()
    for method, path in PROBES:
        answer = from_somewhere(
            home, method, path, {"name": "x"} if method == "POST" else None, Authorization=f"Bearer {credential}"
        )
        found.add(answer.status_code)
        answer.close()  # the live line has no end
    return found


def me(home: House, credential: str) -> int:
    """What is said to who asks with it, from an address of their own: many bad ones from one are answered 429."""
    return from_somewhere(home, "GET", "/api/me", Authorization=f"Bearer {credential}").status_code


def claims_of(signed: str) -> dict[str, Any]:
    body = signed.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


def test_mfa_half_token_accepted_as_a_session(home: House) -> None:
    ada = member(home)
    app = with_app(home, held(by_password(home, ada)))
    owed = by_password(home, ada)
    assert answers(home, owed.get_json()["pending"]) == {403}
    assert "Set-Cookie" not in owed.headers  # and there is nothing to renew
    whole = from_somewhere(home, "POST", "/api/mfa/verify", {"code": app.backup[0]}, **held(owed))
    assert home.raw("GET", "/api/me", **held(whole)).status_code == 200


def test_refresh_token_accepted_as_access_token(home: House) -> None:
    answer = sign_in(home, newcomer(home, "ren@vault.example")["email"], OTHER)
    refresh = cookie(answer)
    assert refresh.startswith("aurr_")
    assert answers(home, refresh) == {401}
    for place in ("token", "access_token"):  # no credential counts in an address, where logs would keep it
        good = answer.get_json()["access_token"]
        for carried in (refresh, good):
            assert home.raw("GET", f"/api/events?{place}={carried}", Authorization="").status_code == 401
    live = home.raw("GET", "/api/events", **held(answer))
    assert live.status_code == 200
    live.close()


def cookie(answer: Any) -> str:
    line: str = next(line for line in answer.headers.getlist("Set-Cookie") if line.startswith("auricle_refresh="))
    return line.partition(";")[0].partition("=")[2]


def test_token_of_one_kind_accepted_as_another(home: House) -> None:
    """Every kind at every place where some kind is taken: only its own takes it."""
    email = newcomer(home, "kit@vault.example")["email"]
    first = sign_in(home, email, OTHER)
    device = (
        next(line for line in first.headers.getlist("Set-Cookie") if "refresh" not in line).partition(";")[0].partition("=")[2]
    )
    ada = member(home)
    with_app(home, held(by_password(home, ada)))
    personal = home.ask("POST", "/api/tokens", {"name": "script"}, status=201, **held(first))["token"]
    from_somewhere(home, "POST", "/api/password-reset", {"email": email})
    kinds = {
        "access": first.get_json()["access_token"],
        "pending": by_password(home, ada).get_json()["pending"],
        "personal": personal,
        "device": device,
        "reset": token(home, email),
        "refresh": cookie(first),
    }
    chosen = {"password": "nine quiet kettles in a row", "display_name": "X"}

    def linked(path: str, *fields: str) -> Callable[[str], int]:
        return lambda one: from_somewhere(home, "POST", path, {"token": one, **{f: chosen[f] for f in fields}}).status_code

    places: dict[str, Callable[[str], int]] = {
        "session": lambda one: home.raw("GET", "/api/sessions", Authorization=f"Bearer {one}").status_code,
        "token": lambda one: home.raw("GET", "/api/tokens", Authorization=f"Bearer {one}").status_code,
        "factor": lambda one: home.raw("GET", "/api/mfa", Authorization=f"Bearer {one}").status_code,
        "address": linked("/api/me/email/confirm"),
        "invitation": linked("/api/invitations/accept", "password", "display_name"),
        "registration": linked("/api/registration/confirm", "password", "display_name"),
        "renewal": lambda one: (
            home.raw("POST", "/api/session/refresh", Authorization="", Cookie=f"auricle_refresh={one}", **PAGE).status_code
        ),
        "reset": linked("/api/password-reset/complete", "password"),
    }
    taken = {(kind, place) for kind, one in kinds.items() for place, ask in places.items() if ask(one) < 400}
    assert taken == {
        *(("access", "session"), ("access", "token"), ("access", "factor"), ("pending", "factor")),
        *(("personal", "token"), ("reset", "reset")),
    }  # the reset ended the session before its own refresh token was tried
    again = sign_in(home, email, chosen["password"])
    assert places["renewal"](cookie(again)) == 200


@pytest.fixture(scope="module")
def genuine(home: House) -> str:
    return str(by_password(home, member(home)).get_json()["access_token"])


def parts(signed: str) -> tuple[dict[str, Any], bytes]:
    head, body, _ = signed.split(".")
    return json.loads(base64.urlsafe_b64decode(head + "==")), base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def hashed(header: dict[str, Any], payload: bytes, secret: bytes) -> str:
    said = f"{word(json.dumps(header).encode())}.{word(payload)}"
    return f"{said}.{word(hmac.digest(secret, said.encode(), hashlib.sha256))}"


def test_algorithm_confusion(home: House, genuine: str) -> None:
    header, payload = parts(genuine)
    jwk = home.ask("GET", "/.well-known/jwks.json")["keys"][0]
    public = _point(jwk)
    secrets = (
        *(
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ),
        *(json.dumps(jwk).encode(), base64.urlsafe_b64decode(jwk["x"] + "=="), b""),
    )
    tried = [hashed({**header, "alg": alg}, payload, secret) for secret in secrets for alg in ("HS256", "ES256", "hs256")]
    for alg in ("none", "None", "NONE", "nOnE", "", None):
        said = f"{word(json.dumps({**header, 'alg': alg}).encode())}.{word(payload)}"
        tried += [f"{said}.", f"{said}.AA", f"{said}.{genuine.rpartition('.')[2]}"]
    tried += [genuine.rpartition(".")[0] + ".", genuine.rpartition(".")[0] + "." + word(bytes(64))]  # CVE-2022-21449
    assert {me(home, one) for one in tried} == {401}
    assert me(home, genuine) == 200


def _point(jwk: dict[str, str]) -> Any:
    x, y = (int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "==")) for name in "xy")
    return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()


KIDS = (
    *("../../../dev/null", "/dev/null", "file:///dev/null", "' or '1'='1", "x' union select 'AA' --", "$(id)", "\x00", "*", ""),
    *(None, 0, ["a"], {"a": 1}, "x" * 1500),
)


def test_kid_injection(home: House, genuine: str) -> None:
    header, payload = parts(genuine)
    stranger = somebody_elses()
    with listening() as (url, heard):
        for kid in (*KIDS, f"{url}/key"):
            for one in (
                hashed({**header, "alg": "HS256", "kid": kid}, payload, b""),
                hashed({**header, "alg": "HS256", "kid": kid}, payload, b"AA"),
                forged({**header, "kid": kid}, payload, stranger),
            ):
                assert me(home, one) == 401, kid
        assert me(home, forged(header, payload, stranger)) == 401
        assert heard == []


def test_keys_brought_along_or_fetched_by_jku_and_x5u(home: House, genuine: str) -> None:
    header, payload = parts(genuine)
    stranger = somebody_elses()
    numbers = stranger.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "kid": "mine", "x": word(numbers.x.to_bytes(32)), "y": word(numbers.y.to_bytes(32))}
    with listening(json.dumps({"keys": [jwk]}).encode()) as (url, heard):
        brought: list[dict[str, Any]] = [
            *({"jku": url}, {"jku": url, "kid": "mine"}, {"x5u": url}, {"jwk": jwk}, {"jwk": jwk, "kid": "mine"}),
            *({"x5c": ["AA=="]}, {"crit": ["jku"], "jku": url}, {"cty": "JWT"}),
        ]
        for more in brought:
            one = forged({**header, **more}, payload, stranger)
            assert me(home, one) == 401, more
        assert heard == []  # nothing in a token sends us anywhere


def listening(body: bytes = b"{}") -> Any:
    """A server that hears whether anybody comes for a key."""
    heard: list[str] = []

    class Ear(Door):
        def do_GET(self) -> None:  # noqa: N802 - the standard library's name
            heard.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    @contextmanager
    def run() -> Any:
        with serving(Ear) as url:
            yield url, heard

    return run()


MINUTES: dict[str, dict[str, int]] = {
    "expired a minute ago": {"iat": -10, "nbf": -10, "exp": -1},
    "expired a year ago": {"iat": -500_000, "nbf": -500_000, "exp": -499_990},
    "not yet": {"iat": 0, "nbf": 5, "exp": 10},
    "made in the future": {"iat": 5, "nbf": 5, "exp": 10},
    "for ever": {"iat": 0, "nbf": 0, "exp": 500_000},
    "ends before it begins": {"iat": 0, "nbf": 0, "exp": -1},
}


@pytest.mark.parametrize("when", MINUTES)
def test_expired_or_future_tokens(home: House, genuine: str, when: str) -> None:
    """Signed with our own key: a clock that went wrong, or a copy that somebody kept."""
    now = datetime.now(UTC)
    times = {name: int((now + timedelta(minutes=minutes)).timestamp()) for name, minutes in MINUTES[when].items()}
    assert _asked(home, claims_of(genuine) | times) == 401


@pytest.mark.parametrize("missing", ["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "epoch", "sid", "fgp"])
def test_tokens_that_leave_a_claim_out(home: House, genuine: str, missing: str) -> None:
    claims = claims_of(genuine)
    assert _asked(home, claims) == 200  # the attack signs well: what is refused is the claim
    del claims[missing]
    assert _asked(home, claims) == 401


def test_tokens_of_another_house_or_for_another_purpose(home: House, genuine: str) -> None:
    claims = claims_of(genuine)
    for change in (
        {"iss": "https://other.example"},
        {"aud": claims["iss"]},
        {"aud": TokenKind.MFA_PENDING.audience(claims["iss"])},
    ):
        assert _asked(home, claims | change) == 401
    assert _asked(home, claims, TokenKind.MFA_PENDING) == 401


def _asked(home: House, claims: dict[str, Any], kind: TokenKind = TokenKind.ACCESS) -> int:
    signer = home.bound.wiring.provide(TokenSigner)
    signed = signer.sign(kind, json.dumps(claims).encode(), datetime.now(UTC))
    return me(home, signed)


def test_private_keys_published(home: House) -> None:
    document = home.raw("GET", "/.well-known/jwks.json").get_data()
    assert all(
        set(key) <= {"kty", "crv", "x", "y", "kid", "use", "alg", "key_ops", "nbf"} for key in json.loads(document)["keys"]
    )
    assert KeySet.from_document(document).keys
