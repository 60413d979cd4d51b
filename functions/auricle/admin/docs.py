"""The interface, described: the OpenAPI document and pages to try it, without any outside host."""

from __future__ import annotations

import mimetypes
from importlib.resources import files

from auricle.contract.choices import Permission
from auricle.contract.function import route
from auricle.contract.http import Download, Redirect
from auricle.errors import NotFound

UI = files("flask_swagger_ui") / "dist"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Auricle API</title>
<link rel="icon" href="/api/docs/favicon-32x32.png">
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
<style>@media (prefers-color-scheme: dark) { body { background: #fff; color-scheme: light; } }</style>
</head>
<body>
<div id="ui"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"""
START = """window.ui = SwaggerUIBundle({
  url: "/api/openapi.json", dom_id: "#ui", deepLinking: true, persistAuthorization: true, validatorUrl: null,
});
"""


@route("GET /api/openapi.json", permission=Permission.DOCS, function="docs")
def openapi_document() -> Download:
    """The OpenAPI document."""
    return Download((files("auricle") / "openapi.json").read_bytes(), "application/json")


@route("GET /api/docs", permission=Permission.DOCS, function="docs")
def docs_page() -> Download:
    """Pages to read and try the interface."""
    return Download(PAGE.encode(), "text/html; charset=utf-8")


@route("GET /api/docs/{asset}", permission=Permission.DOCS, function="docs")
def docs_asset(asset: str) -> Download:
    """What the pages consist of."""
    if asset == "start.js":
        return Download(START.encode(), "text/javascript; charset=utf-8")
    if asset not in ASSETS:
        raise NotFound("There is no such file. The pages begin at /api/docs.")
    kind = mimetypes.guess_type(asset)[0] or "application/octet-stream"
    return Download((UI / asset).read_bytes(), kind)


@route("GET /", permission=Permission.PUBLIC, function="docs")
def front_door() -> Redirect:
    """Where a browser that comes to the bare address is led."""
    return Redirect("/api/docs")
