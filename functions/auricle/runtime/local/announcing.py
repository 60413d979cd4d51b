"""The filesystem store's notifications: what an object store's server posts when an object has arrived."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus
from wsgiref.util import setup_testing_defaults

import msgspec

from auricle.errors import Retryable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PATH = "/api/bucket-events"


class Announcer:
    """Tells the functions of each object that arrived by itself, in the words of S3 and with the bucket's token."""

    def __init__(self, functions: WSGIApplication, token: str) -> None:
        """`functions` answers at `PATH`; no network lies between."""
        self._functions = functions
        self._token = token

    def __call__(self, key: str, etag: str, size: int) -> None:
        """Announce one object; `Retryable` unless somebody took note."""
        record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": quote_plus(key), "eTag": etag, "size": size}}}
        status = self._post(msgspec.json.encode({"Records": [record]}))
        if not status.startswith("2"):
            raise Retryable("The file has come but could not be noted yet. Send it again in a moment.")

    def _post(self, body: bytes) -> str:
        said: list[str] = []

        def start(status: str, headers: list[tuple[str, str]], error: Any = None, /) -> Any:
            said.append(status)
            return lambda data: None

        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": PATH,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": f"Bearer {self._token}",
            "wsgi.input": io.BytesIO(body),
        }
        setup_testing_defaults(environ)
        answer = self._functions(environ, start)
        try:
            for _ in answer:
                pass
        finally:
            if hasattr(answer, "close"):
                answer.close()
        return said[-1] if said else ""
