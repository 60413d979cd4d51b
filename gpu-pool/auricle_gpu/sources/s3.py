"""Models in an S3 service."""

from __future__ import annotations

from urllib.parse import urlsplit

from auricle.adapters.blobs.s3.signing import Credentials, Signer
from auricle.errors import Invalid
from auricle_gpu.download import Advice
from auricle_gpu.manifest import ModelFile
from auricle_gpu.sources.web import Web

URL_SECONDS = 24 * 3600
"""One file takes less."""
ADVICE = Advice(
    refused="Its key may not read this: name a Secret with access-key-id and secret-access-key in source.credentials.",
    missing="Check the bucket and the prefix in the source's uri.",
)


def prefix(uri: str, endpoint: str, region: str, access_key: str = "", secret_key: str = "", pause: float = 1.0) -> Web:
    """The objects beneath `uri` (`s3://bucket/prefix`) at the service `endpoint`; without a key the bucket is asked openly."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise Invalid(f"{uri} names no bucket: write s3://bucket/prefix.")
    if not endpoint:
        raise Invalid("Nobody said where the S3 service is: put its address into the credentials' Secret, as `endpoint`.")
    signer = Signer(Credentials(access_key, secret_key, None), region, parts.netloc, path_style=True)
    beneath = parts.path.strip("/")

    def address(file: ModelFile) -> str:
        plain = signer.address(endpoint, f"{beneath}/{file.path}".lstrip("/"), {})
        return signer.url("GET", plain, {}, URL_SECONDS) if access_key else plain

    return Web(address, advice=ADVICE, pause=pause)
