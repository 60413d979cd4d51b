"""What a function IS: `@route`, `@stage` and `@timer` read a signature once and remember it.

From these declarations everything else is derived: wiring, manifests, the OpenAPI document, the laptop's plan. Declaring
does no I/O and loads no adapter; a contradiction is an error at import.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from auricle.contract.choices import Guarded, Image, Permission, Scale
from auricle.contract.event import EXTENSION_NAME, TYPE_NAME, Fact
from auricle.contract.http import Body, Header, Query

Handler = TypeVar("Handler", bound=Callable[..., Any])
_TEMPLATE = re.compile(r"{([a-z_]+)}")
MIN_TIMER_MINUTES = 15
"""A timer that fires more often would keep its pod alive for ever."""


class DeclarationError(TypeError):
    """A function is declared in a way that cannot work."""


class Assembled:
    """Base of dataclasses that a signature may name in place of their fields: each field is provided by its type."""

    __slots__ = ()

    @classmethod
    @cache
    def parts(cls) -> Mapping[str, Any]:
        """The types of the fields, by name."""
        return typing.get_type_hints(cls, include_extras=True)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler needs and gives: resolved parameter types by name, and the return type."""

    parameters: Mapping[str, Any]
    returns: Any

    @classmethod
    def of(cls, handler: Callable[..., Any]) -> Signature:
        """Read `handler`; every parameter and the return value must have a type that is really imported."""
        try:
            hints = typing.get_type_hints(handler, include_extras=True)
        except NameError as error:
            raise DeclarationError(f"{handler.__qualname__}: the type {error.name!r} is not imported") from error
        names = list(inspect.signature(handler).parameters)
        untyped = [n for n in names if n not in hints]
        if untyped or "return" not in hints:
            raise DeclarationError(f"{handler.__qualname__}: say the types of {', '.join(untyped) or 'the return value'}")
        return cls({n: hints[n] for n in names}, hints["return"])

    def kinds(self) -> tuple[Any, ...]:
        """The types of everything that has to be provided."""
        return tuple(part for kind in self.parameters.values() for part in _parts(kind))


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One HTTP operation."""

    function: str
    name: str
    method: str
    path: str
    permission: Permission
    status: int
    scale: Scale
    handler: Callable[..., Any]
    signature: Signature
    path_parameters: tuple[str, ...]
    body: str | None = None
    query: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    also: tuple[int, ...] = ()
    guarded: Guarded | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One event function: what it hears, what it may answer."""

    function: str
    on: tuple[type[Fact], ...]
    filter: Mapping[str, str]
    image: Image
    scale: Scale
    handler: Callable[..., Any]
    signature: Signature
    then: Callable[..., Any] | None
    then_signature: Signature | None
    replies: tuple[type[Fact], ...]
    failure: type[Fact] | None

    @property
    def secretless(self) -> bool:
        """Whether it holds no database: it replies with facts instead of publishing them."""
        return self.image is Image.SPEECH


@dataclass(frozen=True, slots=True, eq=False)
class Timer:
    """Something that is done every `minutes`, by the one timer function."""

    name: str
    minutes: int
    handler: Callable[..., Any]
    signature: Signature


@dataclass(slots=True)
class Registry:
    """Every declaration of the modules imported so far."""

    routes: list[Route] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    timers: dict[str, Timer] = field(default_factory=dict)


registry = Registry()


def route(
    operation: str,
    *,
    permission: Permission,
    guarded: Guarded | None = None,
    status: int = 200,
    also: tuple[int, ...] = (),
    function: str | None = None,
    scale: Scale = Scale.INTERACTIVE,
) -> Callable[[Handler], Handler]:
    """Serve `"METHOD /path/{id}"`. Without `function` it belongs to its room's function; `status` is that of a plain value.

    `also`: what a `Reply` may say instead. `guarded`: the limit that it is counted by.
    """
    method, _, path = operation.partition(" ")

    def declare(handler: Handler) -> Handler:
        signature = Signature.of(handler)
        path_parameters = tuple(_TEMPLATE.findall(path))
        missing = [p for p in path_parameters if p not in signature.parameters]
        if missing:
            raise DeclarationError(f"{operation}: {handler.__name__} takes no parameter {', '.join(missing)}")
        if any((r.method, r.path) == (method, path) for r in registry.routes):
            raise DeclarationError(f"{operation} is declared twice")
        registry.routes.append(
            Route(
                function=function or handler.__module__.split(".")[1],
                name=handler.__name__,
                method=method,
                path=path,
                permission=permission,
                status=status,
                scale=scale,
                handler=handler,
                signature=signature,
                path_parameters=path_parameters,
                body=_one(signature, Body, operation),
                query=_one(signature, Query, operation),
                headers=_headers(signature),
                also=also,
                guarded=guarded,
            )
        )
        return handler

    return declare


