"""A place that serves a model's files over HTTP, with ranges, and can be told to misbehave: plain, as a registry, as S3."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from auricle_gpu.manifest import ModelFile

REPO = "models/demo"
KEY, SECRET = "AKIAMODELS", "not-so-secret"


def listed(files: Mapping[str, bytes]) -> tuple[ModelFile, ...]:
    """What a resource says of `files`."""
    return tuple(ModelFile(path=p, size=len(d), sha256=hashlib.sha256(d).hexdigest()) for p, d in files.items())


class ModelStore:
    """Serves `files`. `break_after` bytes its connection breaks, for the next `breaks` answers; `wrong` are the bytes that it
    serves instead, each as often as is written there."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.break_after, self.breaks = 0, 0
        self.wrong: dict[str, list[bytes]] = {}
        self.statuses: dict[str, int] = {}
        self.token = ""
        self.signed = False
        self.asked: list[tuple[str, int]] = []
        self.headers: list[dict[str, str]] = []
        self.hang_after: int | None = None
        self.release = threading.Event()
        self.url = ""

    @property
    def manifest(self) -> bytes:
        """The artifact's, as `oras push` writes it."""
        layers = [
            {
                "mediaType": "application/octet-stream",
                "digest": f"sha256:{file.sha256}",
                "size": file.size,
                "annotations": {"org.opencontainers.image.title": file.path},
            }
            for file in listed(self.files)
        ]
        return json.dumps({"schemaVersion": 2, "layers": layers}).encode()

    @property
    def digest(self) -> str:
        """Of the artifact."""
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """One GET."""
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        path = unquote(urlsplit(request.path).path).lstrip("/")
        if path == "token":
            basic = base64.b64decode(request.headers.get("Authorization", "Basic ").removeprefix("Basic ")).decode()
            good = basic == "robot:pass" and f"scope=repository%3A{REPO.replace('/', '%2F')}%3Apull" in request.path
            return self._say(request, 200 if good else 401, json.dumps({"token": self.token}).encode())
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            realm = f'Bearer realm="{self.url}/token",service="here",scope="repository:{REPO}:pull"'
            return self._say(request, 401, b"", {"WWW-Authenticate": realm})
        if self.signed and not self._right(request):
            return self._say(request, 403, b"<Code>SignatureDoesNotMatch</Code>")
        if path == f"v2/{REPO}/manifests/{self.digest}":
            return self._say(request, 200, self.wrong.get("manifest", [self.manifest])[0])
        if path.startswith(f"v2/{REPO}/blobs/"):
            path = {f"sha256:{f.sha256}": f.path for f in listed(self.files)}[path.rpartition("/")[2]]
        for prefix in ("base/", "bucket/some/prefix/"):
            path = path.removeprefix(prefix)
        return self._file(request, path)

    def _right(self, request: BaseHTTPRequestHandler) -> bool:
        """Signature Version 4, as a store checks it: by computing it anew."""
        asked = dict(pair.partition("=")[::2] for pair in urlsplit(request.path).query.split("&"))
        given = asked.pop("X-Amz-Signature", "")
        anew = AWSRequest("GET", f"{self.url}{urlsplit(request.path).path}?" + "&".join(f"{k}={v}" for k, v in asked.items()))
        anew.context["timestamp"] = asked.get("X-Amz-Date", "")
        signer = S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", "eu-test-1")
        anew.headers["host"] = urlsplit(self.url).netloc
        signer_text = signer.string_to_sign(anew, signer.canonical_request(anew))
        return bool(given) and signer.signature(signer_text, anew) == given

    def _file(self, request: BaseHTTPRequestHandler, name: str) -> None:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.asked.append((name, start))
        if name in self.statuses or name not in self.files:
            return self._say(request, self.statuses.get(name, 404), b"")
        serving = self.wrong.get(name)
        data = serving.pop(0) if serving else self.files[name]
        if start >= len(data) and start:
            return self._say(request, 416, b"")
        body = data[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        if self.breaks > 0 and len(body) > self.break_after:
            self.breaks -= 1
            body = body[: self.break_after]
        if self.hang_after is not None and len(body) > self.hang_after:
            request.wfile.write(body[: self.hang_after])
            request.wfile.flush()
            self.release.wait(30)
            return None
        request.wfile.write(body)
        return None

    def _say(self, request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def model_store(files: Mapping[str, bytes], address: str = "127.0.0.1") -> Iterator[ModelStore]:
    """One that serves `files` as long as the context lasts, at an address of this machine."""
    store = ModelStore(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            store.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients are killed here on purpose."""

    server = Server((address, 0), Handler)
    store.url = f"http://{address}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
