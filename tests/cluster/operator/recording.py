"""Stands between the operator and the API server, and writes down what was asked for, as RBAC sees it.

Requests go on as a ServiceAccount's: what its role does not allow is refused by the real server. `unused` and `missing` compare
what was asked with what the role allows.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

from cluster.deployment import kubectl

VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-connection", "host"}
OF_NAMESPACES = ("status", "finalize")
"""Subresources of a namespace itself; anything else after its name is something in it."""


@dataclass(frozen=True, order=True)
class Asked:
    """One right, as a role names it. `resource` has its subresource: `pods/log`."""

    verb: str
    group: str
    resource: str
    namespaced: bool = True

    @property
    def right(self) -> tuple[str, str, str]:
        """Without where: a ClusterRole allows in all namespaces and outside of them."""
        return self.group, self.resource, self.verb

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}"


def asked(method: str, target: str, status: int = 200) -> tuple[Asked, ...]:
    """What a request needs to be allowed (k8s.io/apiserver, RequestInfoFactory); nothing for paths that are no resources.

    An apply (PATCH) or PUT that made its object, which its `status` 201 tells, was asked for `create`, too.
    """
    url = urlsplit(target)
    parts = [part for part in url.path.split("/") if part]
    if len(parts) < 3 or parts[0] not in ("api", "apis") or (parts[0] == "apis" and len(parts) < 4):
        return ()
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    namespaced = False
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in OF_NAMESPACES:
        namespaced, rest = True, rest[2:]
    resource, name, part = (*rest, "", "")[:3]
    verb = _verb(method, name, parse_qs(url.query))
    first = Asked(verb, group, f"{resource}/{part}" if part else resource, namespaced)
    made = verb in ("patch", "update") and status == 201
    return (first, Asked("create", group, first.resource, namespaced)) if made else (first,)


def _verb(method: str, name: str, query: Mapping[str, Sequence[str]]) -> str:
    verb = VERBS[method]
    if verb == "get" and query.get("watch", ["false"])[0] not in ("false", "0"):
        return "watch"
    if not name:
        return {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    return verb


def allowed(rules: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str]]:
    """(group, resource, verb) that a role's rules name. A star stays a star: nobody asks for that."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


def unused(rules: Iterable[Mapping[str, Any]], recorded: Iterable[Asked]) -> list[tuple[str, str, str]]:
    """(group, resource, verb) that a role allows and nobody asked for."""
    return sorted(allowed(rules) - {each.right for each in recorded})


def missing(rules: Iterable[Mapping[str, Any]], recorded: Iterable[Asked]) -> list[tuple[str, str, str]]:
    """(group, resource, verb) that was asked for and the role does not allow."""
    granted = allowed(rules)

    def covered(right: tuple[str, str, str]) -> bool:
        group, resource, verb = right
        return any((g, r, v) in granted for g in (group, "*") for r in (resource, "*") for v in (verb, "*"))

    return sorted(right for right in {each.right for each in recorded} if not covered(right))


def recorder_of(account: str, namespace: str) -> Recorder:
    """In front of the lane's API server, as that ServiceAccount, for a day."""
    found = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))["clusters"][0]["cluster"]
    authority = base64.b64decode(found["certificate-authority-data"]).decode()
    token = kubectl("-n", namespace, "create", "token", account, "--duration=24h").strip()
    return Recorder(found["server"], authority, token)


@dataclass
class Recorder:
    """Listens at `url` (plain HTTP, this machine only) while the block runs, and passes everything on to `upstream`."""

    upstream: str  # https://…, of the API server
    authority: str  # PEM of what signed its certificate
    token: str  # of the ServiceAccount in whose name everything goes on
    recorded: dict[Asked, int] = field(default_factory=dict)  # how often
    refused: dict[Asked, int] = field(default_factory=dict)  # those of them that were answered 403
    url: str = ""

    def __enter__(self) -> Self:
        listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)), daemon=True)
        self._thread.start()
        assert listening.wait(10), "The recorder does not listen"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(15)

    def kubeconfig(self, path: Path) -> Path:
        """Writes the file that leads here; whoever uses it needs no credentials."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "recorded", "cluster": {"server": self.url}}],
            "users": [{"name": "nobody", "user": {"token": "exchanged-on-the-way"}}],
            "contexts": [{"name": "recorded", "context": {"cluster": "recorded", "user": "nobody"}}],
            "current-context": "recorded",
        }
        path.write_text(json.dumps(config))
        return path

    async def _serve(self, listening: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        trust = ssl.create_default_context(cadata=self.authority)
        forever = ClientTimeout(total=None, sock_connect=10)  # watches say nothing for minutes
        connector = TCPConnector(ssl=trust, limit=0)
        async with ClientSession(connector=connector, timeout=forever, auto_decompress=False) as session:
            self._session = session
            # handler_cancellation: a watch whose client has left ends upstream, too.
            app = web.Application(client_max_size=64 << 20)
            app.router.add_route("*", "/{path:.*}", self._pass_on)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, auto_decompress=False, handler_cancellation=True)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = "http://{}:{}".format(*runner.addresses[0][:2])
            listening.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        target = request.raw_path
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        headers["Authorization"] = f"Bearer {self.token}"
        sent = self._session.request(
            request.method, URL(self.upstream + target, encoded=True), headers=headers, data=await request.read() or None
        )
        async with sent as answer:
            self._write_down(asked(request.method, target, answer.status), refused=answer.status == 403)
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
            passed = web.StreamResponse(status=answer.status, headers=kept)
            await passed.prepare(request)
            with suppress(ConnectionResetError, ClientConnectionError):  # whoever watched has left, or the server ends
                async for piece in answer.content.iter_any():
                    await passed.write(piece)
                await passed.write_eof()
        return passed

    def _write_down(self, these: Iterable[Asked], *, refused: bool) -> None:
        for each in these:
            self.recorded[each] = self.recorded.get(each, 0) + 1
            if refused:
                self.refused[each] = self.refused.get(each, 0) + 1
