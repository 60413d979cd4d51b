"""The event door: decodes, checks, claims, runs a stage in its unit of work, publishes, and answers one of four things.

204; 200 with one CloudEvent (secretless stages); 503 (try again); 500. Never a 4xx, never a body: brokers disagree about
both. What can never work is recorded here, in the same transaction, and answered with success.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
from flask import Request, Response
from sqlalchemy import Connection

from auricle.admin.store import DeadLetterStore
from auricle.contract.event import JSON, Envelope, Fact, decode, failure_of
from auricle.contract.function import Stage
from auricle.errors import AuricleError, Permanent, Rejected, Retryable
from auricle.runs.events import StepFailed
from auricle.runtime import inbox
from auricle.runtime.cloudevent import binary, envelope_of
from auricle.runtime.outbox import OutboxBus, uuid7
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


class EventDoor:
    """One stage's door."""

    def __init__(self, stage: Stage, wiring: Wiring) -> None:
        """`wiring` provides what the stage's signature names."""
        self._stage = stage
        self._wiring = wiring
        self._kinds = {kind.TYPE: kind for kind in stage.on}

    def __call__(self, request: Request) -> Response:
        """Handle one delivery."""
        with traced(request.headers.get("ce-traceparent") or request.headers.get("traceparent")):
            try:
                event = envelope_of({k.lower(): v for k, v in request.headers.items()}, request.get_data())
            except Rejected as error:
                return self._refuse_request(request, error)
            try:
                return self._secretless(event) if self._stage.secretless else self._stateful(event)
            except Retryable as error:
                log.info("%s is tried again: %s", self._stage.function, error, extra={"event": event.id})
                return later()
            except Exception:
                log.exception("%s failed on %s", self._stage.function, event.type, extra={"event": event.id})
                return broken()

    # Stages without secrets: no database, the answer is the reply.

    def _secretless(self, event: Envelope) -> Response:
        fact = self._fact(event)
        try:
            answer = self._call(self._stage.handler, self._stage.signature.parameters, {type(fact): fact})
        except (Permanent, Rejected) as error:
            if self._stage.failure is None:
                raise
            log.warning("%s cannot work: %s", self._stage.function, error, extra={"event": event.id})
            answer = failure_of(self._stage.failure, fact, str(error))
        # The id follows from the question, so a repeated delivery gives the same answer twice and the inbox keeps one.
        envelope = self._wiring.reply_envelope(answer, f"{event.id}/{self._stage.function}")
        return reply(envelope)

    # Stages with a database: once per event, whatever the broker does.

    def _stateful(self, event: Envelope) -> Response:
        try:
            fact = self._trusted(event)
        except Unreadable as error:
            self._give_up(event, None, str(error))
            return done()
        try:
            if self._stage.then is None:
                self._at_once(event, fact)
            else:
                self._leased(event, fact)
        except (Permanent, Rejected) as error:
            log.warning("%s cannot work: %s", self._stage.function, error, extra={"event": event.id})
            self._give_up(event, fact, str(error))
        return done()

    def _at_once(self, event: Envelope, fact: Fact) -> None:
        """Claim, work and finish in one transaction."""
        with self._wiring.database.work() as connection:
            if not inbox.claim_whole(connection, self._stage.function, event):
                return
            bus = self._wiring.bus(connection)
            given: dict[Any, Any] = {type(fact): fact, Envelope: event, Connection: connection, OutboxBus: bus}
            self._call(self._stage.handler, self._stage.signature.parameters, given)
        self._wiring.outbox.flush(bus.sent)

    def _leased(self, event: Envelope, fact: Fact) -> None:
        """Work outside any transaction under a lease, then record the value in one, fenced."""
        stage, database = self._stage, self._wiring.database
        with database.work() as connection:
            claim, token = inbox.claim_lease(connection, stage.function, event)
        if claim is not inbox.Claim.MINE:
            return  # done, or somebody else's: the holder or the sweep sees to it
        try:
            with self._heartbeat(event, token):
                value = self._call(stage.handler, stage.signature.parameters, {type(fact): fact, Envelope: event})
            assert stage.then is not None
            assert stage.then_signature is not None
            with database.work() as connection:
                bus = self._wiring.bus(connection)
                given: dict[Any, Any] = {type(fact): fact, type(value): value, Connection: connection, OutboxBus: bus}
                self._call(stage.then, stage.then_signature.parameters, given)
                inbox.finish(connection, stage.function, event, token)
        except (Permanent, Rejected):
            with database.work() as connection:
                inbox.release(connection, stage.function, event, token)
            raise
        except BaseException:
            self._release_quietly(event, token)
            raise
        self._wiring.outbox.flush(bus.sent)

    @contextmanager
    def _heartbeat(self, event: Envelope, token: UUID) -> Iterator[None]:
        """Renew the lease while the work goes on."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(inbox.LEASE.total_seconds() / 4):
                try:
                    with self._wiring.database.work() as connection:
                        if not inbox.renew(connection, self._stage.function, event, token):
                            return
                except AuricleError as error:
                    log.warning("lease not renewed: %s", error)

        thread = threading.Thread(target=beat, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _release_quietly(self, event: Envelope, token: UUID) -> None:
        try:
            with self._wiring.database.work() as connection:
                inbox.release(connection, self._stage.function, event, token)
        except Exception:
            log.warning("lease not released; it ends by itself", exc_info=True)

    # Giving up: recorded, told to the conductor, answered with success.

    def _give_up(self, event: Envelope, fact: Fact | None, reason: str) -> None:
        with self._wiring.database.work() as connection:
            if not inbox.claim_whole(connection, self._stage.function, event):
                return
            bus = self._wiring.bus(connection)
            run_id = getattr(fact, "run_id", None)
            if run_id is not None and hasattr(fact, "work") and "work" in self._stage.filter:
                # The run says the reason; a dead letter would only say it again.
                failed = StepFailed(run_id=run_id, work=fact.work, attempt=fact.attempt, error=reason)  # type: ignore[union-attr]
                bus.publish(failed, id=f"{event.id}/failed")
            else:
                DeadLetterStore(connection).keep(uuid7(), self._stage.function, event, reason, run_id)
        self._wiring.outbox.flush(bus.sent)

    def _refuse_request(self, request: Request, error: Rejected) -> Response:
        """Not an event at all. Whoever holds a database keeps what came; the others let the broker dead-letter it."""
        log.warning("%s got something that is no event: %s", self._stage.function, error)
        if self._stage.secretless:
            return broken()
        event = Envelope(
            id=request.headers.get("ce-id") or str(uuid7()),
            source=request.headers.get("ce-source") or "unknown",
            type=request.headers.get("ce-type") or "unreadable",
            time=self._wiring.now(),
            datacontenttype=request.headers.get("content-type") or "application/octet-stream",
            data=request.get_data()[:65536],
        )
        try:
            self._give_up(event, None, str(error))
        except Retryable:
            return later()
        return done()

    def _trusted(self, event: Envelope) -> Fact:
        """The fact, if this deployment published it (or if it carries a receipt that the stage itself checks)."""
        fact = self._fact(event)
        if not fact.SECRETLESS and not self._wiring.signer.signed(event):
            raise Unreadable("This event is not signed by this deployment (EVENT_KEY). It was not acted upon.")
        return fact

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
