"""The event door: decodes, checks, runs a stage, and answers one of four things.

204; 200 with one CloudEvent (secretless stages); 503 (try again); 500. Never a 4xx, never a body: brokers disagree about
both. This half serves stages without secrets and imports no database; `inboxdoor` serves the others.
"""

from __future__ import annotations

import io
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Request, Response
from werkzeug.exceptions import RequestEntityTooLarge

from auricle.contract.event import JSON, Envelope, Fact, decode, failure_of
from auricle.contract.function import Stage
from auricle.errors import Permanent, Rejected, Retryable, TooLarge
from auricle.runtime import coldstart, telemetry
from auricle.runtime.cloudevent import binary, envelope_of
from auricle.runtime.limits import MAX_BODY
from auricle.runtime.telemetry import traced
from auricle.runtime.wiring import Wiring

log = logging.getLogger(__name__)


def done() -> Response:
    """204: the broker forgets the delivery."""
    return Response(status=204)


def later() -> Response:
    """503: the broker tries again."""
    return Response(status=503)


def broken() -> Response:
    """500: the broker tries again, and dead-letters in the end."""
    return Response(status=500)


def reply(event: Envelope) -> Response:
    """200 with one CloudEvent, which the broker publishes."""
    headers, body = binary(event)
    return Response(body, 200, headers)


class Unreadable(Permanent):
    """The event cannot be believed or decoded."""


class EventDoor(ABC):
    """What all stages' doors share: from a request to an envelope, from an exception to an answer."""

    def __init__(self, stage: Stage, wiring: Wiring) -> None:
        """`wiring` provides what the stage's signature names."""
        self._stage = stage
        self._wiring = wiring
        self._kinds = {kind.TYPE: kind for kind in stage.on}

    def __call__(self, request: Request) -> Response:
        """Handle one delivery."""
        incoming = request.headers.get("ce-traceparent") or request.headers.get("traceparent")
        with traced(incoming, self._stage.function), telemetry.delivery(self._stage.function) as watched:
            response = self._answered(request, watched)
            watched.status = response.status_code
            return response

    def _answered(self, request: Request, watched: telemetry.Delivery) -> Response:
        try:
            try:
                event = envelope_of({k.lower(): v for k, v in request.headers.items()}, _data(request))
            except Rejected as error:
                return self._no_event(request, error)
            watched.event = event
            return self._handle(event)
        except Retryable as error:
            log.info("%s is tried again: %s", self._stage.function, error)
            return later()
        except Exception:
            log.exception("%s failed", self._stage.function)
            return broken()

    @abstractmethod
    def _handle(self, event: Envelope) -> Response:
        """Run the stage on an event."""

    def _no_event(self, request: Request, error: Rejected) -> Response:
        """What came is no event: the broker keeps it as a dead letter."""
        log.warning("%s got something that is no event: %s", self._stage.function, error)
        return broken()

    def _fact(self, event: Envelope) -> Fact:
        kind = self._kinds.get(event.type)
        if kind is None:
            raise Unreadable(f"{self._stage.function} does not know events of type {event.type}.")
        if event.datacontenttype.partition(";")[0] != JSON:
            raise Unreadable(f"The event's data is {event.datacontenttype}, not JSON.")
        try:
            return decode(kind, event.data)
        except msgspec.DecodeError as error:
            raise Unreadable(f"The event's data does not fit {event.type}: {error}") from error

    def _call(self, handler: Any, parameters: Mapping[str, Any], given: dict[Any, Any]) -> Any:
        return handler(**self._wiring.arguments(parameters, given))


class SecretlessDoor(EventDoor):
    """For stages that hold nothing: the answer is the reply."""

    def _handle(self, event: Envelope) -> Response:
        fact = self._fact(event)
        try:
            answer = self._call(self._stage.handler, self._stage.signature.parameters, {type(fact): fact, "event": fact})
        except (Permanent, Rejected) as error:
            if self._stage.failure is None:
                raise
            log.warning("%s cannot work: %s", self._stage.function, error, extra={"event": event.id})
            answer = failure_of(self._stage.failure, fact, str(error))
        if answer is None:  # a fact that asks for no work: hearing it was all
            return done()
        answer = _told(answer, event, self._stage.function)
        # The id follows from the question, so a repeated delivery gives the same answer twice and the inbox keeps one.
        return reply(self._wiring.reply_envelope(answer, f"{event.id}/{self._stage.function}"))


def _data(request: Request) -> bytes:
    """What came. More than a door takes is no event of ours: they carry ids."""
    try:
        return request.get_data()
    except RequestEntityTooLarge as error:
        request.stream = io.BytesIO()  # functions-framework reads the rest before it answers, and would fail over the same size
        raise TooLarge(
            f"The event is larger than {MAX_BODY} bytes. Send ids; content belongs into the object store."
        ) from error


def _told(answer: Fact, event: Envelope, function: str) -> Fact:
    """The answer with what this process took to be there, if it was started for this."""
    if "cold_start" not in answer.__struct_fields__:
        return answer
    told = coldstart.process.tell(function, event.time, getattr(answer, "index", 0))
    return answer if told is None else msgspec.structs.replace(answer, cold_start=told)


def door_of(stage: Stage, wiring: Wiring) -> EventDoor:
    """The door that fits the stage."""
    if stage.secretless:
        return SecretlessDoor(stage, wiring)
    from auricle.runtime.inboxdoor import InboxDoor

    return InboxDoor(stage, wiring)
