"""Everything that can be set from outside, read from the environment here and nowhere else.

Each setting's variable is its name in capitals. The text beneath a field is its documentation: unit, default, reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from auricle.errors import Invalid


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One process's settings. Secrets among them are given only to the functions that need them."""

    auricle_function: str = "*api"
    """Which function this process is: a name, several with commas, or `*api`, `*media`, `*speech` for all of an image."""
    database_url: str = ""
    """`postgresql+pg8000://…` of the role `auricle_app`. Empty in speech functions: they hold no database."""
    database_pool: int = 2
    """Connections per process. Small, because pods are many; the laptop's one API process has more."""
    broker_url: str = ""
    """Where facts are posted (`K_SINK` on Knative)."""
    event_key: str = ""
    """Hex, 32 bytes: signs events between functions that hold a database."""
    event_source: str = "/auricle"
    """The CloudEvents `source` of what this deployment publishes."""
    data_dir: str = ""
    """Folder of the embedded host. Empty on Knative."""
    blobs_key: str = ""
    """Hex, 32 bytes: signs the laptop's blob URLs."""
    blobs_public_url: str = ""
    """What signed URLs for browsers begin with. S3: the endpoint as browsers reach it; default `s3_endpoint`."""
    blobs_internal_url: str = ""
    """What signed URLs for functions begin with; default `blobs_public_url`."""
    s3_endpoint: str = ""
    """Use this S3 service for bytes instead of `data_dir`. The four below belong to it."""
    s3_region: str = "us-east-1"
    """Region that signatures name."""
    s3_bucket: str = "auricle"
    """The private bucket."""
    s3_access_key_id: str = ""
    """S3 access key."""
    s3_secret_access_key: str = ""
    """S3 secret."""
    object_origins: str = ""
    """Comma-separated origins that speech functions may fetch from. Empty: none."""
    bucket_token: str = ""
    """What bucket notifications must present as `Authorization: Bearer`. Empty: they are refused."""
    models_dir: str = ""
    """Folder of speech models; the demo models come with the package."""
    transcribe_model: str = "whisper-demo"
    """Model used when an upload names none. The demo model knows 249 English words: pull a real one."""
    diarize_model: str = "voices-demo"
    """Voice model used when an upload names none."""
    speech_device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    speech_threads: int = 0
    """CPU threads of one speech process; 0: all cores."""
    auricle_speech_workers: int = 0
    """Transcribing processes of the embedded host; 0: two, where there are two cores."""
    speech_memory_bytes: int = 0
    """Device memory that warm models may take; 0: what is free."""
    max_upload_bytes: int = 50 * 2**30
    """Largest upload, 50 GiB: a day of 4K video."""
    part_bytes: int = 16 * 2**20
    """Size of upload parts, 16 MiB: seconds of work are lost when one breaks. S3 asks for 5 MiB or more."""
    upload_hours: int = 24
    """How long an upload may stay unfinished before it is swept."""
    chunk_seconds: float = 300.0
    """Length of chunks when an upload says none: a killed worker loses at most this much work."""
    window: int = 8
    """Pieces of one step that are under way at once, per run: enough for a pool, few enough to be fair."""
    task_seconds: int = 900
    """Deadline of one released piece of work; then it is released again. Its URLs live 15 minutes longer."""
    task_attempts: int = 3
    """Tries of one piece of work before it counts as failed."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    threads: int = 8
    """Requests one process handles at once; at least its concurrency + 4, because probes share them."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Settings out of variables; a value of the wrong type is named. Unknown variables are none of our business."""
    found = {name: environment[name.upper()] for name in Settings.__struct_fields__ if environment.get(name.upper())}
    if "broker_url" not in found and environment.get("K_SINK"):
        found["broker_url"] = environment["K_SINK"]
    try:
        return msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"A setting cannot be read: {error}. Correct that environment variable.") from error


@cache
def settings() -> Settings:
    """This process's settings."""
    return from_environment(os.environ)


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that we start: ours and `more`."""
    return {**os.environ, **more}


def default_data_dir() -> Path:
    """Where `auricle up` keeps its data when nobody says otherwise (the XDG base directories)."""
    root = os.environ.get("XDG_DATA_HOME")
    return (Path(root) if root else Path.home() / ".local" / "share") / "auricle"
