"""One copy: what to do next, from what was known and what its newest job says. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from auricle_gpu.caching import Exit, Step
from auricle_operator.api.conditions import moment, stamp
from auricle_operator.api.modelcache import Copy, NodeState
from auricle_operator.models.observed import Job, Progress, Purpose

FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=30)
"""After a failure the next try waits this long, twice as long after each further one, up to the longest."""
VERIFY_EVERY = timedelta(days=7)
"""Disks rot, and people clean up: what lies on a node is read again and compared."""
STUCK = timedelta(minutes=2)
"""A pod that has not begun by then waits for its volume."""
GOING = "It is being taken away."


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy becomes, and the job to begin or to stop for it. `full`: it failed because the disk is."""

    copy: Copy
    start: Purpose | None = None
    attempt: int = 1
    stop: Job | None = None
    full: bool = False


def pause(attempt: int) -> timedelta:
    """After the `attempt`th failure in a row."""
    doubled: int = 2 ** min(attempt - 1, 20)
    return min(FIRST_PAUSE * doubled, LONGEST_PAUSE)


def brought(before: Copy | None, digest: str, size: int, job: Job | None, now: datetime) -> Move:
    """Towards a verified copy of `digest`."""
    known = before or Copy(state=NodeState.WAITING)
    if job is not None and known.state is NodeState.NODE_GONE and known.since and job.begun <= moment(known.since):
        job = None  # it ended with the node
    if job is None:
        return _without_job(known, digest, size, now)
    if job.purpose is Purpose.EVICT:
        if job.active:
            return Move(copy=Copy(state=NodeState.WAITING, digest=known.digest, error=GOING))
        return _begun(replace(known, digest=""), digest, 1)
    if job.active:
        return Move(copy=_under_way(known, digest, size, job, now))
    if job.progress is Progress.SUCCEEDED:
        return _verified(known, digest, size, job, now)
    return _failed(known, digest, job, now)


def evicted(before: Copy | None, job: Job | None, now: datetime) -> Move:
    """Towards nothing left on the node."""
    nothing = Copy(state=NodeState.EVICTED)
    leaving = Copy(state=NodeState.WAITING, digest=before.digest if before else "", error=GOING)
    if job is None:
        return Move(copy=nothing) if _bare(before) else Move(copy=leaving, start=Purpose.EVICT)
    if job.purpose is Purpose.BRING:
        return Move(copy=leaving, start=Purpose.EVICT, stop=job if job.active else None)
    if job.progress is Progress.SUCCEEDED:
        return Move(copy=nothing)
    if job.active:
        return Move(copy=replace(leaving, error=_why_not(job, now) or GOING))
    again = _ended(job) + pause(job.attempt)
    if now >= again:
        return Move(copy=leaving, start=Purpose.EVICT, attempt=job.attempt + 1)
    error = f"It could not be taken away: {job.message or 'its job failed'}"
    return Move(
        copy=Copy(
            state=NodeState.FAILED, digest=leaving.digest, attempts=job.attempt, next_try=stamp(again), error=error[:1000]
        )
    )


def _bare(before: Copy | None) -> bool:
    """Nothing of it was ever there, or no more."""
    if before is None or before.state is NodeState.EVICTED:
        return True
    return before.state is NodeState.WAITING and not before.digest and before.error != GOING


def gone(before: Copy, name: str) -> Copy:
    """Its node is away: nobody knows what lies there, so it does not count until it was verified again."""
    return Copy(
        state=NodeState.NODE_GONE,
        digest=before.digest,
        verified_at=before.verified_at,
        error=f"The node {name} is away. What lies on it is verified when it comes back.",
    )


def _without_job(known: Copy, digest: str, size: int, now: datetime) -> Move:
    if known.state is NodeState.READY and known.digest == digest:
        return _still(known, now)
    if known.state is NodeState.FAILED and known.next_try and now < moment(known.next_try):
        return Move(copy=known)
    return _begun(known, digest, known.attempts + 1 if known.state is NodeState.FAILED else 1)


def _begun(known: Copy, digest: str, attempt: int) -> Move:
    """A new job. What lies there is only verified if it is what shall be there."""
    state = NodeState.VERIFYING if known.digest == digest else NodeState.DOWNLOADING
    copy = Copy(state=state, digest=known.digest, verified_at=known.verified_at, attempts=attempt)
    return Move(copy=copy, start=Purpose.BRING, attempt=attempt)


def _still(copy: Copy, now: datetime) -> Move:
    """A copy that is there; read again now and then, and Ready meanwhile."""
    due = copy.verified_at is None or now - moment(copy.verified_at) >= VERIFY_EVERY
    waits = copy.next_try is not None and now < moment(copy.next_try)
    if due and not waits:
        return Move(copy=copy, start=Purpose.BRING, attempt=copy.attempts + 1)
    return Move(copy=copy)


def _verified(known: Copy, digest: str, size: int, job: Job, now: datetime) -> Move:
    times = [_ended(job), *([moment(known.verified_at)] if known.verified_at and known.digest == digest else [])]
    return _still(Copy(state=NodeState.READY, bytes=size, digest=digest, verified_at=stamp(max(times))), now)


def _under_way(known: Copy, digest: str, size: int, job: Job, now: datetime) -> Copy:
    error = _why_not(job, now)
    if known.state is NodeState.READY and known.digest == digest:
        return replace(known, error=error)
    verifying = job.line.step == Step.VERIFYING if job.line else known.digest == digest
    return Copy(
        state=NodeState.VERIFYING if verifying else NodeState.DOWNLOADING,
        bytes=0 if job.line is None else size if job.line.step == Step.VERIFYING else min(size, job.line.done),
        digest=known.digest,
        verified_at=known.verified_at,
        attempts=job.attempt,
        error=error,
    )


def _failed(known: Copy, digest: str, job: Job, now: datetime) -> Move:
    again = _ended(job) + pause(job.attempt)
    message = job.message or "The job ended without a word: its pod was taken away. It is tried again."
    if known.state is NodeState.READY and known.digest == digest and job.exit is None:  # nothing was looked at
        still = replace(known, attempts=job.attempt, next_try=stamp(again), error=message[:1000])
        return Move(copy=still, start=Purpose.BRING, attempt=job.attempt + 1) if now >= again else Move(copy=still)
    if now >= again:
        return _begun(known, digest, job.attempt + 1)
    return Move(
        copy=Copy(
            state=NodeState.FAILED,
            digest="" if job.exit == Exit.WRONG and known.digest == digest else known.digest,
            attempts=job.attempt,
            next_try=stamp(again),
            error=message[:1000],
        ),
        full=job.exit == Exit.FULL,
    )


def _why_not(job: Job, now: datetime) -> str:
    """Why an active job does not get on; empty when it does."""
    if job.running or job.waiting:
        return job.waiting[:1000]
    if now - job.begun >= STUCK:
        return (
            "Its pod has not begun. The models' folder has to exist on the node (or the claim in the operator's namespace): "
            f"see kubectl describe pod {job.pod or job.name}."
        )
    return ""


def _ended(job: Job) -> datetime:
    return job.ended or job.begun
