"""Every function there is, as plain data: what hosts, manifests, documents and the laptop's plan are made from.

`python -m auricle.deploy.catalogue` prints it as JSON.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from auricle.contract.choices import Image, Permission, Scale
from auricle.contract.function import Route, Signature, Stage, registry
from auricle.contract.store import Store
from auricle.runtime import rooms
from auricle.runtime.wiring import DOOR, SECRETS

PING = "dev.knative.sources.ping"


class TimerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One timer: its name travels as the event's data."""

    name: str
    minutes: int


class DeliveryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """How a function's events are delivered; seconds."""

    retry: int
    delay: float
    timeout: float


class FunctionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One deployable unit."""

    name: str
    kind: str  # routes | stage | timers
    image: Image
    scale: Scale
    summary: str
    filter: dict[str, str] | None = None  # None: no Trigger; {} : dead letters
    delivery: DeliveryEntry | None = None
    parallelism: int = 1
    paths: tuple[str, ...] = ()
    timers: tuple[TimerEntry, ...] = ()
    secrets: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()


DELIVERY: dict[Scale, DeliveryEntry] = {
    Scale.BURST: DeliveryEntry(retry=8, delay=0.5, timeout=120),
    Scale.BATCH: DeliveryEntry(retry=5, delay=2, timeout=6 * 3600),  # a 12-hour recording in one preparation
    Scale.GPU: DeliveryEntry(retry=5, delay=2, timeout=1800),
    Scale.TIMER: DeliveryEntry(retry=2, delay=5, timeout=300),
}
"""Tries after the first, first wait, and the longest a single delivery may take, the wait for a pod (or a GPU) included."""
PARALLELISM: dict[Scale, int] = {Scale.BURST: 8, Scale.BATCH: 4, Scale.GPU: 8, Scale.TIMER: 1}
"""Deliveries under way at once, per Trigger; pods bound it further."""


def load() -> None:
    """Import every room, so that everything is declared. No adapter is loaded by this."""
    everything = (*rooms.ROUTES, *rooms.STAGES, rooms.TIMER_FUNCTION)
    for module in rooms.modules_of(everything):
        importlib.import_module(module)


def catalogue() -> list[FunctionEntry]:
    """Every function, routes first, by name."""
    load()
    return [*_route_functions(), *(_stage_function(s) for _, s in sorted(registry.stages.items())), _timer_function()]


def _route_functions() -> Iterable[FunctionEntry]:
    for name in sorted(rooms.ROUTES):
        routes = [r for r in registry.routes if r.function == name]
        module = sys.modules[rooms.ROUTES[name][0]]
        yield FunctionEntry(
            name=name,
            kind="routes",
            image=rooms.image_of(name),
            scale=routes[0].scale,
            summary=first_line(module.__doc__),
            paths=tuple(sorted({r.path for r in routes})),
            secrets=tuple(sorted({*_secrets([r.signature for r in routes], database=True), *_door_secrets(routes)})),
        )


def _stage_function(stage: Stage) -> FunctionEntry:
    signatures = [s for s in (stage.signature, stage.then_signature) if s]
    return FunctionEntry(
        name=stage.function,
        kind="stage",
        image=stage.image,
        scale=stage.scale,
        summary=first_line(stage.handler.__doc__),
        filter=dict(stage.filter),
        delivery=DELIVERY[stage.scale],
        parallelism=PARALLELISM[stage.scale],
        secrets=_secrets(signatures, database=not stage.secretless),
        hears=tuple(kind.TYPE for kind in stage.on),
        replies=tuple(kind.TYPE for kind in stage.replies),
    )


def _timer_function() -> FunctionEntry:
    timers = sorted(registry.timers.values(), key=lambda t: t.name)
    return FunctionEntry(
        name=rooms.TIMER_FUNCTION,
        kind="timers",
        image=Image.API,
        scale=Scale.TIMER,
        summary="Everything that is done on a schedule.",
        filter={"type": PING},
        delivery=DELIVERY[Scale.TIMER],
        timers=tuple(TimerEntry(name=t.name, minutes=t.minutes) for t in timers),
        secrets=tuple(sorted({*_secrets([t.signature for t in timers], database=True), "timer_token"})),
        hears=(PING,),
    )


def _secrets(signatures: Iterable[Signature], database: bool) -> tuple[str, ...]:
    """The secret settings that these signatures need; whoever has a database also signs events."""
    found = {"database_url", "event_key"} if database else set()
    for signature in signatures:
        for kind in signature.kinds():
            found |= set(SECRETS.get(f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}", ()))
            if isinstance(kind, type) and issubclass(kind, Store):
                found.add("database_url")
    return tuple(sorted(found))


def _door_secrets(routes: Iterable[Route]) -> set[str]:
    """What the HTTP door itself needs: to know the gateway, and where not everybody is let in, to know people."""
    public = all(route.permission is Permission.PUBLIC for route in routes)
    return {"gateway_key", *(() if public else (secret for port in DOOR for secret in SECRETS[port]))}


def first_line(docstring: str | None) -> str:
    """A docstring's first sentence."""
    return (docstring or "").strip().partition("\n")[0]


def described(entries: Iterable[FunctionEntry]) -> list[Mapping[str, Any]]:
    """As JSON values."""
    return [msgspec.to_builtins(entry) for entry in entries]


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(catalogue()), indent=2).decode() + "\n")
