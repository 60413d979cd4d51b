"""HTTP to identity providers: TLS verified, every wait and every byte bounded, and no redirect to another origin.

What comes back is made for Authlib too, which takes any session with `post` and any answer with `json` (the shape of requests).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
import urllib3

from auricle.errors import Permanent, Retryable

MAX_BYTES = 256 * 1024
"""Of one answer. Real discovery documents, key sets and token answers are under 20 KiB."""
CONNECT_SECONDS = 4.0
SILENCE_SECONDS = 5.0
"""Without a byte."""
TOTAL_SECONDS = 10.0
"""From the first byte sent to the last one read: a person waits for this, and it holds one thread."""
REDIRECTS = 3
PIECE = 16 * 1024
AGENT = "auricle"


class Signer(Protocol):
    """What puts the client's credentials on a request: Authlib's `ClientAuth`."""

    def prepare(self, method: str, uri: str, headers: dict[str, str], body: str) -> tuple[str, dict[str, str], str]:
        """The request with credentials on it."""
        ...


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes that one request may cost."""

    connect: float = CONNECT_SECONDS
    silence: float = SILENCE_SECONDS
    total: float = TOTAL_SECONDS
    bytes: int = MAX_BYTES


@dataclass(frozen=True)
class Answer:
    """A whole answer, within the limits."""

    status_code: int
    host: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    def json(self) -> Any:
        """The JSON document; ValueError when it is none."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError("not JSON") from error

    def raise_for_status(self) -> None:
        """Raise what an answer that is not a success means."""
        if self.status_code == 429 or self.status_code >= 500:
            raise Retryable(
                f"The identity provider {self.host} cannot answer now (HTTP {self.status_code}). Try again shortly."
            )
        if self.status_code >= 400:
            raise Permanent(
                f"The identity provider {self.host} refused the request (HTTP {self.status_code}): check its address."
            )

    def document(self) -> dict[str, Any]:
        """The JSON object of a successful answer."""
        self.raise_for_status()
        try:
            found = self.json()
        except ValueError as error:
            raise Permanent(f"The identity provider {self.host} did not answer with JSON: check its address.") from error
        if not isinstance(found, dict):
            raise Permanent(f"The identity provider {self.host} did not answer with a JSON object: check its address.")
        return found


class Web:
    """Requests to one provider. Safe for threads."""

    def __init__(self, ca_pem: str | None = None, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._pool = urllib3.PoolManager(
            maxsize=4,
            retries=False,
            timeout=urllib3.Timeout(connect=self._limits.connect, read=self._limits.silence),
            cert_reqs="CERT_REQUIRED",
            ssl_context=trusting(ca_pem) if ca_pem else None,
        )

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET `url`; redirects are followed within its own origin only."""
        end = time.monotonic() + self._limits.total
        for _ in range(REDIRECTS + 1):
            answer = self._request("GET", url, {"Accept": "application/json", **(headers or {})}, None, end)
            if answer.status_code not in (301, 302, 303, 307, 308):
                return answer
            url = within(url, answer)
        raise Permanent(f"The identity provider {answer.host} redirects in circles: check its address.")

    def post(
        self, url: str, data: Mapping[str, str], headers: Mapping[str, str] | None = None, auth: Signer | None = None
    ) -> Answer:
        """POST a form. No redirect is followed: the body holds a code or a token, and the headers our secret."""
        body, sent = urlencode(data), dict(headers or {})
        if auth is not None:
            url, sent, body = auth.prepare("POST", url, sent, body)
        answer = self._request("POST", url, sent, body, time.monotonic() + self._limits.total)
        if 300 <= answer.status_code < 400:
            raise Permanent(f"The identity provider {answer.host} redirects its token endpoint, which is not followed.")
        return answer

    def _request(self, method: str, url: str, headers: Mapping[str, str], body: str | None, end: float) -> Answer:
        host = urlsplit(url).netloc
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={"User-Agent": AGENT, "Accept-Encoding": "identity", **headers},
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                content = self._read(response, host, end)
            except BaseException:
                response.close()
                raise
            response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            _unreachable(host, error)
        except (OSError, ValueError) as error:  # an address that http.client cannot even send
            raise Permanent(f"The identity provider's address {host} cannot be used. Correct it in its settings.") from error
        return Answer(response.status, host, {name.lower(): value for name, value in response.headers.items()}, content)

    def _read(self, response: urllib3.BaseHTTPResponse, host: str, end: float) -> bytes:
        pieces, size = [], 0
        while piece := response.read1(PIECE, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > self._limits.bytes:
                raise Permanent(f"The identity provider {host} sent more than {self._limits.bytes} bytes: check its address.")
            if time.monotonic() > end:
                raise Retryable(f"The identity provider {host} answers too slowly. Try again in a minute.", delay=60)
        return b"".join(pieces)


def trusting(ca_pem: str) -> ssl.SSLContext:
    """A verifying TLS context that trusts these authorities and no others."""
    try:
        return ssl.create_default_context(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise Permanent("The CA certificates for this provider cannot be read. Give them in PEM.") from error


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def within(url: str, answer: Answer) -> str:
    """Where a redirect leads, when that is the same origin."""
    target = urljoin(url, answer.headers.get("location", ""))
    if origin(target) != origin(url):
        raise Permanent(f"The identity provider {answer.host} redirects to another host, which is not followed.")
    return target


def _unreachable(host: str, error: urllib3.exceptions.HTTPError) -> NoReturn:
    """What went wrong on the way, in words that name no address but the provider's."""
    if isinstance(error, urllib3.exceptions.SSLError):
        raise Permanent(f"The certificate of the identity provider {host} is not trusted. Configure its CA.") from error
    if isinstance(error, urllib3.exceptions.LocationValueError):
        raise Permanent(f"The identity provider's address {host} cannot be used. Correct it in its settings.") from error
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (urllib3.exceptions.NameResolutionError, "its name is not known"),
        (urllib3.exceptions.NewConnectionError, "it accepts no connection"),
        (urllib3.exceptions.TimeoutError, "it does not answer in time"),
    )
    words = next((words for kind, words in kinds if isinstance(error, kind)), "the connection broke")
    raise Retryable(f"The identity provider {host} cannot be reached: {words}. Try again in a minute.", delay=60) from error
