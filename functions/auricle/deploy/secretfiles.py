"""Fresh secrets for a deployment, as the files from which kustomize makes Secrets.

What a folder has already stays: a second call adds what a newer release needs and changes nothing else.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from auricle.adapters.signing.ringfiles import RingFiles, private_file
from auricle.deploy.secretobjects import SECRET_FILES
from auricle.runtime.local.identity import setup_code

Values = dict[str, str]

DATABASE = "auricle"
SERVER = "postgres:5432"
REDIS = "redis:6379"


def wanted(known: Mapping[str, Mapping[str, str]], server: str = SERVER) -> dict[str, Values]:
    """Secret name → variables, out of what is `known` already and fresh randomness for the rest.

    `server`: host:port at which functions find the database. Jobs that alter it always go past a pooler.
    """

    def kept(name: str, key: str, fresh: Callable[[], str]) -> str:
        return known.get(name, {}).get(key) or fresh()

    postgres = {
        "POSTGRES_PASSWORD": kept("postgres", "POSTGRES_PASSWORD", fresh_password),
        "AURICLE_MIGRATE_PASSWORD": kept("postgres", "AURICLE_MIGRATE_PASSWORD", fresh_password),
        "AURICLE_APP_PASSWORD": kept("postgres", "AURICLE_APP_PASSWORD", fresh_password),
        # Of the login that nobody uses yet: passwords change by moving from one login to the other.
        "AURICLE_APP_NEXT_PASSWORD": kept("postgres", "AURICLE_APP_NEXT_PASSWORD", fresh_password),
    }
    blobs = {
        "S3_ACCESS_KEY_ID": kept("auricle-blobs", "S3_ACCESS_KEY_ID", fresh_access_key_id),
        "S3_SECRET_ACCESS_KEY": kept("auricle-blobs", "S3_SECRET_ACCESS_KEY", fresh_password),
    }
    redis = kept("redis", "REDIS_PASSWORD", fresh_password)
    token = kept("auricle-bucket-token", "BUCKET_TOKEN", fresh_password)
    app = f"postgresql+pg8000://auricle_app_a:{postgres['AURICLE_APP_PASSWORD']}@{server}/{DATABASE}?sslmode=disable"
    owner = f"postgresql+pg8000://auricle_migrate:{postgres['AURICLE_MIGRATE_PASSWORD']}@{SERVER}/{DATABASE}?sslmode=disable"
    return {
        "postgres": postgres,
        "auricle-database": {"DATABASE_URL": kept("auricle-database", "DATABASE_URL", lambda: app)},
        "auricle-owner": {"OWNER_DATABASE_URL": kept("auricle-owner", "OWNER_DATABASE_URL", lambda: owner)},
        "auricle-events": {"EVENT_KEY": kept("auricle-events", "EVENT_KEY", fresh_key)},
        "auricle-gateway": {"GATEWAY_KEY": kept("auricle-gateway", "GATEWAY_KEY", fresh_key)},
        "auricle-mail": {"SMTP_PASSWORD": kept("auricle-mail", "SMTP_PASSWORD", str)},
        "auricle-ephemeral": {"EPHEMERAL_KEY": kept("auricle-ephemeral", "EPHEMERAL_KEY", fresh_key)},
        "auricle-sealing": {"SEALING_KEYS": kept("auricle-sealing", "SEALING_KEYS", fresh_key)},
        "redis": {"REDIS_PASSWORD": redis},
        "auricle-redis": {"REDIS_URL": kept("auricle-redis", "REDIS_URL", lambda: f"redis://:{redis}@{REDIS}/0")},
        "auricle-blobs": blobs,
        "auricle-bucket-token": {"BUCKET_TOKEN": token},
        "auricle-timers": {"TIMER_TOKEN": kept("auricle-timers", "TIMER_TOKEN", fresh_password)},
        "object-store": {
            # The functions use the store's first user until somebody makes them one of their own.
            "MINIO_ROOT_USER": kept("object-store", "MINIO_ROOT_USER", lambda: blobs["S3_ACCESS_KEY_ID"]),
            "MINIO_ROOT_PASSWORD": kept("object-store", "MINIO_ROOT_PASSWORD", lambda: blobs["S3_SECRET_ACCESS_KEY"]),
            "MINIO_KMS_SECRET_KEY": kept("object-store", "MINIO_KMS_SECRET_KEY", _kms_key),
            "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_AURICLE": f"Bearer {token}",
        },
    }


def fill(folder: Path, server: str = SERVER) -> list[Path]:
    """Write `<secret>.env` files, the keys of sign-ins and the setup code into `folder`, readable by their owner alone; returns
    those that changed."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = {path.stem: read(path.read_text()) for path in folder.glob("*.env")}
    changed = []
    for name, values in wanted(known, server).items():
        path, all_values = folder / f"{name}.env", {**known.get(name, {}), **values}
        if known.get(name) != all_values:
            private_file(path, "".join(f"{key}={value}\n" for key, value in all_values.items()).encode())
            changed.append(path)
    return changed + _sign_in(folder)


def _sign_in(folder: Path) -> list[Path]:
    """What is mounted as files; returns what was made."""
    ring, code, now = RingFiles(folder), folder / SECRET_FILES["setup_code_file"].key, datetime.now(UTC)
    missing = [path for path in (ring.private, ring.public, code) if not path.exists()]
    if not ring.there:
        ring.make(now)
    if not ring.public.exists():
        ring.publish(now)
    if not code.exists():
        private_file(code, setup_code().encode())
    return missing


def read(text: str) -> Values:
    """The variables of an `.env` file: KEY=value lines, values as they stand."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {key.strip(): value for key, _, value in (line.partition("=") for line in lines)}


def fresh_password() -> str:
    """For a login, or a token that is only compared. Its letters mean nothing in a URL."""
    return secrets.token_urlsafe(24)


def fresh_key() -> str:
    """32 bytes in hex, for signing, hiding and sealing."""
    return secrets.token_hex(32)


def fresh_access_key_id() -> str:
    """Of an object store's user: twenty letters, as AWS has them."""
    return secrets.token_hex(10)


def _kms_key() -> str:
    return f"auricle:{base64.b64encode(secrets.token_bytes(32)).decode()}"
