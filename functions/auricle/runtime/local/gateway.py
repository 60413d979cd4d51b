"""The one door of the embedded host: people and browsers on the public port, events on a port of its own.

`python -m auricle.runtime.local.gateway PLAN.json PUBLIC [EVENTS]`, each a `fd:N` or a `host:port`. Serves all API functions
in this process; with `--isolate` (no EVENTS) it passes requests on to each function's own process.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auricle.errors import NotFound
from auricle.ports.blobs import BlobStore
from auricle.runtime.clientheaders import Client, ClientHeaders
from auricle.runtime.local import plan as plans
from auricle.runtime.local.announcing import Announcer
from auricle.runtime.local.application import application
from auricle.runtime.local.parent import watch_parent
from auricle.runtime.local.refusing import refuse
from auricle.runtime.local.serving import BLOBS, listening, serve
from auricle.runtime.local.upkeep import Upkeep
from auricle.runtime.settings import Settings, settings
from auricle.runtime.telemetry import start_logging
from auricle.runtime.wiring import Wiring

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class Gateway:
    """Sends each request where it belongs. What only this host may say is taken off requests from outside, and said anew."""

    def __init__(
        self, functions: WSGIApplication, blobs: WSGIApplication, events_port: int | None, clients: ClientHeaders
    ) -> None:
        """`functions` answer people (and events, on `events_port`); `blobs` serves signed URLs; `clients` says who asks."""
        self._functions = functions
        self._blobs = blobs
        self._events_port = str(events_port)
        self._clients = clients

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        path: str = environ["PATH_INFO"]
        if path.startswith(BLOBS):
            return self._blobs(environ, start_response)
        if environ["SERVER_PORT"] != self._events_port:
            if path.startswith("/events/"):
                return nothing_here(environ, start_response)
            for name in [n for n in environ if n.startswith(("HTTP_X_AURICLE_", "HTTP_CE_"))]:
                del environ[name]
            environ |= self._vouched(environ)
        return self._functions(environ, start_response)

    def _vouched(self, environ: WSGIEnvironment) -> dict[str, str]:
        """The signed headers for the functions, as WSGI spells them."""
        client = Client(
            address=environ.get("REMOTE_ADDR", ""), host=environ.get("HTTP_HOST", ""), scheme=environ.get("wsgi.url_scheme", "")
        )
        found = self._clients.signed(client, environ["REQUEST_METHOD"], environ["PATH_INFO"].encode("latin-1"))
        return {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in found.items()}


def nothing_here(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Events come from the broker, by another port."""
    return refuse(NotFound("There is nothing here. Events are taken from the broker only."), environ, start_response)


def proxy_application(plan: plans.Plan) -> WSGIApplication:
    """Each function in its own process."""
    from auricle.runtime.local.proxy import Proxy

    return Proxy(plan.routes, f"http://127.0.0.1:{plan.broker_port}")


def blobs_application(chosen: Settings, functions: WSGIApplication) -> WSGIApplication:
    """Signed URLs on the data folder; `functions` hear of objects that arrive by themselves.

    With S3 the URLs lead elsewhere and nothing is served here.
    """
    if chosen.s3_endpoint:
        return nothing_here
    from flask import Request

    from auricle.adapters.blobs.filesystem import FilesystemBlobs
    from auricle.runtime.local.blobserver import serve as serve_blob

    store = Wiring(chosen).provide(BlobStore)
    assert isinstance(store, FilesystemBlobs)
    announce = Announcer(functions, chosen.bucket_token)

    def blobs(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return serve_blob(Request(environ), store, announce)(environ, start_response)

    return blobs


def main(arguments: list[str]) -> None:
    """Serve until the supervisor ends us, or is gone."""
    watch_parent()
    plan = plans.read(Path(arguments[0]))
    chosen = settings()
    start_logging(chosen.log_level)
    sockets = [listening(where) for where in arguments[1:]]
    events_port = sockets[1].getsockname()[1] if len(sockets) > 1 else None
    build: Callable[[], Any] = (lambda: proxy_application(plan)) if events_port is None else application
    functions = build()
    gateway = Gateway(functions, blobs_application(chosen, functions), events_port, ClientHeaders(chosen.gateway_key))
    Upkeep(chosen).start()
    serve(gateway, sockets, chosen.threads)


if __name__ == "__main__":
    main(sys.argv[1:])
