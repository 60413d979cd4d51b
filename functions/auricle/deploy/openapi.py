"""The OpenAPI 3.1 document of all routes, from their signatures. `auricle` serves it; CI checks it for drift."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from auricle import __version__
from auricle.admin.configuration.changing import Setting
from auricle.admin.configuration.routes import SettingChange
from auricle.admin.configuration.sections import SECTIONS
from auricle.contract.choices import SCOPES, Permission
from auricle.contract.function import Route, registry
from auricle.contract.http import Download, Form, Redirect, Reply, Stream
from auricle.deploy.catalogue import first_line, load
from auricle.runtime.limits import HEALTH

PROBLEM = {"$ref": "#/components/schemas/Problem"}
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457. `detail` is a sentence that says what to do; further members belong to the `type`.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:auricle:problem:not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "trace": {"type": "string"},
    },
    "additionalProperties": True,
}


def document() -> dict[str, Any]:
    """The whole document, in a stable order."""
    load()
    routes = sorted(registry.routes, key=lambda r: (r.path, r.method))
    sections = [row.resolved().type for row in SECTIONS.values()]
    kinds = [*(kind for route in routes for kind in _kinds(route)), *sections]
    (_, components) = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    _say_what_settings_are(components, [_schema(kind) for kind in sections])
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Auricle",
            "version": __version__,
            "description": "A self-hosted vault for recordings and documents. Lists have cursors, writes take an "
            "`Idempotency-Key`, every error is a problem document with a sentence that helps.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in sorted({r.function for r in routes})],
        "paths": paths,
        "components": {
            "schemas": {**dict(sorted(components.items())), "Problem": _PROBLEM_SCHEMA},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "aur_…",
                    "description": f"A personal token. Scopes: {', '.join(SCOPES)}.",
                }
            },
        },
    }


def _say_what_settings_are(components: dict[str, Any], sections: list[Mapping[str, Any]]) -> None:
    """The routes of settings are the same for every section; their values are not any object."""
    shown = [*sections, {"type": "null"}]
    components[SettingChange.__name__]["properties"]["value"] = {"anyOf": sections}
    components[Setting.__name__]["properties"] |= {"value": {"anyOf": shown}, "default": {"anyOf": shown}}


def _operation(route: Route) -> dict[str, Any]:
    docstring = (route.handler.__doc__ or "").strip()
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": first_line(docstring).rstrip("."),
        "tags": [route.function],
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    rest = docstring.partition("\n")[2].strip()
    if rest:
        operation["description"] = " ".join(rest.split())
    if route.permission is Permission.PUBLIC:
        operation["security"] = []
    else:
        operation["x-permission"] = route.permission.value
    if route.body:
        schema = _schema(route.signature.parameters[route.body])
        form = issubclass(route.signature.parameters[route.body], Form)
        media = "application/x-www-form-urlencoded" if form else "application/json"
        operation["requestBody"] = {"required": True, "content": {media: {"schema": schema}}}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": _schema(route.signature.parameters[name])}
        for name in route.path_parameters
    ]
    if route.query:
        for field in msgspec.structs.fields(route.signature.parameters[route.query]):
            found.append({"name": field.encode_name, "in": "query", "required": field.required, "schema": _schema(field.type)})
    found += [
        {"name": header, "in": "header", "required": False, "schema": {"type": "string"}} for header in route.headers.values()
    ]
    if route.method in ("POST", "PUT", "PATCH", "DELETE") and route.permission is not Permission.PUBLIC:
        schema = {"type": "string", "maxLength": 200}
        found.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema})
    return found


def _responses(route: Route) -> dict[str, Any]:
    kind = route.signature.returns
    responses: dict[str, Any] = {}
    if kind is type(None):
        responses["204" if route.status == 200 else str(route.status)] = {"description": "Done"}
    elif kind is Redirect:
        responses["302"] = {"description": "The bytes are at Location", "headers": {"Location": {"schema": {"type": "string"}}}}
    elif kind is Stream:
        media = "text/event-stream" if route.function == "progress" else "*/*"
        responses["200"] = {"description": "A stream", "content": {media: {"schema": {"type": "string"}}}}
    elif kind is Download:
        responses["200"] = {"description": "The document", "content": {"*/*": {}}}
    else:
        content = {"application/json": {"schema": _schema(_carried(kind))}}
        responses |= {str(status): {"description": "Done", "content": content} for status in (route.status, *route.also)}
    if route.path != HEALTH:
        responses["503"] = {
            "description": "The database is away, or this vault is suspended (`urn:auricle:problem:suspended`)",
            "content": {"application/problem+json": {"schema": PROBLEM}},
        }
    responses["default"] = {"description": "What went wrong", "content": {"application/problem+json": {"schema": PROBLEM}}}
    return responses


def _carried(kind: Any) -> Any:
    """`Reply[T]` → T."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Reply else kind


def _kinds(route: Route) -> list[Any]:
    parameters = route.signature.parameters
    kinds = [parameters[name] for name in (*route.path_parameters, *((route.body,) if route.body else ()))]
    if route.query:
        kinds += [field.type for field in msgspec.structs.fields(parameters[route.query])]
    carried = _carried(route.signature.returns)
    if carried not in (type(None), Redirect, Stream, Download):
        kinds.append(carried)
    return kinds


def _schema(kind: Any) -> Mapping[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    return schema
