"""From `AURICLE_FUNCTION` to the one callable that functions-framework serves (as its *http* signature).

Every process answers `/healthz` and `/readyz`; events come to `/events/<function>` (or `/` where there is but one).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable

from flask import Request, Response, current_app, has_app_context

from auricle.contract.function import registry
from auricle.runtime import coldstart, metrics, rooms, telemetry
from auricle.runtime.eventdoor import EventDoor, broken, door_of
from auricle.runtime.settings import Settings, settings
from auricle.runtime.wiring import Wiring

log = logging.getLogger(__name__)
Handle = Callable[[Request], Response]
PROBES = ("/healthz", "/readyz")


class Bound:
    """Some functions behind one callable."""

    def __init__(self, chosen: Settings) -> None:
        """Import what `auricle_function` names, and nothing else."""
        self.functions = rooms.chosen(chosen.auricle_function)
        for module in rooms.modules_of(self.functions):
            importlib.import_module(module)
        self.wiring = Wiring(chosen)
        mine = set(self.functions)
        self._events: dict[str, EventDoor | Handle] = {
            name: door_of(stage, self.wiring) for name, stage in registry.stages.items() if name in mine
        }
        if rooms.TIMER_FUNCTION in mine:
            from auricle.runtime.timerdoor import TimerDoor

            self._events[rooms.TIMER_FUNCTION] = TimerDoor(registry.timers, self.wiring)
        self._speech = tuple(name for name, stage in registry.stages.items() if name in mine and stage.secretless)
        routes = [route for route in registry.routes if route.function in mine]
        self._http: Handle | None = None
        if routes:
            from auricle.runtime.httpdoor import HttpDoor

            self._http = HttpDoor(routes, self.wiring)

    def __call__(self, request: Request) -> Response:
        """Answer a probe, an event or a person."""
        if request.path in PROBES:
            if self.wiring.settings.metrics_port:
                metrics.open_door(self.wiring.settings.metrics_port)
            trouble = self.wiring.trouble(self._speech) if self._speech and request.path == "/readyz" else ""
            return Response(f"{trouble or 'ok'}\n", 503 if trouble else 200, mimetype="text/plain")
        if request.path.startswith("/events/") or (request.path == "/" and "ce-id" in request.headers):
            return self._event(request)
        if self._http is None:
            return Response(status=404)
        return self._http(request)

    def _event(self, request: Request) -> Response:
        name = request.path.removeprefix("/events/").strip("/") or (next(iter(self._events)) if len(self._events) == 1 else "")
        door = self._events.get(name)
        if door is None or request.method != "POST":
            log.error("no function %r here; these are: %s", name, ", ".join(self._events))
            return broken()  # a wrong Trigger, which a person can mend: the broker tries again, then keeps the event
        return door(request)


def bind() -> Handle:
    """What `functions/main.py` serves."""
    chosen = settings()
    telemetry.start_logging(chosen.log_level)
    if chosen.otel_exporter_otlp_endpoint and not chosen.otel_sdk_disabled:
        telemetry.start_tracing(chosen.auricle_function)
    if has_app_context():
        from auricle.runtime.limits import MAX_BODY

        current_app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    bound = Bound(chosen)
    coldstart.begin(pod=bool(chosen.k_revision))

    def handle(request: Request) -> Response:  # functions-framework insists on a function
        return bound(request)

    return handle
