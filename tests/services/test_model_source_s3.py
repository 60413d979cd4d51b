"""A model in a real MinIO: fetched with a signed address, whole and verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from auricle.errors import Permanent
from auricle_gpu.caching import Order, bring, source_of
from auricle_gpu.models import DEMO, require_verified
from builders import minio_server
from builders.model_store import listed

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]
FILES = {path.name: path.read_bytes() for path in sorted((DEMO / "whisper-demo").iterdir())}


def test_a_model_is_fetched_from_a_bucket(tmp_path: Path) -> None:
    server = minio_server.shared()
    bucket = server.bucket()
    for name, data in FILES.items():
        server.client().put_object(Bucket=bucket, Key=f"models/ü w/{name}", Body=data)
    order = Order(
        model="whisper-x",
        kind="s3",
        uri=f"s3://{bucket}/models/ü w",
        endpoint=server.url,
        region=server.region,
        files=listed(FILES),
    )
    secret, models = tmp_path / "secret", tmp_path / "models"
    for folder in (secret, models):
        folder.mkdir()
    with pytest.raises(Permanent, match="may not read"):
        bring(order, models, source_of(order, None, None), lambda _: None)
    (secret / "access-key-id").write_text(server.access_key)
    (secret / "secret-access-key").write_text(server.secret_key)
    bring(order, models, source_of(order, secret, None), lambda _: None)
    assert require_verified("whisper-x", models, digests=True)