def stage(
    *,
    on: type[Fact] | tuple[type[Fact], ...],
    where: Mapping[str, str] | None = None,
    concerns: str | None = None,
    image: Image = Image.API,
    scale: Scale = Scale.BURST,
    then: Callable[..., Any] | None = None,
) -> Callable[[Handler], Handler]:
    """Hear events. One type (narrowed by `where`), or several through shared attributes (`concerns`, or those in `where`
    alone); `on=()` hears dead letters.

    With `then`, the handler runs outside any transaction and `then` records its value in one.
    """
    heard = on if isinstance(on, tuple) else (on,)
    for kind in heard:
        if not TYPE_NAME.match(kind.TYPE):
            raise DeclarationError(f"{kind.__name__}.TYPE {kind.TYPE!r} is not auricle.<room>.<past-participle>.v1")
    if concerns is None and len(heard) > 1 and not where:
        raise DeclarationError(
            "a stage that hears several types hears them through a shared attribute: say concerns= or where="
        )
    if any(name not in kind.ATTRIBUTES for kind in heard for name in where or ()):
        raise DeclarationError(f"every type heard must carry the attributes {', '.join(where or ())}")
    if concerns is not None and any(concerns != kind.CONCERNS for kind in heard):
        raise DeclarationError(f"every type heard through concerns={concerns!r} must carry it")
    chosen: dict[str, str] = {}  # nothing: what other functions' triggers send as dead letters
    if heard:
        kind_of_one = {"type": heard[0].TYPE} if len(heard) == 1 else {}
        chosen = {"concerns": concerns} if concerns else {**kind_of_one, **(where or {})}
    wrong = [name for name in chosen if not EXTENSION_NAME.match(name)]
    if wrong:
        raise DeclarationError(f"extension attributes are named [a-z][a-z0-9]*: {', '.join(wrong)}")

    def declare(handler: Handler) -> Handler:
        name = handler.__name__
        if name in registry.stages:
            raise DeclarationError(f"the stage {name} is declared twice")
        signature = Signature.of(handler)
        replies = tuple(kind for kind in _alternatives(signature.returns) if isinstance(kind, type) and issubclass(kind, Fact))
        looping = [kind.TYPE for kind in replies if kind in heard]
        if looping:
            raise DeclarationError(f"{name} would answer itself: {', '.join(looping)}")
        if replies and image is not Image.SPEECH:
            raise DeclarationError(f"{name} holds a database: it publishes through the bus and replies with nothing")
        registry.stages[name] = Stage(
            function=name,
            on=heard,
            filter=chosen,
            image=image,
            scale=scale,
            handler=handler,
            signature=signature,
            then=then,
            then_signature=Signature.of(then) if then else None,
            replies=replies,
            failure=next((kind for kind in replies if kind.FAILURE), None),
        )
        return handler

    return declare


def timer(*, minutes: int) -> Callable[[Handler], Handler]:
    """Do this every `minutes`, in the timer function, in a unit of work of its own."""
    if minutes < MIN_TIMER_MINUTES:
        raise DeclarationError(
            f"no timer fires more often than every {MIN_TIMER_MINUTES} minutes: let urgent work ride on deliveries"
        )

    def declare(handler: Handler) -> Handler:
        name = handler.__name__
        if name in registry.timers:
            raise DeclarationError(f"the timer {name} is declared twice")
        registry.timers[name] = Timer(name, minutes, handler, Signature.of(handler))
        return handler

    return declare


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


def _parts(kind: Any) -> tuple[Any, ...]:
    """The types that a parameter asks for: itself, or those of an `Assembled`'s fields."""
    return tuple(kind.parts().values()) if isinstance(kind, type) and issubclass(kind, Assembled) else (kind,)


def _one(signature: Signature, base: type, operation: str) -> str | None:
    """The one parameter whose type derives from `base`."""
    found = [n for n, t in signature.parameters.items() if isinstance(t, type) and issubclass(t, base)]
    if len(found) > 1:
        raise DeclarationError(f"{operation}: one {base.__name__.lower()} is enough")
    return found[0] if found else None


def _headers(signature: Signature) -> dict[str, str]:
    """Parameters annotated with `Header`, by name."""
    return {
        name: mark.name
        for name, kind in signature.parameters.items()
        for mark in getattr(kind, "__metadata__", ())
        if isinstance(mark, Header)
    }
