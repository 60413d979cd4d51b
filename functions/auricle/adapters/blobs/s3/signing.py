"""Signature Version 4, by botocore's signer: in the header for our own calls, in the query for URLs that others use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from auricle.adapters.blobs.keys import quoted
from auricle.errors import Invalid

SERVICE = "s3"
BACKDATED = 120
"""Seconds. A store whose clock is behind ours refuses a signature from its future."""
LONGEST = 7 * 24 * 3600
"""Seconds. S3 refuses URLs that live longer."""


class Credentials:
    """What botocore's signer asks for, and nothing that prints it."""

    __slots__ = ("access_key", "secret_key", "token")

    def __init__(self, access_key: str, secret_key: str, token: str | None) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token


class Signer:
    """Addresses and signs requests to one bucket. `path_style`: the bucket in the path, as self-hosted stores want it."""

    def __init__(self, credentials: Credentials, region: str, bucket: str, path_style: bool) -> None:
        self._credentials = credentials
        self._region = region
        self._bucket = bucket
        self._path_style = path_style

    def address(self, base: str, key: str, query: Mapping[str, str]) -> str:
        """The unsigned URL of `key` (or of the bucket, with an empty one) at the service `base`."""
        parts = urlsplit(base.rstrip("/"))
        if self._path_style:
            host, path = parts.netloc, f"{parts.path}/{self._bucket}"
        else:
            host, path = f"{self._bucket}.{parts.netloc}", parts.path
        asked = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())
        url = f"{parts.scheme}://{host}{path}" + (f"/{quoted(key)}" if key else "" if path else "/")
        return f"{url}?{asked}" if asked else url

    def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """`headers` and those that sign the request with them and `body` (whose hash the store checks)."""
        request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
        S3SigV4Auth(self._credentials, SERVICE, self._region).add_auth(request)
        return dict(request.headers.items())

    def url(self, method: str, url: str, headers: Mapping[str, str], seconds: int) -> str:
        """A URL that is good for one `method` for `seconds`; who uses it has to send exactly `headers` too."""
        if seconds + BACKDATED > LONGEST:
            raise Invalid("A signed URL lives at most seven days: ask for a shorter life.")
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        _Backdated(self._credentials, SERVICE, self._region, expires=max(1, seconds + BACKDATED)).add_auth(request)
        signed: str = request.url
        return signed


class _Backdated(S3SigV4QueryAuth):  # type: ignore[misc]
    """Signs as of two minutes ago; botocore's own `add_auth` knows only now."""

    def add_auth(self, request: AWSRequest) -> None:
        """Put the signature into the request's URL."""
        request.context["timestamp"] = (datetime.now(UTC) - timedelta(seconds=BACKDATED)).strftime("%Y%m%dT%H%M%SZ")
        self._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(text, request))
