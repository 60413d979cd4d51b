"""The OpenAPI document is valid, complete and the one that is served."""

from __future__ import annotations

import json

from openapi_spec_validator import validate

from auricle.contract.function import registry
from auricle.deploy.openapi import document


def test_the_document_is_valid_openapi() -> None:
    validate(json.loads(json.dumps(document())))


def test_every_route_is_described_with_a_sentence_and_its_permission() -> None:
    described = document()["paths"]
    for route in registry.routes:
        operation = described[route.path][route.method.lower()]
        assert len(operation["summary"]) > 5
        assert "x-permission" in operation or operation["security"] == []


def test_operations_have_unique_names() -> None:
    names = [o["operationId"] for path in document()["paths"].values() for o in path.values()]
    assert len(names) == len(set(names))
