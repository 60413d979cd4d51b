"""The HTTP surface against its own OpenAPI document: whatever is sent, the answers are what was promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import flask
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from auricle.deploy.openapi import document
from builders.house import House, house

DOCUMENT = json.loads(json.dumps(document()))
STREAMS = ("/api/events",)
"""Answers that never end are tested where they are followed."""


@pytest.fixture(scope="module")
def home(database_url: str) -> Iterator[House]:
    with house(database_url) as made:
        yield made


def operations() -> list[Any]:
    """Every operation of the document that ends by itself."""
    found = [result.ok() for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
    return [operation for operation in found if operation.path not in STREAMS]


@pytest.fixture(scope="module")
def wsgi(home: House) -> flask.Flask:
    app = flask.Flask("api")
    # No routes at all: whatever path comes, our own door answers it.
    app.register_error_handler(404, lambda error: home.bound(flask.request))
    return app


@pytest.mark.parametrize("operation", operations(), ids=lambda o: f"{o.method.upper()} {o.path}")
def test_no_request_breaks_the_house_or_its_promises(operation: Any, home: House, wsgi: flask.Flask) -> None:
    operation.schema.app = wsgi

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy())
    def holds(case: Any) -> None:
        answer = case.call(app=wsgi, headers={"Authorization": f"Bearer {home.token}"})
        case.validate_response(answer, checks=[not_a_server_error, response_schema_conformance])
        if answer.status_code >= 400:
            problem = answer.json()
            assert problem["status"] == answer.status_code
            assert problem["detail"].endswith((".", "?"))

    holds()


def test_every_operation_asks_who_is_there(home: House) -> None:
    stranger = House(home.bound, home.queue, "aur_stranger", home.url)
    for number, (path, operations) in enumerate(DOCUMENT["paths"].items()):
        stranger.address = f"192.0.2.{number}"  # who shows what is no credential too often is told to wait
        for method, operation in operations.items():
            if operation.get("security") == []:
                continue
            filled = path
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    day = parameter["schema"].get("format") == "date"
                    value = "2026-01-31" if day else "01890000-0000-7000-8000-000000000000"
                    filled = filled.replace(f"{{{parameter['name']}}}", value)
            body = {} if "requestBody" in operation else None
            needed = [p["name"] for p in operation["parameters"] if p["in"] == "query" and p["required"]]
            query = "?" + "&".join(f"{name}=x" for name in needed) if needed else ""
            status = stranger.raw(method.upper(), filled + query, body).status_code
            assert status in (401, 422), (method, path, status)  # 422: the body is read first, and says nothing of data
