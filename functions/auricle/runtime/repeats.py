"""A write that is asked for twice under one `Idempotency-Key` is done once, and answered twice alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Request, Response
from sqlalchemy import Column, Connection, DateTime, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text, Uuid, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from auricle.contract.function import Route
from auricle.contract.http import Reply
from auricle.errors import Conflict, Invalid
from auricle.runtime.problems import problem_of
from auricle.schema import metadata

IDEMPOTENT_FOR = timedelta(hours=24)
TOLD_ONCE = "This was done already, and its secret was told then and is kept nowhere. If it is lost, end it and make another."
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal_id", Uuid, nullable=False),
    Column("route", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("principal_id", "route", "key"),
)


def once(
    route: Route,
    request: Request,
    connection: Connection,
    who: UUID,
    work: Callable[[], tuple[Any, Response]],
    refusal: Callable[[Any], Response],
) -> Response:
    """The answer of `work`, or of the first time. Secrets are kept nowhere: who asks again for one is told so (`refusal`)."""
    key = request.headers.get("Idempotency-Key")
    if not key or request.method not in WRITES:
        return work()[1]
    if len(key) > 200:
        raise Invalid("An Idempotency-Key has at most 200 characters.")
    asked = hashlib.sha256(request.full_path.encode() + b"\0" + request.get_data()).digest()
    named = f"{route.method} {route.path}"
    mine = (
        idempotency_keys.c.principal_id == who,
        idempotency_keys.c.route == named,
        idempotency_keys.c.key == key,
    )
    connection.execute(idempotency_keys.delete().where(*mine, idempotency_keys.c.created_at < func.now() - IDEMPOTENT_FOR))
    first = insert(idempotency_keys).values(principal_id=who, route=named, key=key, request_hash=asked)
    # The unique row is the lock: a second request waits here until the first has committed or failed.
    if connection.execute(first.on_conflict_do_nothing().returning(idempotency_keys.c.key)).first() is None:
        row = connection.execute(select(idempotency_keys).where(*mine)).one()
        if row.request_hash != asked:
            raise Invalid("This Idempotency-Key was used for a different request. Use a new key for a new request.")
        return Response(row.body, row.status, row.headers)
    value, response = work()
    if "Set-Cookie" in response.headers:  # a sign-in's secrets are told once and kept nowhere
        connection.execute(idempotency_keys.delete().where(*mine))
        return response
    secret = isinstance(value, Reply) and value.secret
    kept = refusal(problem_of(Conflict(TOLD_ONCE))) if secret else response
    connection.execute(
        idempotency_keys.update().where(*mine).values(status=kept.status_code, headers=dict(kept.headers), body=kept.get_data())
    )
    return response
