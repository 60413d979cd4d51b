"""What an operator looks at over HTTP."""

from __future__ import annotations

from auricle import __version__
from auricle.admin import actions
from auricle.admin.audit.trail import Trail
from auricle.admin.model import DeadLetter, DeadLetterId, Health
from auricle.admin.store import DeadLetterStore
from auricle.contract.choices import Permission
from auricle.contract.cursors import uuid_cursor
from auricle.contract.function import route
from auricle.contract.http import Page, PageQuery, Reply
from auricle.errors import NotFound
from auricle.ports.bus import Bus
from auricle.ports.health import Components


class DeadLetterQuery(PageQuery, frozen=True, kw_only=True):
    """`state`: open or replayed; both without it."""

    state: str | None = None


@route("GET /api/dead-letters", permission=Permission.OPERATE)
def list_dead_letters(query: DeadLetterQuery, letters: DeadLetterStore) -> Page[DeadLetter]:
    """Events that could not be worked on, newest first."""
    return uuid_cursor(query, lambda limit, before: letters.page(limit, before, query.state))


@route("GET /api/dead-letters/{dead_letter_id}", permission=Permission.OPERATE)
def get_dead_letter(dead_letter_id: DeadLetterId, letters: DeadLetterStore) -> DeadLetter:
    """One of them, with its event."""
    found = letters.get(dead_letter_id)
    if found is None:
        raise NotFound("There is no such dead letter.")
    return found


@route("POST /api/dead-letters/{dead_letter_id}/replay", permission=Permission.OPERATE, status=202)
def replay_dead_letter(dead_letter_id: DeadLetterId, letters: DeadLetterStore, bus: Bus, trail: Trail) -> DeadLetter:
    """Try it again; what belongs to a run goes through the run's retry."""
    return actions.replay(dead_letter_id, letters, bus, trail)


@route("GET /health", permission=Permission.PUBLIC)
def health(components: Components) -> Reply[Health]:
    """How each component does. Always 200: `status` says `ok` or `degraded`."""
    found = components.check()
    status = "ok" if all(word == "ok" for word in found.values()) else "degraded"
    return Reply(Health(status=status, version=__version__, components=found))
