"""Burying and replaying dead letters."""

from __future__ import annotations

import hmac

import msgspec

from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.trail import Trail
from auricle.admin.model import DeadLetter, DeadLetterId
from auricle.admin.store import DeadLetterStore
from auricle.contract.event import Envelope
from auricle.contract.ids import uuid7
from auricle.errors import Conflict, NotFound
from auricle.ports.bus import Bus
from auricle.ports.keyring import Receipts
from auricle.runs.events import RetryRequested, StepFailed
from auricle.runs.model import RunId, StepName
from auricle.speech.events import SpeechExpected


class _Work(msgspec.Struct, frozen=True):
    """What every released piece of work says of itself."""

    run_id: RunId
    work: StepName
    attempt: int
    receipt: str
    index: int = 0
    release: int = 0


def bury(event: Envelope, function: str, reason: str, letters: DeadLetterStore, bus: Bus, receipts: Receipts) -> None:
    """Keep `event`; when it was a piece of a run's work, tell the conductor that this attempt is lost."""
    if event.type == SpeechExpected.TYPE:
        return  # nobody was free to be woken; the work itself will ask again
    work = _work_of(event)
    letters.keep(uuid7(), function, event, reason, work.run_id if work else None)
    if work is None:
        return
    expected = receipts.receipt(work.run_id, work.work, work.index, work.attempt)
    if hmac.compare_digest(expected, work.receipt):
        failed = StepFailed(
            run_id=work.run_id,
            work=work.work,
            attempt=work.attempt,
            index=work.index,
            release=work.release,
            error=f"The {function} function did not manage it: {reason}",
            permanent=False,
        )
        bus.publish(failed, id=f"{event.id}/buried")


def replay(id: DeadLetterId, letters: DeadLetterStore, bus: Bus, trail: Trail) -> DeadLetter:
    """Try again what a dead letter was about: through the conductor, which mints fresh URLs; stored bytes are never re-posted.

    An event that belongs to no run is published anew with the same content under a new id.
    """
    letter = letters.get(id)
    event = letters.envelope(id)
    if letter is None or event is None:
        raise NotFound("There is no such dead letter.")
    if letter.state != "open":
        raise Conflict("This dead letter was replayed already.")
    if letter.run_id is not None:
        bus.publish(RetryRequested(run_id=RunId(letter.run_id)))
    else:
        bus.republish(event)
    letters.replayed(id)
    trail.record(EventKind.EVENT_REPLAYED, (SubjectKind.EVENT, id))
    found = letters.get(id)
    assert found is not None
    return found


def _work_of(event: Envelope) -> _Work | None:
    try:
        return msgspec.json.decode(event.data, type=_Work)
    except msgspec.DecodeError:
        return None
