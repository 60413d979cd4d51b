"""The house on a real port, and as much of a browser as its pages need."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any

import flask
import urllib3
from werkzeug.serving import make_server

from auricle.runtime.clientheaders import ClientHeaders
from auricle.runtime.local.gateway import Gateway, nothing_here
from builders.house import GATEWAY_KEY, House


@contextmanager
def open_door(home: House, port: int = 0, *, gateway: bool = True) -> Iterator[str]:
    """Serve the house on loopback; its address. With `gateway` behind the embedded host's own, else as a function stands."""
    app = flask.Flask("door")
    rule = {"view_func": lambda path="": home.bound(flask.request), "methods": ["GET", "POST", "PUT", "PATCH", "DELETE"]}
    app.add_url_rule("/", **rule)  # type: ignore[arg-type]
    app.add_url_rule("/<path:path>", endpoint="rest", **rule)  # type: ignore[arg-type]
    front = Gateway(app, nothing_here, None, ClientHeaders(GATEWAY_KEY)) if gateway else app
    server = make_server("127.0.0.1", port, front, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()


class Page:
    """A browser on a page of ours. `ask` is what its script does, `open` what its address line does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies: dict[str, str] = {}
        self.bearer = ""

    def open(self, url: str) -> urllib3.BaseHTTPResponse:
        """Go somewhere; no redirect is followed."""
        return self._sent("GET", url if "://" in url else self.url + url, None, {"Sec-Fetch-Site": "none"})

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Call the API; the JSON answer."""
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer}"
        answer = self._sent(method, self.url + path, body, headers)
        assert answer.status == status, answer.data
        return json.loads(answer.data) if answer.data else None

    def sign_in(self) -> dict[str, Any]:
        """Take up what the cookie holds; who one is then."""
        self.bearer = ""
        self.bearer = self.ask("POST", "/api/session/refresh")["access_token"]
        return dict(self.ask("GET", "/api/me"))

    def alive(self) -> bool:
        """Whether the page's access token is still worth something."""
        headers = {"Authorization": f"Bearer {self.bearer}"}
        return self._sent("GET", f"{self.url}/api/me", None, headers).status == 200

    def _sent(self, method: str, url: str, body: Any, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        sent = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body), "application/json"
        answer = urllib3.request(method, url, body=data, headers=sent, redirect=False, retries=False, timeout=60)
        for line in answer.headers.getlist("Set-Cookie"):
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        return answer
