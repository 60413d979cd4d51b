"""A browser at the house's door: cookies, an address of its own, and pages of ours in it."""

from __future__ import annotations

from http.cookies import SimpleCookie
from itertools import count
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Response

from auricle.access.permissions import Role
from builders.house import House
from builders.oidc_provider import CLIENT, SECRET, SmallProvider
from builders.persons import Person, person

PUBLIC_URL = "http://127.0.0.1:8787"
PAGE = {"Origin": PUBLIC_URL, "Sec_Fetch_Site": "same-origin"}
_NEIGHBOURS = count(1)


class Visitor:
    """One browser."""

    def __init__(self, home: House, address: str = "") -> None:
        number = next(_NEIGHBOURS)
        self.home = home
        self.address = address or f"198.51.{number // 250}.{number % 250 + 1}"
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Any = None, *, bearer: str = "", **headers: str) -> Response:
        """One request, with the cookies that there are."""
        sent = {"Authorization": f"Bearer {bearer}" if bearer else "", **headers}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with self.home.coming_from(self.address):
            answer = self.home.raw(method, path, body, **sent)
        for line in answer.headers.getlist("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer

    def leave(self, provider: str = "small", **query: str) -> str:
        """Begin to sign in; where the browser is sent."""
        answer = self.ask("GET", f"/api/sign-in/{provider}?{urlencode(query)}")
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return answer.headers["Location"]

    def come_back(self, pairs: list[tuple[str, str]], provider: str = "small", **headers: str) -> Response:
        """Be sent back with `pairs` in the address."""
        return self.ask("GET", f"/api/sign-in/{provider}/callback?{urlencode(pairs)}", **headers)

    def sign_in(self, small: SmallProvider, name: str = "alice", provider: str = "small", **query: str) -> Response:
        """There and back."""
        return self.come_back(small.sign_in(self.leave(provider, **query), name), provider)

    def token(self) -> str:
        """An access token for the page that the browser is on."""
        answer = self.ask("POST", "/api/session/refresh", **PAGE)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return str(answer.get_json()["access_token"])

    def me(self) -> dict[str, Any]:
        """Who the page is told that it belongs to."""
        answer = self.ask("GET", "/api/me", bearer=self.token())
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return dict(answer.get_json())


def administrator(home: House) -> Person:
    """Somebody who may set up ways to sign in."""
    return person(home.bound.wiring, Role.ADMIN, "admin")


def set_up(home: House, kind: str, id: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    """Set up a way to sign in, over the API; what it answers. What was set up before under the id is gone."""
    admin = administrator(home)
    path = f"/api/settings/{kind}/{id}" if id else f"/api/settings/{kind}"
    home.raw("DELETE", path, **_last(home, path, admin), **admin.headers)
    answer = home.raw("PUT", path, body, **admin.headers)
    assert answer.status_code == status, answer.get_data(as_text=True)
    return dict(answer.get_json())


def provider_body(small: SmallProvider, id: str = "small", **more: Any) -> dict[str, Any]:
    """A small provider as an administrator sets it up."""
    small.redirect_uri, small.signed_out = f"{PUBLIC_URL}/api/sign-in/{id}/callback", f"{PUBLIC_URL}/signed-out"
    known = {"id": id, "name": "Small", "issuer": small.url, "client_id": CLIENT, "client_secret": SECRET}
    return {**known, "admission": {"domains": ["example.test"]}, **more}


def origin(url: str) -> str:
    """Scheme and host of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _last(home: House, path: str, admin: Person) -> dict[str, str]:
    tag = home.raw("GET", path, **admin.headers).headers.get("ETag")
    return {"If_Match": tag} if tag else {}
