"""The functions of this process as a WSGI application, made by functions-framework as in every container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions_framework import create_app

from auricle.runtime.local.planning import source_file

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def application() -> WSGIApplication:
    """What AURICLE_FUNCTION names, as functions-framework's *http* signature."""
    made: WSGIApplication = create_app("handle", str(source_file()), "http")  # type: ignore[no-untyped-call]
    return made
