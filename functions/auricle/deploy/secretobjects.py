"""Which Secret holds which setting, and how a container is given it: as a variable, or as a file that follows the Secret.

Keys that rotate while people are signed in are files: kubelet renews them in running pods, and their readers read them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

Part = dict[str, Any]
"""A part of a Kubernetes object, as its YAML says it."""


class SecretFile(msgspec.Struct, frozen=True):
    """One key of a Secret as a file in a folder of its own; the setting says where it lies."""

    secret: str
    key: str

    @property
    def name(self) -> str:
        """Of the volume."""
        return self.secret.removeprefix("auricle-")

    @property
    def folder(self) -> str:
        """Where the volume is mounted. A whole folder: a single mounted file would never be renewed."""
        return f"/etc/auricle/{self.name}"

    @property
    def path(self) -> str:
        """What the setting is."""
        return f"{self.folder}/{self.key}"


SECRET_OBJECTS: dict[str, str] = {
    "database_url": "auricle-database",
    "event_key": "auricle-events",
    "s3_access_key_id": "auricle-blobs",
    "s3_secret_access_key": "auricle-blobs",
    "bucket_token": "auricle-bucket-token",
    "timer_token": "auricle-timers",
    "gateway_key": "auricle-gateway",
    "ephemeral_key": "auricle-ephemeral",
    "redis_url": "auricle-redis",
    "sealing_keys": "auricle-sealing",
    "smtp_password": "auricle-mail",
}
"""Secret setting → the Secret that holds it (its key is the variable's name). One Secret per thing that rotates alone."""
SECRET_FILES: dict[str, SecretFile] = {
    "signing_keys_file": SecretFile("auricle-signing", "signing-keys.json"),
    # Public, and a Secret all the same: whoever could change it could sign anybody in.
    "jwks_file": SecretFile("auricle-public-keys", "jwks.json"),
    "setup_code_file": SecretFile("auricle-setup", "setup-code"),
}
"""Setting that names a mounted file → that file. All are optional: a function without them starts, and says what is missing
when it is asked for; so Secrets and functions may come in any order."""
OPTIONAL = frozenset({"redis_url", "smtp_password"})
"""Variables that a deployment may do without: their Secret need not be there."""
LAPTOP_ONLY = frozenset({"blobs_key"})
"""Secrets that only the embedded host has: on Knative blobs are always S3, which signs its URLs with its own keys."""
EVERYBODY_READS = 0o444
"""Mode of mounted files. Functions run as nobody and Knative gives volumes no group; each pod has one container of ours."""


def on_knative(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secret settings that a pod has, in order."""
    return tuple(sorted(set(secrets) - LAPTOP_ONLY))


def variables(secrets: Iterable[str]) -> list[Part]:
    """Environment entries for exactly these secret settings."""
    return [
        {"name": name.upper(), "value": SECRET_FILES[name].path}
        if name in SECRET_FILES
        else {"name": name.upper(), "valueFrom": {"secretKeyRef": _reference(name)}}
        for name in secrets
    ]


def volumes(secrets: Iterable[str]) -> list[Part]:
    """The volumes of those that are files: each holds its one key, whatever else the Secret may hold one day."""
    return [
        {
            "name": file.name,
            "secret": {
                "secretName": file.secret,
                "optional": True,
                "defaultMode": EVERYBODY_READS,
                "items": [{"key": file.key, "path": file.key}],
            },
        }
        for file in _files(secrets)
    ]


def mounts(secrets: Iterable[str]) -> list[Part]:
    """Where those volumes are."""
    return [{"name": file.name, "mountPath": file.folder, "readOnly": True} for file in _files(secrets)]


def _files(secrets: Iterable[str]) -> list[SecretFile]:
    return [SECRET_FILES[name] for name in secrets if name in SECRET_FILES]


def _reference(name: str) -> Part:
    reference: Part = {"name": SECRET_OBJECTS[name], "key": name.upper()}
    return {**reference, "optional": True} if name in OPTIONAL else reference
