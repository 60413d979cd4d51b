"""What a managed secret's status says. Pure, and never a value."""

from __future__ import annotations

from datetime import datetime

import msgspec

from auricle.ports.signing import KeySet
from auricle_operator.api.conditions import Finding, Truth, conditions, stamp
from auricle_operator.api.managedsecret import READY, ROTATING, Known, ManagedSecretStatus, State
from auricle_operator.secrets import rotation
from auricle_operator.secrets.objects import Family
from auricle_operator.secrets.purposes import Row
from auricle_operator.secrets.rings import ring_ends, ring_state
from auricle_operator.secrets.rotation import FORSAKE, Seen, Strategy, Version


class Problem(msgspec.Struct, frozen=True):
    """What keeps a secret from being as it should be. `reason` is CamelCase, for machines."""

    reason: str
    message: str


def refused(problem: Problem, before: ManagedSecretStatus, generation: int, now: datetime) -> ManagedSecretStatus:
    """Nothing was done; what is known of before stays."""
    found = [Finding(READY, Truth.FALSE, problem.reason, problem.message)]
    return msgspec.structs.replace(
        before,
        observed_generation=generation,
        state=State.WAITING,
        conditions=tuple(conditions(found, before.conditions, generation, now)),
    )


def described(
    seen: Seen,
    row: Row,
    family: Family,
    *,
    keys: KeySet | None,
    before: ManagedSecretStatus,
    generation: int,
    problem: Problem | None = None,
) -> ManagedSecretStatus:
    """What there is, how far an exchange is, and what to do where it is stuck. `keys`: of a ring's newest version."""
    ring = row.manner.strategy is Strategy.RING
    current, newest = at_work(seen), seen.newest
    problem = problem or _missing(seen, family)
    moving = ring_state(keys, seen.now) if ring else rotation.state(seen)
    revokes = ring_ends(keys, seen.now) if ring else rotation.revokes_at(seen)
    found = [_ready(seen, current, problem), _rotating(seen, row, moving, revokes)]
    renewal = rotation.next_rotation(seen)
    return ManagedSecretStatus(
        observed_generation=generation,
        conditions=tuple(conditions(found, before.conditions, generation, seen.now)),
        state=State.WAITING if problem else moving,
        current=current_name(seen, family),
        # The greatest number stays when all versions are lost: it tells that there were some.
        version=current.number if current else seen.highest,
        versions=tuple(
            Known(
                number=v.number,
                secret=family.secret if ring else family.copy_name(v.number),
                created_at=stamp(v.created),
                state=_word(v, current),
            )
            for v in seen.versions
        ),
        rotated_at=stamp(current.created) if current else before.rotated_at,
        next_rotation=stamp(renewal) if renewal else None,
        revokes_at=stamp(revokes) if revokes else None,
        asked=newest.asked if newest else before.asked,
    )


def at_work(seen: Seen) -> Version | None:
    """The version that consumers shall take now: the newest that is there for them, and works."""
    there = [v for v in seen.versions if v.copied and v.shut is None and not seen.superseded(v)]
    return there[-1] if there else None


def current_name(seen: Seen, family: Family) -> str:
    """The Secret that consumers take; empty while there is none."""
    current = at_work(seen)
    if current is None:
        return ""
    return family.secret if seen.manner.strategy is Strategy.RING else family.copy_name(current.number)


def _missing(seen: Seen, family: Family) -> Problem | None:
    """What only people can bring back."""
    if rotation.lost(seen):
        name = family.master_name(seen.highest)
        return Problem(
            "KeysLost",
            f"The keys are gone, and nothing that was sealed with them opens without. Restore the Secret {name} in"
            f" {family.home} from a backup (kubectl apply -f). Only if nothing sealed is worth keeping: kubectl -n"
            f" {family.namespace} annotate --overwrite managedsecret {family.owner['metadata']['name']}"
            f" auricle.dev/rotate={FORSAKE}",
        )
    if seen.manner.strategy is Strategy.COPY and not seen.source:
        external = family.owner["spec"]["source"]["external"]["name"]
        return Problem(
            "SourceMissing",
            f"There is no Secret {external} in {family.home} for this tenant. Make it, with the label"
            f" auricle.dev/tenant={family.tenant} (or auricle.dev/shared=true, for all tenants).",
        )
    return None


def _ready(seen: Seen, current: Version | None, problem: Problem | None) -> Finding:
    if current is not None:  # what consumers have works, whatever an exchange waits for
        return Finding(READY, Truth.TRUE, problem.reason if problem else "Ready", problem.message if problem else "")
    reason, message = (problem.reason, problem.message) if problem else ("Waiting", "It is being made.")
    return Finding(READY, Truth.FALSE, reason, message)


def _rotating(seen: Seen, row: Row, moving: State, revokes: datetime | None) -> Finding:
    newest = seen.newest
    if newest is None or moving is State.STABLE:
        return Finding(ROTATING, Truth.FALSE, "Stable", _blocked(seen))
    if row.manner.strategy is Strategy.RING:
        message = "The next key is published, and signs when everybody knows it."
        if moving is State.OVERLAPPING:
            message = "The next key signs; the one before verifies until its last token has ended."
    elif moving is State.ROLLING:
        message = f"Version {newest.number} is handed out. Still without it: {_listed(seen.missing)}."
    else:
        message = f"Everybody has version {newest.number}."
        if seen.missing:  # now: a release is rolling, say
            message += f" Not ready just now, so that nothing is shut: {_listed(seen.missing)}."
        if revokes:
            message += f" What was before it ends at {stamp(revokes)}."
    return Finding(ROTATING, Truth.TRUE, moving.value, " ".join(filter(None, (message, row.interrupts))))


def _blocked(seen: Seen) -> str:
    """Why an exchange that is due does not begin."""
    newest = seen.newest
    if newest is None or not rotation.due(seen, newest) or not rotation.waits_for(seen):
        return ""
    return f"An exchange is due, and waits for {_listed(rotation.waits_for(seen))}."


def _word(version: Version, current: Version | None) -> str:
    if current is None or version.number > current.number:
        return "next"
    return "current" if version.number == current.number else "old"


def _listed(names: tuple[str, ...]) -> str:
    """For people, and not endless."""
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "nobody"
