"""Which thing a route names, by its path parameters: what the door asks for grants on.

A room says in its `relations` whose its things are; here stands only which parameter names which. A house test holds both
tables against the routes: a new path parameter is a thing, or somebody has said why it is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from auricle.access.model import Known
from auricle.access.permissions import ADMINS, RULES, Grant
from auricle.admin.audit.kinds import EventKind, SubjectKind
from auricle.admin.audit.model import Details
from auricle.admin.audit.trail import Trail
from auricle.contract.function import Route

THINGS: dict[str, str] = {
    "file_id": "auricle.files.relations:files_by_id",
    "run_id": "auricle.runs.relations:files_by_run",
    "upload_id": "auricle.intake.relations:uploads_by_id",
}
"""Path parameter → the relation with the columns `id`, `owner` and `file_id`."""
SUBJECTS = {"file_id": SubjectKind.FILE, "run_id": SubjectKind.RUN, "upload_id": SubjectKind.FILE}
"""As the audit trail names them."""
OTHERS: dict[str, str] = {
    "asset": "a part of the documentation, public",
    "day": "the house's own",
    "dead_letter_id": "the host's own",
    "grant_id": "only looked for on the file of the same route",
    "group_id": "the house's own",
    "invitation_id": "the house's own",
    "passkey_id": "only looked for among the caller's own",
    "section": "the house's own",
    "service_account_id": "the house's own",
    "authorities": "the house's own",
    "directory": "the house's own",
    "identity": "only looked for among the caller's own",
    "provider": "the house's own",
    "session_id": "only looked for among the caller's own",
    "token_id": "only looked for among the caller's own, or those of the service account of the same route",
    "user_id": "the house's own: who may change whom is asked in identity.people",
}
"""Path parameters that no grant is on, and what keeps others away from what they name."""


def thing_of(route: Route) -> str | None:
    """The path parameter that names the route's thing; None where its permission concerns none."""
    if RULES[route.permission.name].grant is None:
        return None
    named = [name for name in route.path_parameters if name in THINGS]
    if len(named) > 1:
        raise TypeError(f"{route.method} {route.path} names several things; the door decides about one.")
    if not named and route.path_parameters:
        raise TypeError(f"{route.method} {route.path}: say in runtime.things which of its parameters is the thing.")
    return named[0] if named else None


def watch(route: Route, known: Known, given: Mapping[Any, Any]) -> None:
    """Note that an administrator looks at what another owns: they may where it was granted, and it is seen that they did."""
    parameter, roles = thing_of(route), known.principal.roles
    if parameter is None or known.grant is Grant.OWNER or not roles & ADMINS:
        return
    subject = (SUBJECTS[parameter], given[parameter])
    trail: Trail = given[Trail]
    trail.record(EventKind.CONTENT_READ_BY_ADMIN, subject, Details(permission=route.permission.value))


@cache
def relation(parameter: str) -> Any:
    """The relation of a path parameter; its room is imported now."""
    module, _, name = THINGS[parameter].partition(":")
    return getattr(import_module(module), name)
