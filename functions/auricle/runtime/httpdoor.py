"""The HTTP door: routes, authenticates, authorises, decodes, opens the unit of work, encodes, translates errors.

Routes are plain Python: values in, values out. Writes with an `Idempotency-Key` have their effect once.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from flask import Request, Response
from sqlalchemy import Connection
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule

from auricle.access.actions import Seen, authenticate, authorise, in_session, signed_in, used
from auricle.access.mfa import MfaPolicy
from auricle.access.model import Asking, Known, Principal, Site
from auricle.access.permissions import Grant
from auricle.access.sessions import Limits, Session
from auricle.access.store import SessionStore, Thing, TokenStore
from auricle.admin.audit.trail import Trail
from auricle.admin.configuration.actions import Configuration
from auricle.contract.choices import Guarded, Permission
from auricle.contract.function import Route
from auricle.contract.store import Units
from auricle.errors import AuricleError, Denied, NotFound, Suspended, TooLarge, TooMany, Unauthenticated
from auricle.identity import ratelimits
from auricle.identity.banner.model import Banner, require
from auricle.identity.ratelimits import Caller
from auricle.ports.ephemeral import Ephemeral
from auricle.ports.signing import TokenVerifier
from auricle.runtime import decoding, telemetry
from auricle.runtime.clientheaders import Client, ClientHeaders
from auricle.runtime.encoding import encoded, foreign, problem_response
from auricle.runtime.limits import HEALTH
from auricle.runtime.outbox import OutboxBus
from auricle.runtime.problems import problem_of
from auricle.runtime.refusals import Refusals, actor_of
from auricle.runtime.repeats import once
from auricle.runtime.settings import ApiDocs, Settings
from auricle.runtime.telemetry import trace_id, traced
from auricle.runtime.things import relation, thing_of, watch
from auricle.runtime.wiring import Wiring, needs_unit

log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")


class HttpDoor:
    """The door of some routes."""

    def __init__(self, routes: Iterable[Route], wiring: Wiring) -> None:
        """`wiring` provides what the routes' signatures name."""
        self._wiring = wiring
        self._clients = ClientHeaders(wiring.settings.gateway_key)
        self._refusals = Refusals(wiring)
        self._map = Map(strict_slashes=False, merge_slashes=False)
        for route in _opened(routes, wiring.settings):
            path = route.path.replace("{", "<").replace("}", ">")
            self._map.add(Rule(path, methods=[route.method], endpoint=route))

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        with traced(request.headers.get("traceparent"), "http"), telemetry.request(request.method) as watched:
            client = self._clients.client(
                dict(request.headers.items()), request.method, request.environ["PATH_INFO"].encode("latin-1")
            )
            told: dict[str, str] = {}
            trail: Trail | None = None
            try:
                route, path = self._match(request)
                watched.function, watched.route = route.function, route.path
                if self._wiring.settings.suspended and route.path != HEALTH:
                    raise Suspended  # before anything is asked of the database
                trail = self._refusals.trail(route, _asking(request, client), self._wiring.now)
                response = self._serve(route, path, request, client, told, trail)
            except HTTPException as error:
                response = problem_response(foreign(error))
            except AuricleError as error:
                if isinstance(error, Unauthenticated | Denied):
                    log.info("%s %s refused: %s", request.method, request.path, error, extra=_whence(client))
                response = problem_response(problem_of(self._refusals.answered(error, trail, request, told)))
            except Exception as error:
                log.exception("%s %s failed", request.method, request.path, extra=_whence(client))
                response = problem_response(problem_of(error))
            if trail is not None and trail.has_refusals and self._wiring.settings.database_url:
                trail.write_refusals(self._wiring.provide(Units))  # the request holds no connection any more
            if response.status_code == TooLarge.status:
                # functions-framework reads the rest of a request before it answers, and would fail over the same size.
                request.stream = io.BytesIO()
            response.headers.update(told)
            response.headers["X-Request-Id"] = request_id(request.headers.get("X-Request-Id")) or trace_id() or ""
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Cache-Control", "no-store")
            watched.status = response.status_code
            return response

    def _match(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        adapter = self._map.bind("", url_scheme="http")
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return adapter.match(request.path, method)
        except MethodNotAllowed:
            raise
        except HTTPException:
            raise NotFound(f"There is nothing at {request.path}. The interface is described at /api/docs.") from None

    def _serve(
        self,
        route: Route,
        path: Mapping[str, str],
        request: Request,
        client: Client | None,
        told: dict[str, str],
        trail: Trail,
    ) -> Response:
        asking = _asking(request, client)
        given: dict[Any, Any] = {Client: client, Asking: asking, Trail: trail}
        for name in route.path_parameters:
            given[name] = decoding.path_value(route, name, path[name])
        if route.body:
            decoding.received(request)  # before a connection is held: callers may be slow
        if route.permission is Permission.PUBLIC:
            given |= decoding.values(route, request)
            self._spend(route, Caller(address=asking.address, name=decoding.account_named(route, given)), told)
            if not needs_unit(route.signature):
                self._wiring.refresh(route.signature)
                return self._run(route, request, given)[1]  # /health answers while the database is away
        self._wiring.provide(Configuration).fresh()
        seen = self._seen(route, request, asking)
        with self._wiring.database.work() as connection:
            bus = self._wiring.bus(connection)
            given |= {Connection: connection, OutboxBus: bus, Trail: trail.within(connection)}
            known, session = self._known(route, request, connection, seen, given)
            principal = known.principal if known is not None else None
            if known is not None and principal is not None:
                given[Trail].actor = trail.actor = actor_of(principal)
                self._spend(route, Caller(address=asking.address, principal=str(principal.id)), told)
                authorise(known, route.permission, session, self._wiring.now(), self._wiring.provide(MfaPolicy))
                require(self._wiring.provide(Banner), route, known, session)
                # Only now is anything of the request judged: strangers learn nothing, not even that they asked wrongly.
                given |= {
                    Principal: principal,
                    Grant: known.grant,
                    Seen: seen,
                    Session: session,
                    **decoding.values(route, request),
                }
                watch(route, known, given)
            response: Response | None = None
            if principal is None:
                response = self._run(route, request, given)[1]
            elif not _apart(route):
                work = partial(self._run, route, request, given)
                response = once(route, request, connection, principal.id, work, problem_response)
            if session is not None:  # last, so that its row is locked for a moment only
                used(session, SessionStore(connection), self._wiring.now())
        if response is None:
            response = self._run(route, request, given | {Trail: trail})[1]
        self._wiring.outbox.flush(bus.sent)
        return response

    def _spend(self, route: Route, caller: Caller, told: dict[str, str]) -> None:
        """Count the request against its limit; `TooMany` when that is reached. What is left of it goes to `told`."""
        if route.guarded is None and route.permission is Permission.PUBLIC:
            return
        spent = ratelimits.spend(self._wiring.provide(Ephemeral), route.guarded or Guarded.DEFAULT, caller)
        told.update(ratelimits.headers(spent))
        wait = ratelimits.refused(spent)
        if wait is not None:
            raise TooMany(f"That was asked too often. Try again in {wait} s.", retry_after=wait)

    def _seen(self, route: Route, request: Request, asking: Asking) -> Seen | None:
        """What a signed token says, before any connection is held."""
        if route.permission is Permission.PUBLIC:
            return None
        provide = self._wiring.provide
        return signed_in(
            request.headers.get("Authorization"),
            asking,
            provide(Site),
            lambda: provide(TokenVerifier),
            lambda: provide(Ephemeral),
        )

    def _known(
        self, route: Route, request: Request, connection: Connection, seen: Seen | None, given: Mapping[Any, Any]
    ) -> tuple[Known | None, Session | None]:
        """Who asks, by which session, and what they were given on the thing that the path names: one query for all of it."""
        if route.permission is Permission.PUBLIC:
            return None, None
        parameter = thing_of(route)
        thing = Thing(relation(parameter), given[parameter]) if parameter is not None else None
        if seen is not None:
            return in_session(seen, SessionStore(connection), self._wiring.provide(Limits), thing)
        return authenticate(request.headers.get("Authorization"), TokenStore(connection), thing), None

    def _run(self, route: Route, request: Request, given: dict[Any, Any]) -> tuple[Any, Response]:
        value = route.handler(**self._wiring.arguments(route.signature.parameters, given))
        return value, encoded(value, route.status, request)


def _opened(routes: Iterable[Route], settings: Settings) -> Iterable[Route]:
    """The routes, with the interface's description for everybody where this deployment says so."""
    public = settings.api_docs is ApiDocs.PUBLIC
    for route in routes:
        yield replace(route, permission=Permission.PUBLIC) if public and route.permission is Permission.DOCS else route


def _apart(route: Route) -> bool:
    """Whether a route opens its own units of work, because it is slow between them: it runs after the door's has ended.

    Such routes are not repeated by `Idempotency-Key`: what they take is good once.
    """
    return Units in route.signature.kinds() and not needs_unit(route.signature)


def request_id(given: str | None) -> str | None:
    """A caller's own id of its request, if it is fit for headers and logs."""
    return given if given and _REQUEST_ID.fullmatch(given) else None


def _asking(request: Request, client: Client | None) -> Asking:
    """The request as sign-ins see it; of where it came from only what the gateway vouches for."""
    return Asking(
        method=request.method,
        headers={name.lower(): value for name, value in request.headers.items()},
        address=client.address if client else None,
        origin=client.origin if client else None,
        fingerprint=client.certificate.fingerprint if client and client.certificate else None,
        query=request.query_string.decode("latin-1"),
    )


def _whence(client: Client | None) -> dict[str, str]:
    """For the log: who asked, if the gateway vouches for it."""
    return {"client": client.address} if client else {}
