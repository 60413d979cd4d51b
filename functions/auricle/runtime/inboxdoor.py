"""The event door of stages that hold a database: each event has its effect once, whatever the broker does.

What can never work is recorded here, in the same transaction that gives up, and answered with success.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
from flask import Request, Response
from sqlalchemy import Connection

from auricle.admin.store import DeadLetterStore
from auricle.contract.event import Envelope, Fact
from auricle.contract.ids import uuid7
from auricle.errors import AuricleError, Permanent, Rejected
from auricle.runs.coldstarts.store import ColdStartStore
from auricle.runs.events import StepFailed
from auricle.runs.model import first_run_id
from auricle.runtime import coldstart, inbox
from auricle.runtime.eventdoor import EventDoor, Unreadable, done
from auricle.runtime.outbox import OutboxBus

log = logging.getLogger(__name__)
KEPT_BYTES = 65536
"""How much is kept of something that is no event."""


class InboxDoor(EventDoor):
    """For stages that hold a database."""

    def _handle(self, event: Envelope) -> Response:
        fact: Fact | None = None
        self._wiring.refresh(self._stage.signature, self._stage.then_signature)
        try:
            if not self._stage.on:  # the dead-letter function hears what others could not
                self._at_once(_addressed(event), None)
                return done()
            fact = self._trusted(event)
            if self._stage.then is None:
                self._at_once(event, fact)
            else:
                self._leased(event, fact)
        except (Permanent, Rejected) as error:
            log.warning("%s cannot work: %s", self._stage.function, error, extra={"event": event.id})
            self._give_up(event, fact, str(error))
        return done()

    def _at_once(self, event: Envelope, fact: Fact | None) -> None:
        """Claim, work and finish in one transaction."""
        with self._wiring.database.work() as connection:
            if not inbox.claim_whole(connection, self._stage.function, event):
                return
            bus = self._wiring.bus(connection)
            given = {**_heard(event, fact), Connection: connection, OutboxBus: bus}
            self._call(self._stage.handler, self._stage.signature.parameters, given)
            self._note_cold_start(connection, event, fact)
        self._wiring.outbox.flush_all(bus.sent)

    def _leased(self, event: Envelope, fact: Fact) -> None:
        """Work outside any transaction under a lease, then record the value in one, fenced."""
        stage, database = self._stage, self._wiring.database
        with database.work() as connection:
            claim, token = inbox.claim_lease(connection, stage.function, event)
        if claim is not inbox.Claim.MINE:
            return  # done, or somebody else's: the holder or the sweep sees to it
        try:
            with self._heartbeat(event, token):
                value = self._call(stage.handler, stage.signature.parameters, _heard(event, fact))
            assert stage.then is not None
            assert stage.then_signature is not None
            with database.work() as connection:
                bus = self._wiring.bus(connection)
                given = {**_heard(event, fact), type(value): value, Connection: connection, OutboxBus: bus}
                self._call(stage.then, stage.then_signature.parameters, given)
                self._note_cold_start(connection, event, fact)
                inbox.finish(connection, stage.function, event, token)
        except (Permanent, Rejected):
            with database.work() as connection:
                inbox.release(connection, stage.function, event, token)
            raise
        except BaseException:
            self._release_quietly(event, token)
            raise
        self._wiring.outbox.flush_all(bus.sent)

    def _note_cold_start(self, connection: Connection, event: Envelope, fact: Fact | None) -> None:
        """For the run's readers: what this process took to be there, if it was started for one of the run's events."""
        run_id, file_id = getattr(fact, "run_id", None), getattr(fact, "file_id", None)
        if run_id is None and file_id is not None:
            run_id = first_run_id(file_id)  # the event that begins a run cannot name it
        if run_id is None:
            return
        told = coldstart.process.tell(self._stage.function, event.time)
        if told is not None:
            step = str(getattr(fact, "work", "")) if "work" in self._stage.filter else None
            ColdStartStore(connection).keep(run_id, step, told)

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
        self._wiring.outbox.flush_all(bus.sent)

    def _no_event(self, request: Request, error: Rejected) -> Response:
        """What came is no event: kept as it is."""
        event = Envelope(
            id=request.headers.get("ce-id") or str(uuid7()),
            source=request.headers.get("ce-source") or "unknown",
            type=request.headers.get("ce-type") or "unreadable",
            time=self._wiring.now(),
            datacontenttype=request.headers.get("content-type") or "application/octet-stream",
            data=request.get_data()[:KEPT_BYTES],
        )
        self._give_up(event, None, str(error))
        return done()

    def _trusted(self, event: Envelope) -> Fact:
        """The fact, if this deployment published it (or if it carries a receipt that the stage itself checks)."""
        fact = self._fact(event)
        if not fact.SECRETLESS and not self._wiring.signer.signed(event):
            raise Unreadable("This event is not signed by this deployment (EVENT_KEY). It was not acted upon.")
        return fact


def _heard(event: Envelope, fact: Fact | None) -> dict[Any, Any]:
    """What a handler can name of the delivery: the fact by its type or as `event`, the envelope by its type."""
    return {Envelope: event} if fact is None else {Envelope: event, type(fact): fact, "event": fact}


def _addressed(event: Envelope) -> Envelope:
    """A dead letter under an id of its own: several functions may give up on one event."""
    target = event.extensions.get("knativeerrordest", "")
    return msgspec.structs.replace(event, id=f"{event.id}@{target}") if target else event
