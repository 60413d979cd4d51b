"""Models as artifacts in an image registry: one layer per file, found by its title or its digest (OCI distribution 1.1)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from auricle.errors import Invalid, Permanent, Retryable
from auricle_gpu.download import Advice
from auricle_gpu.manifest import ModelFile
from auricle_gpu.sources.web import Web, bearer

TITLE = "org.opencontainers.image.title"
MANIFEST = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
LARGEST_MANIFEST = 4 * 2**20
"""Bytes; the distribution's own limit."""
REPO = re.compile(r"^(?:(?P<scheme>https?)://)?(?P<host>[^/\s]+)/(?P<repo>[a-z0-9]+(?:[._/-][a-z0-9._-]+)*)$")
ADVICE = Advice(
    refused="It asks who you are: name a Secret with a token, or username and password, in source.credentials.",
    missing="Check the repository and the digest in the source.",
)


class Layer(msgspec.Struct, frozen=True):
    """One blob of an artifact."""

    digest: str
    size: int
    annotations: dict[str, str] = {}


class Artifact(msgspec.Struct, frozen=True):
    """A manifest, as far as it matters here."""

    layers: tuple[Layer, ...] = ()


class _Answer(msgspec.Struct, frozen=True):
    """Of a registry, read to its end."""

    status: int
    challenge: str
    body: bytes


class Registry:
    """`Source` of one artifact, named by its manifest's digest."""

    def __init__(
        self, uri: str, digest: str, *, token: str = "", username: str = "", password: str = "", pause: float = 1.0
    ) -> None:
        """`uri` is `registry/repository`, by https unless it begins with `http://`. The manifest is asked for once."""
        found = REPO.match(uri)
        if found is None:
            raise Invalid(f"{uri} is no repository: write registry/repository, without a tag.")
        self._repo = found["repo"]
        self._base = f"{found['scheme'] or 'https'}://{found['host']}/v2/{self._repo}"
        self._digest = digest
        self._basic = base64.b64encode(f"{username}:{password}".encode()).decode() if username else ""
        self._headers: Mapping[str, str] = bearer(token)
        self._pause = pause
        self._layers: tuple[Layer, ...] | None = None
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=60))

    def fetch(self, file: ModelFile, target: Path, progress: Callable[[int], None]) -> None:
        """As `Source` says."""
        if self._layers is None:
            self._layers = self._manifest()
        layer = _layer(self._layers, file)
        web = Web(lambda _: f"{self._base}/blobs/{layer.digest}", self._headers, advice=ADVICE, pause=self._pause)
        web.fetch(file, target, progress)

    def _manifest(self) -> tuple[Layer, ...]:
        url = f"{self._base}/manifests/{quote(self._digest, safe=':')}"
        answer = self._get(url, {"Accept": MANIFEST, **self._headers})
        if answer.status == 401 and not self._headers:
            self._headers = self._sign_in(answer.challenge)
            answer = self._get(url, {"Accept": MANIFEST, **self._headers})
        if answer.status in (401, 403):
            raise Permanent(f"The registry refuses {self._repo} (HTTP {answer.status}). {ADVICE.refused}")
        if answer.status != 200:
            raise Permanent(f"The registry has no {self._repo}@{self._digest} (HTTP {answer.status}). {ADVICE.missing}")
        if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != self._digest:
            raise Permanent(f"The registry's manifest of {self._repo} is not the one called {self._digest}: do not trust it.")
        try:
            return msgspec.json.decode(answer.body, type=Artifact).layers
        except msgspec.DecodeError as error:
            raise Permanent(f"{self._repo}@{self._digest} is no artifact with files: name a manifest, no index.") from error

    def _sign_in(self, challenge: str) -> Mapping[str, str]:
        """What the registry's challenge asks for (distribution: token authentication)."""
        scheme, _, rest = challenge.partition(" ")
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        basic = {"Authorization": f"Basic {self._basic}"} if self._basic else {}
        if scheme.lower() == "basic":
            return basic
        if scheme.lower() != "bearer" or urlsplit(asked.get("realm", "")).scheme not in ("https", "http"):
            return {}
        query = {"service": asked.get("service", ""), "scope": asked.get("scope", f"repository:{self._repo}:pull")}
        answer = self._get(urljoin(asked["realm"], f"?{urlencode(query)}"), basic)
        if answer.status != 200:
            raise Permanent(f"The registry gives no token for {self._repo} (HTTP {answer.status}). {ADVICE.refused}")
        try:
            given = msgspec.json.decode(answer.body, type=dict[str, object])
        except msgspec.DecodeError as error:
            raise Retryable("The registry's sign-in answers with something that is no token: try again later.") from error
        return bearer(str(given.get("token") or given.get("access_token") or ""))

    def _get(self, url: str, headers: Mapping[str, str]) -> _Answer:
        try:
            answer = self._pool.request("GET", url, headers=headers, retries=urllib3.Retry(2), preload_content=False)
            body = answer.read(LARGEST_MANIFEST)
        except HTTPError as error:
            raise Retryable("The registry does not answer: check its address and the connection.") from error
        answer.release_conn()
        if answer.status >= 500 or answer.status == 429:
            raise Retryable(f"The registry is in trouble (HTTP {answer.status}): try again later.")
        return _Answer(answer.status, answer.headers.get("WWW-Authenticate", ""), body)


def _layer(layers: tuple[Layer, ...], file: ModelFile) -> Layer:
    """The layer that is `file`: of that title, else of those bytes."""
    for layer in layers:
        if layer.annotations.get(TITLE) == file.path:
            return layer
    for layer in layers:
        if file.sha256 and layer.digest == f"sha256:{file.sha256}":
            return layer
    raise Permanent(f"The artifact has no layer with the title {file.path}: push it with its files as layers.")
